//! A container that nobody waits for: its supervisor is a process of its own, which outlives whoever has started it.
//!
//! It is a copy of the command's process and no new program: all that was found out is at hand, and a start takes no longer
//! for it.

use super::logged::Logged;
use super::{Streams, attend};
use crate::engine::create::Created;
use crate::error::Failure;
use crate::runtime::overlay::Refused;
use crate::spec::log::Driver;
use crate::sys::clone::{self, Side};
use crate::sys::{Alone, Named, fd, process};
use crate::userns::write::HelperFailed;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, OwnedFd};

/// Longer than any report.
const MAX_MESSAGE: usize = 64 * 1024;

/// What the supervisor tells whoever has started it, once.
#[derive(Debug, Serialize, Deserialize)]
enum Report {
    /// The payload runs.
    Started,
    /// It does not.
    Failed(Failure),
    /// It does not, for want of an overlay that may be had in another way.
    NoOverlay(String),
    /// Or of ids, without which it may go.
    NoIds(String),
}

/// Has a supervisor start the container; comes back when the payload runs. `tell` gets what goes wrong later, in the
/// supervisor: its standard error goes to the container's log.
pub fn start(created: Created, tell: fn(anyhow::Error)) -> Result<()> {
    let alone = Alone::check()?;
    let (ours, theirs) = fd::seqpacket_pair()?;
    match clone::clone(&alone, 0)? {
        Side::Child => {
            drop(ours);
            let report = match supervise(created, &theirs, tell) {
                Ok(()) => process::exit_now(0),
                Err(error) => report(&error),
            };
            // If nobody listens any more there is nobody to tell.
            let _ = send(&theirs, &report);
            process::exit_now(crate::error::FAILED)
        }
        Side::Parent(child) => {
            // All of it is the supervisor's now.
            std::mem::forget(created);
            drop(theirs);
            let mut buffer = vec![0; MAX_MESSAGE];
            let received = fd::receive(ours.as_fd(), &mut buffer);
            let status = match received {
                Ok((0, _)) => process::wait(child.pidfd.as_fd()),
                _ => Ok(0),
            };
            // Its locks, pipes and sockets are open in this process, too, which may start another one.
            std::mem::forget((ours, child));
            fd::close_range(3, u32::MAX)?;
            let (length, _) = received?;
            if length == 0 {
                bail!("the supervisor has ended before its container has started: status {}", status?);
            }
            match serde_json::from_slice(&buffer[..length]).context("the supervisor's report")? {
                Report::Started => Ok(()),
                Report::Failed(failure) => Err(failure.into()),
                Report::NoOverlay(said) => Err(Refused { said }.into()),
                Report::NoIds(said) => Err(HelperFailed::new("ids", said).into()),
            }
        }
    }
}

fn send(socket: &OwnedFd, report: &Report) -> Result<()> {
    Ok(fd::send(socket.as_fd(), &serde_json::to_vec(report)?, &[])?)
}

fn report(error: &anyhow::Error) -> Report {
    for cause in error.chain() {
        if let Some(refused) = cause.downcast_ref::<Refused>() {
            return Report::NoOverlay(refused.said.clone());
        }
        if cause.is::<HelperFailed>() {
            return Report::NoIds(cause.to_string());
        }
    }
    let failure = Failure::from(error);
    Report::Failed(serde_json::from_slice(&failure.within(MAX_MESSAGE / 2)).unwrap_or(failure))
}

/// The rest of this process's life.
fn supervise(mut created: Created, starter: &OwnedFd, tell: fn(anyhow::Error)) -> Result<()> {
    process::new_session()?;
    rustix::process::chdir("/").named(|| "chdir(/)".to_owned())?;
    created.record.announce_end()?;
    let streams = match created.log.driver {
        Driver::Passthrough => Streams::Straight,
        _ => {
            let dir = created.record.on_disk()?;
            let (logged, ends) = Logged::open(&dir, &created.log, created.interactive && !created.tty)?;
            // The container inherits these.
            for (number, end) in ends.iter().enumerate() {
                fd::place(end.as_fd(), number as i32)?;
            }
            Streams::Logged(logged)
        }
    };
    attend(
        created,
        streams,
        || {
            let kept = fd::null()?;
            for number in [0, 1] {
                fd::place(kept.as_fd(), number)?;
            }
            send(starter, &Report::Started)
        },
        tell,
    )
    .map(drop)
}
