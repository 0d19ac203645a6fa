//! Which process a number meant, so that a stored number cannot lie.

use crate::sys::{Named, process};
use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags};
use std::os::fd::OwnedFd;

/// A process that cannot be confused with a later one of the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    /// Its number in rbox's pid namespace.
    pub pid: i32,
    /// When it started, in clock ticks since boot (proc_pid_stat(5), field 22).
    pub start: u64,
}

impl Identity {
    /// Of a process that exists, perhaps as a zombie.
    pub fn of(pid: i32) -> Result<Identity> {
        Ok(Identity { pid, start: stat(pid)?.0 })
    }

    /// A descriptor for it, if it is still the same process and has not ended.
    pub fn open(&self) -> Option<OwnedFd> {
        let pidfd = process::open_pidfd(self.pid).ok()?;
        // The order matters: what the descriptor refers to cannot change any more.
        self.is_there().then_some(pidfd)
    }

    /// True if it is there at this moment.
    pub fn is_there(&self) -> bool {
        stat(self.pid).is_ok_and(|(start, state)| start == self.start && !matches!(state, 'Z' | 'X'))
    }
}

/// Start time and state letter.
fn stat(pid: i32) -> Result<(u64, char)> {
    let path = format!("/proc/{pid}/stat");
    let call = || path.clone();
    // On the way of a start: one read, for the line has at most 52 numbers and a name of 64 bytes.
    let file = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).named(call)?;
    let mut buffer = [0; 2048];
    let length = rustix::io::read(&file, &mut buffer).named(call)?;
    let text = String::from_utf8_lossy(&buffer[..length]);
    // The second field is the program's name in parentheses and may contain anything.
    let (_, rest) = text.rsplit_once(')').context("stat: no name")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let state = fields.first().and_then(|field| field.chars().next()).context("stat: no state")?;
    let start = fields.get(19).context("stat: no start time")?.parse()?;
    Ok((start, state))
}
