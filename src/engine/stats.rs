//! `stats`: what containers use, counted again and again.
//!
//! What a container's cgroup counts is taken from there; what it does not, or where there is none, from its processes as far as
//! that is true (`processes.rs`). The rest stays unknown. Between two times nothing is read anew of containers that are known:
//! descriptors of their cgroups and first processes stay open.

mod network;
mod process;
mod processes;
mod watched;

use super::container::{self, Container, Found};
use super::record::{PROCESS, ids_in};
use super::{damage, spread};
use crate::cgroup::usage::Usage;
use crate::error::Failure;
use crate::paths;
use crate::sys::process::{open_files, raise_open_files};
use crate::time::Time;
use anyhow::Result;
use processes::{Processes, Taken};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Instant;
use watched::Watched;

/// One clock tick, microseconds: the same on all architectures that rbox is built for (Linux, `include/asm-generic/param.h`,
/// USER_HZ).
const TICK: u64 = 10_000;

/// What one container uses at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// When (CLOCK_MONOTONIC).
    pub at: Instant,
    /// What is counted. Its `memory_limit` is at most the host's memory.
    pub usage: Usage,
    /// Received and sent, bytes; `None` if its network is not its own.
    pub network: Option<[u64; 2]>,
}

impl Sample {
    /// Time on processors since another sample of the same container, percents of one processor. `None` if it is not known, or if
    /// somebody took his count with him.
    pub fn cpu_percent(&self, before: &Sample) -> Option<f64> {
        let taken = self.usage.cpu?.checked_sub(before.usage.cpu?)?;
        let passed = self.at.checked_duration_since(before.at)?.as_secs_f64();
        (passed > 0.0).then(|| taken as f64 / 1e6 / passed * 100.0)
    }
}

/// Whose figures are wanted.
#[derive(Debug)]
pub enum Whom {
    /// Of all that run.
    Running,
    /// Of all.
    All,
    /// Of those with these ids.
    These(HashSet<String>),
}

/// One container's figures.
#[derive(Debug)]
pub struct Figures {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// When it was made.
    pub created: Time,
    /// True if it runs.
    pub runs: bool,
    /// What it uses; `None` if it does not run, or if that cannot be read.
    pub now: Option<Sample>,
    /// What it used the time before, of the same run.
    pub before: Option<Sample>,
}

/// What is counted of all at one time.
#[derive(Debug)]
pub struct Counted {
    /// The containers that are wanted and still there, the newest first.
    pub all: Vec<Figures>,
    /// What could not be read.
    pub failures: Vec<Failure>,
}

/// Counts.
#[derive(Debug)]
pub struct Stats {
    whom: Whom,
    known: HashMap<String, Known>,
    processes: Processes,
    /// The host's, bytes.
    memory: Option<u64>,
    /// As many descriptors are for files of cgroups.
    most: i32,
}

/// When its files were last written, without reading them: its record, and its first process.
type Mark = [Option<(u64, i64, i64)>; 2];

#[derive(Debug)]
struct Known {
    /// `None` if it is to be looked at again.
    mark: Option<Mark>,
    /// `None` if it is none yet.
    about: Option<About>,
}

#[derive(Debug)]
struct About {
    name: Option<String>,
    created: Time,
    /// While it runs.
    watched: Option<Watched>,
    /// It does as far as can be said, but its files are damaged.
    is_damaged: bool,
}

impl Stats {
    /// For these containers.
    pub fn of(whom: Whom) -> Stats {
        // For each container a dozen are open. With fewer it goes as far as it goes.
        let _ = raise_open_files();
        let most = i32::try_from(open_files() / 2).unwrap_or(i32::MAX);
        Stats { whom, known: HashMap::new(), processes: Processes::default(), memory: memory(), most }
    }

    /// Looks which containers there are, and counts for each that runs.
    pub fn count(&mut self) -> Result<Counted> {
        let mut failures = self.look()?;
        let mut samples = HashMap::new();
        // One after the other: several threads would be done sooner, but take more of the processors that are counted here.
        for (id, known) in &mut self.known {
            let Some(watched) = known.about.as_mut().and_then(|about| about.watched.as_mut()) else { continue };
            match watched.sample() {
                Ok(sample) => drop(samples.insert(id.clone(), sample)),
                Err(error) => failures.push(Failure::from(&error.context(format!("container {id}")))),
            }
        }
        self.complete(&mut samples)?;
        // Afterwards: the number of one that is still there was nobody else's meanwhile.
        for id in watched::ended(running(&self.known))? {
            if let Some(known) = self.known.get_mut(&id) {
                known.mark = None;
                known.about.iter_mut().for_each(|about| about.watched = None);
            }
        }
        Ok(Counted { all: self.figures(samples), failures })
    }

    /// Counts of processes what is still missing, and says where the host's memory is the limit.
    fn complete(&mut self, samples: &mut HashMap<String, Sample>) -> Result<()> {
        let mut places = Vec::new();
        for (id, known) in &mut self.known {
            let watched = known.about.as_mut().and_then(|about| about.watched.as_mut());
            if let (Some(watched), Some(sample)) = (watched, samples.get_mut(id)) {
                let limits = [sample.usage.memory_limit, self.memory];
                sample.usage.memory_limit = limits.into_iter().flatten().min();
                if is_partial(&sample.usage) {
                    places.push(watched.place());
                }
            }
        }
        if places.is_empty() {
            return Ok(());
        }
        // In the order in which they were the last time.
        places.sort_by_key(|place| place.first);
        let at = Instant::now();
        let taken = self.processes.count(places)?;
        for (id, watched) in running(&self.known) {
            if let (Some(sample), Some(taken)) = (samples.get_mut(id), taken.get(&watched.first())) {
                fill(sample, at, taken);
            }
        }
        Ok(())
    }

    fn figures(&mut self, mut samples: HashMap<String, Sample>) -> Vec<Figures> {
        let mut all = Vec::new();
        for (id, known) in &mut self.known {
            let Some(about) = &mut known.about else { continue };
            let (now, before) = match &mut about.watched {
                Some(watched) => {
                    let now = samples.remove(id);
                    let before = std::mem::replace(&mut watched.last, now.clone());
                    (now, before)
                }
                None if matches!(self.whom, Whom::Running) && !about.is_damaged => continue,
                None => (None, None),
            };
            let runs = about.watched.is_some() || about.is_damaged;
            all.push(Figures { id: id.clone(), name: about.name.clone(), created: about.created, runs, now, before });
        }
        all.sort_by_key(|figures| std::cmp::Reverse(figures.created));
        all
    }

    /// Finds out what has changed. Of what was not written to since the last time nothing is read.
    fn look(&mut self) -> Result<Vec<Failure>> {
        let mut marks = marks()?;
        if let Whom::These(ids) = &self.whom {
            marks.retain(|id, _| ids.contains(id));
        }
        self.known.retain(|id, _| marks.contains_key(id));
        marks.retain(|id, mark| self.known.get(id).is_none_or(|known| known.mark != Some(*mark)));
        if marks.is_empty() {
            return Ok(Vec::new());
        }
        let container::All { found, damaged } = container::all()?;
        let mut failures = Vec::new();
        if !matches!(self.whom, Whom::These(_)) {
            failures.extend(damaged.into_iter().map(|(dir, failure)| damage::of_record(&dir, failure)));
        }
        let found: Vec<Found> = found.into_iter().filter(|found| marks.contains_key(&found.container.id)).collect();
        let states = spread::over(&found, damage::state);
        for (found, (state, failure)) in found.into_iter().zip(states) {
            let is_damaged = failure.is_some() && state.runs();
            failures.extend(failure);
            let Container { id, name, created, .. } = &found.container;
            let before = self.known.remove(id).and_then(|known| known.about?.watched);
            let run = state.pid().and(state.run);
            let watched = match (before, run) {
                // It has got another name.
                (Some(watched), Some(run)) if watched.is_of(&run) => Some(watched),
                (_, Some(run)) => Watched::begin(&found, run, self.most, &mut failures),
                (_, None) => None,
            };
            let about = Some(About { name: name.clone(), created: *created, watched, is_damaged });
            self.known.insert(id.clone(), Known { mark: marks.remove(id), about });
        }
        // Those that are just being made, or removed.
        self.known.extend(marks.into_iter().map(|(id, mark)| (id, Known { mark: Some(mark), about: None })));
        Ok(failures)
    }
}

fn running(known: &HashMap<String, Known>) -> impl Iterator<Item = (&String, &Watched)> {
    known.iter().filter_map(|(id, known)| Some((id, known.about.as_ref()?.watched.as_ref()?)))
}

/// The host's memory, bytes (proc_meminfo(5)).
fn memory() -> Option<u64> {
    let text = fs_err::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// True if there is something that its processes may tell.
fn is_partial(usage: &Usage) -> bool {
    usage.cpu.is_none() || usage.memory.is_none() || usage.pids.is_none()
}

fn fill(sample: &mut Sample, at: Instant, taken: &Taken) {
    if sample.usage.cpu.is_none() {
        sample.at = at;
        sample.usage.cpu = Some(taken.ticks.saturating_mul(TICK));
    }
    sample.usage.memory.get_or_insert(taken.memory);
    sample.usage.pids.get_or_insert(taken.threads);
}

/// Of all containers, by their ids. Those of other sessions that are not kept cannot be seen.
fn marks() -> Result<HashMap<String, Mark>> {
    let [kept, _] = container::places()?;
    let mut marks = HashMap::new();
    for place in [kept, paths::runtime_dir()?.join("containers")] {
        for id in ids_in(&place)? {
            let dir = place.join(&id);
            marks.entry(id).or_insert_with(|| [container::ABOUT, PROCESS].map(|file| written(&dir.join(file))));
        }
    }
    Ok(marks)
}

/// Its inode, and when it was written, seconds and nanoseconds.
fn written(file: &Path) -> Option<(u64, i64, i64)> {
    let stat = rustix::fs::stat(file).ok()?;
    Some((stat.st_ino, stat.st_mtime, stat.st_mtime_nsec as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn percents() {
        let begin = Instant::now();
        let sample = |milliseconds, cpu| {
            let at = begin + Duration::from_millis(milliseconds);
            Sample { at, usage: Usage { cpu, ..Usage::default() }, network: None }
        };
        let before = sample(0, Some(1_000_000));
        for (now, percent) in [
            (sample(1000, Some(1_000_000)), Some(0.0)),
            (sample(1000, Some(1_005_000)), Some(0.5)),
            (sample(1000, Some(3_000_000)), Some(200.0)),
            (sample(500, Some(1_250_000)), Some(50.0)),
            // Somebody has gone with his count.
            (sample(1000, Some(999_999)), None),
            (sample(1000, None), None),
            (sample(0, Some(2_000_000)), None),
        ] {
            assert_eq!(now.cpu_percent(&before), percent, "{now:?}");
        }
        assert_eq!(sample(1000, Some(1)).cpu_percent(&sample(0, None)), None);
    }

    #[test]
    fn what_the_cgroup_counts_stays() {
        let begin = Instant::now();
        let later = begin + Duration::from_secs(1);
        let taken = Taken { ticks: 7, memory: 8, threads: 9 };
        let mut sample = Sample { at: begin, usage: Usage::default(), network: None };
        assert!(is_partial(&sample.usage));
        fill(&mut sample, later, &taken);
        assert_eq!(
            (sample.at, &sample.usage),
            (later, &Usage { cpu: Some(70_000), memory: Some(8), pids: Some(9), ..Usage::default() })
        );
        assert!(!is_partial(&sample.usage));
        let whole = Usage { cpu: Some(1), memory: Some(2), pids: Some(3), ..Usage::default() };
        let mut sample = Sample { at: begin, usage: whole.clone(), network: None };
        fill(&mut sample, later, &taken);
        assert_eq!((sample.at, sample.usage), (begin, whole));
        assert!(memory().is_some_and(|bytes| bytes > 1 << 20));
    }
}
