//! What a supervisor waits for.

use crate::engine::log::Stream;
use anyhow::Result;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// Who has something for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The container's first process has ended.
    Init,
    /// A signal came.
    Signal,
    /// The kernel may have killed somebody in the container for want of memory.
    Memory,
    /// The container needs its network, or somebody has something to say of it.
    Network,
    /// The payload has something to say to the service manager.
    Notification,
    /// That one takes something.
    Manager,
    /// Somebody connects.
    Listener,
    /// Somebody who has connected says what is wanted.
    Stranger(u32),
    /// An execution is on its way.
    Joiner(u32),
    /// The process of an execution has ended.
    Child(u32),
    /// An end of a session: the container's own, or that of an execution.
    Session(Owner, End),
}

/// Whose session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The container's first process.
    Container,
    /// One more process.
    Execution(u32),
}

/// An end that bytes come from or go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// A terminal.
    Master,
    /// Standard input, without a terminal.
    Input,
    /// What is said, without a terminal.
    Pipe(Stream),
    /// The journal, which has not taken everything yet.
    Journal,
    /// Somebody who is attached; counted from 0.
    Client(usize),
}

/// What to wait for, and how. Nothing that needs no attention: its hang-up would be reported for ever.
pub type Wanted<'a> = Vec<(Source, BorrowedFd<'a>, PollFlags)>;

/// Waits until there is something, or `deadline` has come; what there is.
pub fn wait(wanted: &Wanted<'_>, deadline: Option<Instant>) -> Result<Vec<(Source, PollFlags)>> {
    let left = deadline.map(|deadline| {
        let left = deadline.saturating_duration_since(Instant::now());
        // Never zero: something that does not happen at once must not make this a busy loop.
        let left = left.max(Duration::from_millis(1));
        Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos().into() }
    });
    let mut fds: Vec<_> = wanted.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
    rustix::io::retry_on_intr(|| poll(&mut fds, left.as_ref()))?;
    let ready = wanted.iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
    Ok(ready.map(|((source, ..), fd)| (*source, fd.revents())).collect())
}
