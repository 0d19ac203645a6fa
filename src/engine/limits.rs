//! What holds each limit of a container: its cgroup, something else of the kernel, or nothing, which is never kept from whoever asked.

use crate::cgroup::group::Group;
use crate::cgroup::list;
use crate::cgroup::setting::{self, Setting};
use crate::error::{Advise, Failure};
use crate::spec::annotation;
use crate::spec::limits::{Limits, PIDS, Rate};
use crate::spec::options::Options;
use crate::spec::ulimit;
use crate::sys::clone::CLONE_NEWUSER;
use crate::sys::{self, Named};
use anyhow::{Context, Result, anyhow, bail, ensure};
use oci_spec::runtime::{IOPriorityClass, LinuxIOPriorityBuilder, PosixRlimitType, Spec};
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::thread::CpuSet;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A limit, and what became of it. Shown by `inspect`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Held {
    /// The option that asks for it.
    pub option: String,
    /// In the kernel's words.
    pub requested: String,
    /// True if the kernel sees to it.
    pub enforced: bool,
    /// How, or why not.
    pub how: String,
}

impl Held {
    fn of(setting: &Setting, enforced: bool, how: String) -> Held {
        let requested = setting.files.last().map(|(_, text)| text.clone()).unwrap_or_default();
        Held { option: setting.option.to_owned(), requested, enforced, how }
    }

    /// True if this one was changed and is what the other one was: of the same file of a cgroup, and of the same device there.
    pub fn is_instead_of(&self, other: &Held) -> bool {
        let is_of_device = |held: &Held| held.how.starts_with("io.max");
        let device = |held: &Held| held.requested.split('=').next().map(str::to_owned);
        match (is_of_device(self), is_of_device(other)) {
            (true, true) => device(self) == device(other),
            (false, false) => self.option == other.option || self.how == other.how,
            _ => false,
        }
    }
}

/// Why there is no cgroup, or none with a controller, and what helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// In a word.
    pub said: String,
    /// Who can mend it, and how.
    pub hint: Option<String>,
}

/// A container's cgroup to be filled, or why there is none.
pub type Place<'a> = std::result::Result<(&'a Group, &'a [String]), &'a Why>;

/// All limits of a container, before anything was done about them.
pub struct Wanted {
    settings: Vec<Setting>,
    /// Nobody has asked for that of processes.
    is_usual: bool,
    best_effort: bool,
}

/// Finds out what is wanted. Devices are looked at.
pub fn wanted(limits: &Limits) -> Result<Wanted> {
    let numbers = |rate: &Rate| disk(Path::new(&rate.path)).with_context(|| rate.kind.option());
    let rates = limits.rates.iter().map(numbers).collect::<Result<Vec<_>>>()?;
    let is_usual = limits.pids.is_none() && !limits.has_conf("pids.max");
    let whole = Limits { pids: limits.pids.or(is_usual.then_some(PIDS)), ..limits.clone() };
    let mut settings = setting::settings(&whole.resources(&rates))?;
    for setting in &mut settings {
        match setting.option {
            "--memory-swap" => setting.is_beside = limits.swap.is_none(),
            "--cpus" if limits.cpus.is_none() => setting.option = "--cpu-quota",
            _ => {}
        }
    }
    Ok(Wanted { settings, is_usual, best_effort: limits.best_effort })
}

impl Wanted {
    /// The controllers that hold them.
    pub fn controllers(&self) -> Vec<&str> {
        let mut all: Vec<&str> = self.settings.iter().map(|setting| setting.controller.as_str()).collect();
        all.dedup();
        all
    }

    /// Sees to each of them, in the cgroup or in the container's Spec. Besides, what is to be told of those that nothing holds.
    /// `is_open`: root of the container gets at the files of its cgroup.
    ///
    /// # Errors
    /// One is not held, and best effort is not enough; or the kernel does not take a value.
    pub fn hold(
        &self,
        place: Place<'_>,
        options: &Options,
        is_open: bool,
        spec: &mut Spec,
    ) -> Result<(Vec<Held>, Option<Failure>)> {
        let mut all = Vec::new();
        let mut missing: Vec<(&str, Why)> = Vec::new();
        let by_root = match is_open {
            true => ", which root of the container can lift: it has the host's hierarchy",
            false => "",
        };
        for setting in &self.settings {
            let tried = match place {
                Ok((group, enabled)) => in_cgroup(setting, group, enabled)?,
                // That is so anyway.
                Err(_) if setting.is_nothing() => continue,
                Err(why) => Err(why.clone()),
            };
            let is_usual = self.is_unasked(setting);
            let instead = match &tried {
                Err(_) if !is_usual => by_other_means(setting, options, spec)?,
                _ => None,
            };
            let (enforced, how) = match (tried, instead) {
                (Ok(file), _) => (true, file + by_root),
                (Err(_), Some(how)) => (true, how),
                (Err(why), None) => {
                    let how = why.said.clone();
                    if !is_usual && !setting.is_beside {
                        missing.push((setting.option, why));
                    }
                    (false, how)
                }
            };
            if !setting.is_beside {
                all.push(Held::of(setting, enforced, how));
            }
        }
        let Some(said) = not_held(missing) else { return Ok((all, None)) };
        if self.best_effort {
            return Ok((all, Some(Failure { message: format!("going on without limits: {}", said.message), ..said })));
        }
        let best = "--limits best-effort runs it without".to_owned();
        Err(Failure { hints: said.hints.into_iter().chain([best]).collect(), ..said }.into())
    }

    /// Says it in a cgroup in which it does not count: programs ask there how much they have.
    pub fn show(&self, group: &Group, enabled: &[String]) {
        for setting in self.settings.iter().filter(|setting| !(setting.is_beside || self.is_unasked(setting))) {
            let _ = in_cgroup(setting, group, enabled);
        }
    }

    fn is_unasked(&self, setting: &Setting) -> bool {
        self.is_usual && setting.option == "--pids-limit"
    }

    /// What is not as it was, and what was named now; what is not wanted any more is undone.
    pub fn changed_from(&self, old: &Wanted, named: &Wanted) -> Wanted {
        let is_named = |setting: &Setting| {
            named.settings.iter().any(|other| other.is_of_same(setting) && !named.is_unasked(other))
        };
        let is_new = |setting: &&Setting| !old.settings.contains(setting) || is_named(setting);
        let changed = self.settings.iter().filter(is_new).cloned();
        let is_gone = |setting: &&Setting| !self.settings.iter().any(|other| other.is_of_same(setting));
        let undone = old.settings.iter().filter(is_gone).map(Setting::undone);
        Wanted { settings: undone.chain(changed).collect(), is_usual: self.is_usual, best_effort: self.best_effort }
    }

    /// An error if a cgroup lacks the controller of one of them.
    pub fn check(&self, enabled: &[String]) -> Result<()> {
        let lacks =
            |setting: &&Setting| !setting.is_beside && !setting.is_nothing() && !enabled.contains(&setting.controller);
        let missing =
            self.settings.iter().filter(lacks).map(|setting| (setting.option, not_delegated(&setting.controller)));
        not_held(missing.collect()).map_or(Ok(()), |said| Err(said.into()))
    }

    /// The same for a container that runs: what its cgroup does not hold is an error, and what was written before is left.
    pub fn hold_running(&self, group: &Group, enabled: &[String]) -> Result<Vec<Held>> {
        let mut held = Vec::new();
        for setting in &self.settings {
            match in_cgroup(setting, group, enabled)? {
                Ok(how) if !setting.is_beside => held.push(Held::of(setting, true, how)),
                Err(why) if !(setting.is_beside || setting.is_nothing()) => {
                    return Err(not_held(vec![(setting.option, why)]).unwrap_or_default().into());
                }
                _ => {}
            }
        }
        Ok(held)
    }

    /// Writes all of them, whatever becomes of each.
    pub fn put_back(&self, group: &Group, enabled: &[String]) {
        for setting in &self.settings {
            let _ = in_cgroup(setting, group, enabled);
        }
    }
}

/// One text for several limits: most of them are not held for the same reason.
fn not_held(missing: Vec<(&str, Why)>) -> Option<Failure> {
    let mut reasons: Vec<(Why, Vec<&str>)> = Vec::new();
    for (option, why) in missing {
        match reasons.iter_mut().find(|(known, _)| *known == why) {
            Some((_, options)) if options.contains(&option) => {}
            Some((_, options)) => options.push(option),
            None => reasons.push((why, vec![option])),
        }
    }
    let texts: Vec<String> = reasons
        .iter()
        .map(|(why, options)| format!("{}: cannot be enforced: {}", options.join(", "), why.said))
        .collect();
    let mut hints: Vec<String> = reasons.into_iter().filter_map(|(why, _)| why.hint).collect();
    hints.dedup();
    (!texts.is_empty()).then(|| Failure { message: texts.join("; "), hints, ..Failure::default() })
}

/// The file that holds it now, or why none does.
fn in_cgroup(setting: &Setting, group: &Group, enabled: &[String]) -> Result<std::result::Result<String, Why>> {
    let Setting { option, controller, files, .. } = setting;
    if !enabled.contains(controller) {
        return Ok(Err(not_delegated(controller)));
    }
    let name = files.first().map(|(file, _)| file.clone()).unwrap_or_default();
    match setting.write(group) {
        Ok(Some(file)) => Ok(Ok(file.to_owned())),
        Ok(None) if !group.is_there() => bail!("{option}: the cgroup is gone"),
        Ok(None) => Ok(Err(Why { said: format!("this kernel has no {name}"), hint: None })),
        Err(error) if *option == "--cpuset-cpus" && matches!(error.errno, Errno::RANGE | Errno::INVAL) => {
            let (wanted, there) = (&files[0].1, group.read("cpuset.cpus.effective")?.unwrap_or_default());
            bail!("--cpuset-cpus: Requested CPUs are not available - requested {wanted}, available: {}", there.trim())
        }
        Err(error) if matches!(error.errno, Errno::ACCESS | Errno::PERM | Errno::OPNOTSUPP) => {
            Ok(Err(Why { said: error.to_string(), hint: None }))
        }
        Err(error) if setting.is_beside => Ok(Err(Why { said: error.to_string(), hint: None })),
        Err(error) => Err(error).context(*option),
    }
}

/// A controller that the cgroup around does not have.
fn not_delegated(controller: &str) -> Why {
    let file = "/etc/systemd/system/user@.service.d/delegate.conf";
    let is_there = fs_err::read_to_string("/sys/fs/cgroup/cgroup.controllers");
    let is_there = is_there.is_ok_and(|text| text.split_whitespace().any(|there| there == controller));
    match is_there {
        false => Why { said: format!("this kernel has no controller {controller}"), hint: None },
        true => Why {
            said: format!("the controller {controller} is not delegated to this user"),
            hint: Some(format!(
                "root can have it delegated: write \"[Service]\" and \"Delegate=cpu cpuset io memory pids\" into {file}, \
                 run `systemctl daemon-reload`, and log in again"
            )),
        },
    }
}

/// What else of the kernel does the same, or nearly: said how.
fn by_other_means(setting: &Setting, options: &Options, spec: &mut Spec) -> Result<Option<String>> {
    let text = setting.files.first().map(|(_, text)| text.as_str()).unwrap_or_default();
    match setting.option {
        "--cpuset-cpus" => by_affinity(text, spec).map(Some),
        "--pids-limit" => by_rlimit(text, options, spec),
        "--blkio-weight" => by_priority(text, spec),
        _ => Ok(None),
    }
}

/// sched_setaffinity(2), which the container itself may take back.
fn by_affinity(text: &str, spec: &mut Spec) -> Result<String> {
    let own = rustix::thread::sched_getaffinity(None).named(|| "sched_getaffinity".to_owned())?;
    let has = |cpu: usize| cpu < CpuSet::MAX_CPU && own.is_set(cpu);
    ensure!(
        list::read(text)?.into_iter().all(has),
        "--cpuset-cpus: Requested CPUs are not available - requested {text}, available: {}",
        list::show((0..CpuSet::MAX_CPU).filter(|cpu| has(*cpu)))
    );
    annotate(spec, annotation::CPUS, text);
    Ok("sched_setaffinity, which the container can change".to_owned())
}

/// RLIMIT_NPROC, which counts by user and user namespace since Linux 5.14 (getrlimit(2)): in a namespace of the container's own it is
/// a limit for each of its users. Nobody in it may lift it.
fn by_rlimit(text: &str, options: &Options, spec: &mut Spec) -> Result<Option<String>> {
    let Ok(count) = text.parse::<u64>() else { return Ok(None) };
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let own_user = crate::runtime::namespaces::Namespaces::of(spec)?.makes(CLONE_NEWUSER);
    let has_own = options.ulimits.iter().any(|limit| limit.name == "nproc");
    let most = sys::process::hard_limit(linux_raw_sys::general::RLIMIT_NPROC)?;
    // Root of the host has as many as it likes.
    if sys::ids::uid() == 0 || super::create::version(&release) < (5, 14) || !own_user || has_own || count > most {
        return Ok(None);
    }
    if let Some(process) = spec.process_mut() {
        let mut limits = process.rlimits().clone().unwrap_or_default();
        limits.push(ulimit::rlimit(PosixRlimitType::RlimitNproc, count, count)?);
        process.set_rlimits(Some(limits));
    }
    Ok(Some("RLIMIT_NPROC, for each user of the container by itself".to_owned()))
}

/// ioprio_set(2): eight levels, of which 4 is usual, as 500 is of 10 to 1000.
fn by_priority(text: &str, spec: &mut Spec) -> Result<Option<String>> {
    let Ok(weight) = text.parse::<i64>() else { return Ok(None) };
    let level = 7 - (weight - 10) * 7 / 990;
    if let Some(process) = spec.process_mut() {
        let priority = LinuxIOPriorityBuilder::default().class(IOPriorityClass::IoprioClassBe).priority(level);
        process.set_io_priority(Some(priority.build()?));
    }
    Ok(Some(format!("ioprio_set, level {level} of best effort, where the disk's scheduler knows it")))
}

fn annotate(spec: &mut Spec, key: &str, text: &str) {
    let mut all = spec.annotations().clone().unwrap_or_default();
    all.insert(key.to_owned(), text.to_owned());
    spec.set_annotations(Some(all));
}

/// The numbers of a disk, of the whole of it for a part: io.max knows no others.
fn disk(path: &Path) -> Result<(i64, i64)> {
    let what = || format!("{}", path.display());
    let stat = rustix::fs::stat(path).named(|| format!("stat({})", path.display()))?;
    ensure!(FileType::from_raw_mode(stat.st_mode) == FileType::BlockDevice, "{}: not a block device", what());
    let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    let dir = Path::new("/sys/dev/block").join(format!("{major}:{minor}"));
    if !dir.join("partition").exists() {
        return Ok((major.into(), minor.into()));
    }
    let whole = fs_err::canonicalize(&dir)?.join("../dev");
    let text = fs_err::read_to_string(whole)?;
    let numbers =
        text.trim().split_once(':').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    numbers.ok_or_else(|| anyhow!("{}: a part of an unknown disk", what())).hint(|| "name the disk itself".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_reason_is_said_once() {
        let why = Why { said: "no".to_owned(), hint: Some("ask".to_owned()) };
        let other = Why { said: "never".to_owned(), hint: Some("ask".to_owned()) };
        let said = not_held(vec![("--memory", why.clone()), ("--io", other), ("--cpus", why)]).unwrap();
        assert_eq!(said.message, "--memory, --cpus: cannot be enforced: no; --io: cannot be enforced: never");
        assert_eq!(said.hints, ["ask"]);
        assert!(not_held(Vec::new()).is_none());
    }
}
