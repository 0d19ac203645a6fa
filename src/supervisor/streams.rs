//! Where a container's standard streams lead.

use super::logged::Logged;
use super::terminal::Relay;
use crate::engine::log::Stream;
use crate::sys::signal::Blocked;
use anyhow::Result;
use rustix::event::PollFlags;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Somewhere.
pub enum Streams {
    /// They are rbox's own.
    Straight,
    /// Between the caller's terminal and the container's.
    Terminal(Relay),
    /// To the container's log.
    Logged(Logged),
}

/// An end that bytes come from or go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The container's terminal.
    Master,
    /// rbox's standard input.
    Input,
    /// rbox's standard output.
    Output,
    /// What the container says, without a terminal.
    Pipe(Stream),
}

impl Streams {
    /// The container has started. `terminal`: the master side of its terminal, if it has one.
    pub fn started(self, terminal: Option<OwnedFd>, interactive: bool) -> Result<Streams> {
        match (self, terminal) {
            (Streams::Logged(mut logged), terminal) => {
                logged.started(terminal)?;
                Ok(Streams::Logged(logged))
            }
            (_, Some(master)) => Ok(Streams::Terminal(Relay::start(master, interactive)?)),
            (streams, None) => Ok(streams),
        }
    }

    /// What to wait for.
    pub fn wanted(&self) -> Vec<(End, BorrowedFd<'_>, PollFlags)> {
        match self {
            Streams::Straight => Vec::new(),
            Streams::Terminal(relay) => relay.wanted(),
            Streams::Logged(logged) => logged.wanted(),
        }
    }

    /// Moves what can be moved.
    pub fn step(&mut self, ready: &[(End, PollFlags)]) {
        match self {
            Streams::Straight => {}
            Streams::Terminal(relay) => relay.step(ready),
            Streams::Logged(logged) => logged.step(ready),
        }
    }

    /// The caller's terminal, if it is one between.
    pub fn relay(&self) -> Option<&Relay> {
        match self {
            Streams::Terminal(relay) => Some(relay),
            Streams::Straight | Streams::Logged(_) => None,
        }
    }

    /// The container has ended: what it said last is still under way.
    pub fn finish(self, signals: &Blocked) {
        match self {
            Streams::Straight => {}
            Streams::Terminal(relay) => relay.finish(signals),
            Streams::Logged(logged) => logged.finish(),
        }
    }
}
