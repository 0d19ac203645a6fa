//! What a container is doing: found out from the kernel and from files each time, stored nowhere.

use super::container::{self, Found};
use super::record::{PROCESS, runtime_of};
use super::{pause, restart, text};
use crate::runtime::state::Identity;
use crate::sys::process;
use crate::time::Time;
use anyhow::{Context, Result};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::OnceLock;

/// docker's words for it (moby, `api/types/container`, `ContainerState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It was made, and never started.
    Created,
    /// Its first process is there.
    Running,
    /// And all of it was stopped by the kernel, until somebody lets it go on.
    Paused,
    /// It has ended and waits to be started again.
    Restarting,
    /// It has ended.
    Exited,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Restarting => "restarting",
            Status::Exited => "exited",
        })
    }
}

/// What is written down when a container starts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// Its first process.
    #[serde(flatten)]
    pub process: Identity,
    /// Whoever is responsible for it, if that may be another process than the command that is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervisor: Option<Identity>,
    /// When it was started.
    pub started: Time,
    /// Which boot that was: process numbers and start times begin anew with the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
}

impl Run {
    /// Of a process that has just started.
    pub fn now(process: Identity) -> Run {
        let supervisor = Identity::of(process::pid()).ok();
        Run { process, supervisor, started: Time::now(), boot: boot() }
    }

    /// A descriptor for the first process, if it is still there.
    pub fn open(&self) -> Option<OwnedFd> {
        self.of_this_boot().then(|| self.process.open()).flatten()
    }

    /// True if the first process is still there.
    pub fn is_there(&self) -> bool {
        self.of_this_boot() && self.process.is_there()
    }

    /// The first process, or with `--init`, whose first process nobody may look at (`runtime/reaper.rs`), the one below it: its
    /// number and a descriptor.
    pub fn visible(&self) -> Option<(i32, OwnedFd)> {
        let (init, pid) = (self.open()?, self.process.pid);
        if fs_err::read_link(format!("/proc/{pid}/ns/mnt")).is_ok() {
            return Some((pid, init));
        }
        let children = || fs_err::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok();
        let first = |text: String| text.split_whitespace().next()?.parse::<i32>().ok();
        let child = children().and_then(first)?;
        let pidfd = process::open_pidfd(child).ok()?;
        // Had it ended before, its number could be another's by now, which is none of the container's.
        (children().and_then(first) == Some(child)).then_some((child, pidfd))
    }

    /// A descriptor for whoever is responsible, likewise.
    pub fn open_supervisor(&self) -> Option<OwnedFd> {
        self.supervisor.filter(|_| self.of_this_boot()).and_then(|supervisor| supervisor.open())
    }

    fn of_this_boot(&self) -> bool {
        self.boot.is_none() || self.boot == boot()
    }
}

/// What is written down when it has ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Exit {
    /// Its exit status, or 128 and the number of the signal.
    pub status: u8,
    /// When.
    pub finished: Time,
    /// What went wrong, if it could not even start.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// The kernel had killed somebody in it for want of memory.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub oom: bool,
}

/// All of it.
#[derive(Debug, Clone)]
pub struct State {
    /// In a word.
    pub status: Status,
    /// The last start, if there was one.
    pub run: Option<Run>,
    /// The last end, if that is written down.
    pub exit: Option<Exit>,
    /// Its first process has ended, and whoever is responsible for it is about to write down how: it still counts as running.
    pub ends: bool,
}

impl State {
    /// The status of its last run; 0 if there was none, and that of SIGKILL if nobody was left to write it down.
    pub fn exit_code(&self) -> u8 {
        match (self.status, &self.exit) {
            (Status::Exited | Status::Restarting, None) => 128 + libc::SIGKILL as u8,
            (Status::Running | Status::Paused, _) | (_, None) => 0,
            (_, Some(exit)) => exit.status,
        }
    }

    /// True while its first process is there.
    pub fn runs(&self) -> bool {
        matches!(self.status, Status::Running | Status::Paused)
    }

    /// The number of its first process, while that is there.
    pub fn pid(&self) -> Option<i32> {
        self.run.as_ref().filter(|_| self.runs() && !self.ends).map(|run| run.process.pid)
    }
}

/// What a container is doing now, as far as whoever has found it knows who is responsible for it.
pub fn of(found: &Found) -> Result<State> {
    of_one(found, found.live)
}

/// The same of one that somebody is responsible for by now.
pub fn of_held(found: &Found) -> Result<State> {
    of_one(found, true)
}

fn of_one(found: &Found, live: bool) -> Result<State> {
    // In this order: what starts and ends meanwhile is then seen as one or the other, and not as neither.
    let run = run(found)?;
    let runs = live && run.as_ref().is_some_and(Run::is_there);
    // Its log may be written still, and its status is known to nobody yet.
    let attended = live && !runs && run.as_ref().is_some_and(|run| run.open_supervisor().is_some());
    let exit: Option<Exit> = if runs { None } else { read(&found.dir.join(container::EXIT))? };
    let waits = || live && restart::of(&found.dir).waiting;
    let (status, ends) = match (runs, &run, &exit) {
        (true, ..) if pause::is_paused(found) => (Status::Paused, false),
        (true, ..) => (Status::Running, false),
        (false, None, None) => (Status::Created, false),
        (false, ..) if waits() => (Status::Restarting, false),
        (false, _, None) if attended => (Status::Running, true),
        _ => (Status::Exited, false),
    };
    Ok(State { status, run, exit, ends })
}

/// Its last start.
pub fn run(found: &Found) -> Result<Option<Run>> {
    run_in(&found.dir, &found.container.id)
}

/// The same of a container with this directory on disk. One of the two files is enough.
pub fn run_in(dir: &Path, id: &str) -> Result<Option<Run>> {
    match read(&runtime_of(id)?.join(PROCESS)) {
        Ok(Some(run)) => Ok(Some(run)),
        // One of another session.
        Ok(None) => read(&dir.join(PROCESS)),
        Err(error) => read(&dir.join(PROCESS)).ok().flatten().map(Some).ok_or(error),
    }
}

/// What a file holds; `None` if there is none.
pub(super) fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<Option<T>> {
    match text::of(path) {
        // Nothing is written yet.
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => serde_json::from_slice(&text).map(Some).with_context(|| path.display().to_string()),
        Err(error) if error.errno == Errno::NOENT => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Which boot this is (random(4), `boot_id`).
pub(super) fn boot() -> Option<String> {
    // A list asks for each container.
    static READ: OnceLock<Option<String>> = OnceLock::new();
    let read = || {
        let text = fs_err::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(text.trim().to_owned())
    };
    READ.get_or_init(read).clone()
}
