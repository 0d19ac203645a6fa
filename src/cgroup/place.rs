//! Where the cgroups of containers may be.
//!
//! Who may limit others is who owns the cgroup around them (cgroups(7), "Delegating a hierarchy"). A process is born in a cgroup only
//! if its maker may also write to the nearest cgroup that is around both: so what counts is where rbox itself is.
//! systemd says of a cgroup that it has delegated it with an attribute (systemd.resource-control(5), `Delegate=`; the attribute
//! `user.delegate`); what is a user's own and not delegated is the user manager's, which changes it as it likes.

use super::group::Group;
use super::scope;
use crate::sys::ids;
use anyhow::Result;
use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

/// Where the hierarchy is mounted on every host that has nothing else.
pub const MOUNTED: &str = "/sys/fs/cgroup";
/// There where systemd runs (sd_booted(3)).
const MANAGED: &str = "/run/systemd/system";
/// What a supervisor's own cgroup is called, beside those of its container.
pub const SUPERVISOR: &str = "rbox-supervisor";

/// What a host has of cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hierarchy {
    /// Version 2 alone.
    Unified,
    /// Version 1, perhaps with version 2 beside it, which has no controllers then: nothing can be delegated.
    Legacy,
    /// Nothing that can be seen.
    None,
}

/// What this host has (statfs(2)).
pub fn hierarchy() -> Hierarchy {
    const TMPFS: u64 = 0x0102_1994;
    match kind(Path::new(MOUNTED)) {
        Ok(CGROUP2) => Hierarchy::Unified,
        // In a container there may be an empty one.
        Ok(TMPFS) if has_legacy() => Hierarchy::Legacy,
        _ => Hierarchy::None,
    }
}

/// True for a directory of the hierarchy, wherever it is mounted.
pub fn is_hierarchy(path: &Path) -> bool {
    kind(path) == Ok(CGROUP2)
}

/// The same of what a descriptor leads to.
pub fn is_hierarchy_at(fd: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    rustix::fs::fstatfs(fd).map(|stat| stat.f_type as u64 == CGROUP2)
}

/// From linux/magic.h.
const CGROUP2: u64 = 0x6367_7270;

fn kind(path: &Path) -> rustix::io::Result<u64> {
    rustix::fs::statfs(path).map(|stat| stat.f_type as u64)
}

/// True if controllers are in hierarchies of their own (cgroups(7), `/proc/PID/cgroup`).
fn has_legacy() -> bool {
    let text = fs_err::read_to_string("/proc/self/cgroup").unwrap_or_default();
    text.lines().any(|line| !line.starts_with("0::"))
}

/// The cgroup that this process is in, as a path below where the hierarchy is mounted; `None` if it cannot be seen from here.
pub fn own() -> Option<PathBuf> {
    read("self")
}

/// The same of another process.
pub fn of(pid: i32) -> Option<PathBuf> {
    read(&pid.to_string())
}

fn read(process: &str) -> Option<PathBuf> {
    let text = fs_err::read_to_string(format!("/proc/{process}/cgroup")).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    // Outside of what this cgroup namespace shows.
    let is_seen = !path.split('/').any(|part| part == "..");
    is_seen.then(|| Path::new(MOUNTED).join(path))
}

/// Where a container's cgroup can be made, by whoever is there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Below this one.
    pub parent: PathBuf,
    /// Nobody may be in that one: who goes to one below it first.
    pub moves: Moves,
}

/// Who is in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moves {
    /// Nobody.
    Nobody,
    /// rbox.
    Rbox,
    /// rbox and all that is there with it. Only where no systemd has put them there: in a container, above all.
    Everybody,
}

/// Finds it, for a container with this id: one of another container is not for this one. `None`: nothing is delegated to whoever
/// runs rbox, or others are where it is. `asks`: the user's systemd may be asked.
pub fn find(id: &str, asks: bool) -> Option<Place> {
    let own = own()?;
    let root = root(&own, id, asks)?;
    let has_manager = Path::new(MANAGED).is_dir();
    for dir in own.ancestors().take_while(|dir| dir.starts_with(&root)) {
        if !is_writable(dir) {
            return None;
        }
        let group = Group::open(dir).ok()?;
        let processes = group.processes().ok()?;
        let is_alone = dir == own && processes == [crate::sys::process::pid()];
        // Whoever is in the root of all is in nobody's way.
        let is_root = !dir.join("cgroup.type").exists();
        if processes.is_empty() || is_alone || is_root {
            // What cannot be had here cannot be had further up, where controllers come from.
            let moves = if is_alone && !is_root { Moves::Rbox } else { Moves::Nobody };
            return Some(Place { parent: dir.to_owned(), moves });
        }
        if dir == own && dir == root && !has_manager {
            return Some(Place { parent: dir.to_owned(), moves: Moves::Everybody });
        }
    }
    None
}

/// The topmost cgroup around this one that is for whoever is in it.
fn root(own: &Path, id: &str, asks: bool) -> Option<PathBuf> {
    let parts = || own.ancestors().take_while(|dir| dir.starts_with(MOUNTED));
    let manages = Path::new(MANAGED).is_dir();
    let unit = parts().find(|dir| is_delegated(dir));
    match unit {
        // That is for the user's manager, which has units of its own in it: those say it of themselves.
        Some(manager) if is_of_manager(manager) => {
            let unit = parts().take_while(|dir| *dir != manager).find(|dir| is_unit(dir))?;
            is_given_away(unit, id, asks).then(|| unit.to_owned())
        }
        // Of the system's manager.
        Some(unit) => Some(unit.to_owned()),
        // Where it cannot say so: an old one, or none. Whoever owns a cgroup then has got it.
        None if manages && parts().any(is_of_systemd) => None,
        None => parts().filter(|dir| is_writable(dir)).last().map(Path::to_owned),
    }
}

fn is_of_manager(dir: &Path) -> bool {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("user@") && name.ends_with(".service")
}

/// True for what systemd has made: for root all of it can be written to.
fn is_of_systemd(dir: &Path) -> bool {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    is_unit(dir) || name.ends_with(".slice")
}

fn is_unit(dir: &Path) -> bool {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".service") || name.ends_with(".scope")
}

/// True for a unit of the user's manager that is for whoever is in it, and not for another container.
fn is_given_away(unit: &Path, id: &str, asks: bool) -> bool {
    let name = unit.file_name().unwrap_or_default().to_string_lossy();
    if let Some(of) = name.strip_prefix("rbox-").and_then(|name| name.strip_suffix(".scope")) {
        return of == id;
    }
    let Some(manager) = scope::manager() else { return false };
    // Of one that was made by a call the file is at hand.
    let file = manager.with_file_name("transient").join(&*name);
    match fs_err::read_to_string(file) {
        Ok(text) => text.lines().any(|line| line.strip_prefix("Delegate=").is_some_and(|value| value != "no")),
        Err(_) => asks && scope::is_delegated(&manager, &name).unwrap_or(false),
    }
}

fn is_delegated(dir: &Path) -> bool {
    let mut value = [0; 8];
    rustix::fs::getxattr(dir, "user.delegate", &mut value).is_ok_and(|length| value[..length] == *b"1")
}

/// True if rbox may have processes begin in a cgroup, there or below: it takes the right to write to the nearest that is around it
/// and rbox's own.
pub fn may_be_born_in(dir: &Path) -> bool {
    let Some(own) = own() else { return false };
    let common = own.ancestors().find(|common| dir.starts_with(common)).unwrap_or(Path::new(MOUNTED));
    let may =
        |dir: &Path| rustix::fs::accessat(CWD, dir.join("cgroup.procs"), Access::WRITE_OK, AtFlags::EACCESS).is_ok();
    may(common) && is_writable(dir)
}

/// True for one that this user may make others in and move processes to and from.
fn is_writable(dir: &Path) -> bool {
    let of_caller = rustix::fs::stat(dir).is_ok_and(|stat| stat.st_uid == ids::uid());
    let may = |name: &str| rustix::fs::accessat(CWD, dir.join(name), Access::WRITE_OK, AtFlags::EACCESS).is_ok();
    of_caller && may("") && may("cgroup.procs") && may("cgroup.subtree_control")
}

/// Gets out of the way who is in it: below which containers can be then.
pub fn enter(place: Place) -> Result<PathBuf> {
    if place.moves == Moves::Nobody {
        return Ok(place.parent);
    }
    let group = Group::open(&place.parent)?;
    let aside = group.below(SUPERVISOR)?;
    aside.write("cgroup.procs", "0")?;
    // Whoever is there may make others meanwhile.
    let mut rounds = 0;
    while place.moves == Moves::Everybody && rounds < MOST_ROUNDS {
        rounds += 1;
        // One outside of this pid namespace has the number 0, which would be rbox itself.
        let mut others = group.processes()?;
        others.retain(|pid| *pid > 0);
        if others.is_empty() {
            break;
        }
        for pid in others {
            match aside.write("cgroup.procs", &pid.to_string()) {
                // It has ended, or is about to.
                Err(error) if error.errno == Errno::SRCH => {}
                moved => moved?,
            }
        }
    }
    Ok(place.parent)
}

/// As often those who are in the way are asked to go.
const MOST_ROUNDS: u32 = 100;

/// Prepares it: as many of the controllers for those below as can be had. Those are returned.
pub fn prepare(parent: &Path, controllers: &[&str]) -> Result<(Group, Vec<String>)> {
    let group = Group::open(parent)?;
    let there = group.read("cgroup.subtree_control")?.unwrap_or_default();
    let mut enabled: Vec<String> = there.split_whitespace().map(str::to_owned).collect();
    let is_new = |controller: &&str| !enabled.iter().any(|enabled| enabled == *controller);
    let missing: Vec<&str> = controllers.iter().copied().filter(is_new).collect();
    if !missing.is_empty() {
        let offered = group.controllers()?;
        let had = missing.into_iter().filter(|controller| offered.iter().any(|offered| offered == *controller));
        enabled.extend(group.enable(&had.collect::<Vec<_>>()).into_iter().map(str::to_owned));
    }
    Ok((group, enabled))
}
