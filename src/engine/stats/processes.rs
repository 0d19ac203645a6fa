//! What containers use whose cgroup does not say so, as far as that can be counted of their processes (proc(5)).
//!
//! - Time on processors: of all processes, with that of their children that have ended and were waited for; in clock ticks.
//!   Of a child that nobody waits for (SIGCHLD is ignored) nothing is left.
//! - Memory: of each process its share of the pages that it has mapped (`Pss`), else all of those (`VmRSS`). Files that were read
//!   and are not mapped, and what the kernel needs for the container, are counted nowhere.
//! - Threads. What went to and from disks cannot be known.

use super::process::{self, Stat};
use crate::engine::record::ids_in;
use crate::engine::state::Run;
use anyhow::Result;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// By what the processes of a container are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The number of its first process.
    pub first: i32,
    /// The mount namespace; `None` if it cannot be seen.
    pub mounts: Option<String>,
    /// The pid namespace, if it is the container's own.
    pub pids: Option<String>,
}

impl Place {
    /// Of a container that runs.
    pub fn of(run: &Run) -> Place {
        let first = run.process.pid;
        let visible = run.visible().map(|(pid, _)| pid);
        let namespace = |kind| visible.and_then(|pid| process::namespace(pid, kind));
        let pids = if process::is_first_in_own(first) { namespace("pid") } else { None };
        Place { first, mounts: namespace("mnt"), pids }
    }
}

/// What the processes of one container have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// Time on processors, clock ticks.
    pub ticks: u64,
    /// Memory, bytes.
    pub memory: u64,
    /// Threads.
    pub threads: u64,
}

/// All processes as they were when they were last counted.
#[derive(Debug, Default)]
pub struct Processes {
    known: HashMap<i32, Known>,
    places: Vec<Place>,
    /// What those had taken that have ended and whose parent is not in the container: nobody has it now. By the first process.
    ended: HashMap<i32, u64>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    stat: Stat,
    /// The first process of the container that it belongs to.
    of: Option<i32>,
}

impl Processes {
    /// Counts for these containers; by their first processes.
    pub fn count(&mut self, places: Vec<Place>) -> Result<HashMap<i32, Taken>> {
        let numbers: Vec<i32> = ids_in(Path::new("/proc"))?.iter().filter_map(|name| name.parse().ok()).collect();
        let stats: HashMap<i32, Stat> =
            numbers.into_iter().filter_map(|pid| Some((pid, process::stat(pid)?))).collect();
        self.renew(&stats, places);
        self.assign(&stats, process::namespace);
        Ok(self.sum(process::memory))
    }

    /// Keeps what is known of those that are still there.
    fn renew(&mut self, stats: &HashMap<i32, Stat>, places: Vec<Place>) {
        let is_there = |pid: &i32, known: &Known| stats.get(pid).is_some_and(|stat| stat.start == known.stat.start);
        let of = |pid: i32| self.known.get(&pid).and_then(|known| known.of);
        for (_, known) in self.known.iter().filter(|(pid, known)| !is_there(pid, known)) {
            if let Some(first) = known.of.filter(|first| of(known.stat.parent) != Some(*first)) {
                *self.ended.entry(first).or_default() += known.stat.ticks;
            }
        }
        self.known.retain(|pid, known| is_there(pid, known));
        if self.places != places {
            // Of a container that was not known, or whose namespaces were not, none was taken for its own.
            let firsts: HashSet<i32> = places.iter().map(|place| place.first).collect();
            self.known.retain(|_, known| known.of.is_some_and(|first| firsts.contains(&first)));
            self.ended.retain(|first, _| firsts.contains(first));
            self.places = places;
        }
        for (pid, known) in &mut self.known {
            known.stat = stats.get(pid).copied().unwrap_or(known.stat);
        }
    }

    /// Finds out to whom those belong that are new: to whom their mount namespace belongs, else to whom their parent belongs, else
    /// to whom their pid namespace belongs. Two containers may share that, and one may have several mount namespaces.
    fn assign(&mut self, stats: &HashMap<i32, Stat>, namespace: impl Fn(i32, &str) -> Option<String>) {
        let firsts: HashSet<i32> = self.places.iter().map(|place| place.first).collect();
        let by = |name: fn(&Place) -> Option<&String>| -> HashMap<String, i32> {
            self.places.iter().filter_map(|place| Some((name(place)?.clone(), place.first))).collect()
        };
        let (mounts, pids) = (by(|place| place.mounts.as_ref()), by(|place| place.pids.as_ref()));
        let find = |pid, kind, all: &HashMap<String, i32>| all.get(&namespace(pid, kind)?).copied();
        for begin in stats.keys() {
            let (mut way, mut passed) = (Vec::new(), HashSet::new());
            let (mut pid, mut of) = (*begin, None);
            // Numbers are read one after the other: a process may have got another parent meanwhile, and there may be a ring.
            while let Some(stat) = stats.get(&pid).filter(|_| of.is_none() && passed.insert(pid)) {
                if let Some(known) = self.known.get(&pid) {
                    of = known.of;
                    break;
                }
                way.push((pid, *stat));
                of = if firsts.contains(&pid) { Some(pid) } else { find(pid, "mnt", &mounts) };
                pid = stat.parent;
            }
            for (pid, stat) in way.into_iter().rev() {
                of = of.or_else(|| find(pid, "pid", &pids));
                self.known.insert(pid, Known { stat, of });
            }
        }
    }

    fn sum(&self, memory: impl Fn(i32) -> u64) -> HashMap<i32, Taken> {
        let ended = |first| self.ended.get(&first).copied().unwrap_or_default();
        let begin = |place: &Place| (place.first, Taken { ticks: ended(place.first), ..Taken::default() });
        let mut all: HashMap<i32, Taken> = self.places.iter().map(begin).collect();
        for (pid, known) in &self.known {
            if let Some(taken) = known.of.and_then(|first| all.get_mut(&first)) {
                taken.ticks += known.stat.ticks;
                taken.threads += known.stat.threads;
                taken.memory += memory(*pid);
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(all: &[(i32, i32, u64)]) -> HashMap<i32, Stat> {
        all.iter()
            .map(|(pid, parent, ticks)| (*pid, Stat { parent: *parent, ticks: *ticks, threads: 1, start: 1 }))
            .collect()
    }

    fn place(first: i32, mounts: &str, pids: &str) -> Place {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Place { first, mounts: some(mounts), pids: some(pids) }
    }

    /// Ticks of each, after a look at processes whose namespaces are `mnt` and `pid`.
    fn looked(
        processes: &mut Processes,
        places: &[Place],
        all: &[(i32, i32, u64)],
        spaces: &[(i32, &str, &str)],
    ) -> Vec<(i32, u64)> {
        let stats = stats(all);
        processes.renew(&stats, places.to_vec());
        processes.assign(&stats, |pid, kind| {
            let (_, mounts, pids) = spaces.iter().find(|(of, ..)| *of == pid)?;
            Some(if kind == "mnt" { mounts } else { pids }.to_string())
        });
        let mut ticks: Vec<_> = processes.sum(|_| 0).iter().map(|(first, taken)| (*first, taken.ticks)).collect();
        ticks.sort_unstable();
        ticks
    }

    #[test]
    fn whose_they_are() {
        let places = [place(11, "own", "own"), place(20, "joined", ""), place(30, "", "")];
        let all = [
            (1, 0, 1),
            (10, 1, 1),
            // The first process, its child with namespaces of its own inside, and the child of that one.
            (11, 10, 100),
            (12, 11, 200),
            (13, 12, 400),
            // Of `exec`, and its child with another mount namespace.
            (14, 10, 800),
            (15, 14, 1600),
            // Of `exec`, which has given up its mount namespace.
            (16, 10, 3200),
            // Another container, in the pid namespace of that one.
            (20, 10, 5),
            (21, 20, 7),
            // One whose namespaces cannot be seen.
            (30, 10, 11),
            (31, 30, 13),
            // A ring.
            (40, 41, 1),
            (41, 40, 1),
        ];
        let spaces = [
            (1, "host", "host"),
            (10, "host", "host"),
            (11, "own", "own"),
            (12, "inner", "inner"),
            (13, "inner", "inner"),
            (14, "own", "own"),
            (15, "other", "own"),
            (16, "other", "own"),
            (20, "joined", "own"),
            (21, "else", "own"),
            (31, "hidden", "hidden"),
        ];
        let mut processes = Processes::default();
        assert_eq!(looked(&mut processes, &places, &all, &spaces), [(11, 6300), (20, 12), (30, 24)]);
        // Those that were nobody's belong to a container that comes later.
        let places = [place(10, "host", "host")];
        assert_eq!(looked(&mut processes, &places, &all, &spaces), [(10, 1 + 1 + 6300 + 12 + 24)]);
    }

    #[test]
    fn who_has_ended() {
        let places = [place(11, "own", "own")];
        let spaces = [(11, "own", "own"), (12, "own", "own"), (14, "own", "own"), (15, "own", "own")];
        let mut processes = Processes::default();
        let before = [(10, 1, 0), (11, 10, 10), (12, 11, 100), (14, 10, 1000)];
        assert_eq!(looked(&mut processes, &places, &before, &spaces), [(11, 1110)]);
        // The parent has the time of the one, and nobody in the container that of the other.
        let after = [(10, 1, 1000), (11, 10, 110)];
        assert_eq!(looked(&mut processes, &places, &after, &spaces), [(11, 1110)]);
        let later = [(10, 1, 1000), (11, 10, 120), (15, 10, 1)];
        assert_eq!(looked(&mut processes, &places, &later, &spaces), [(11, 1121)]);
        // The next container with the same number begins anew.
        assert_eq!(looked(&mut processes, &[], &later, &spaces), vec![]);
        assert_eq!(looked(&mut processes, &places, &later, &spaces), [(11, 121)]);
    }
}
