//! A container that nobody waits for: its supervisor is a process of its own, which outlives whoever has started it.
//!
//! It is a copy of the command's process and no new program: all that was found out is at hand, and a start takes no longer
//! for it.

use super::client::Client;
use super::message;
use super::session::{self, Session, Sink};
use super::{again, attend};
use crate::engine::container;
use crate::engine::created::Created;
use crate::engine::log::Stream;
use crate::engine::log::journal::Journal;
use crate::engine::log::writer::Writer;
use crate::engine::restart;
use crate::error::{FAILED, Failure};
use crate::runtime::overlay::Refused;
use crate::runtime::prepared::Prepared;
use crate::spec::log::Driver;
use crate::spec::restart::Restart;
use crate::sys::clone::{self, Side};
use crate::sys::{Alone, Named, fd, process};
use crate::userns::write::HelperFailed;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// Longer than any report.
const MAX_MESSAGE: usize = 64 * 1024;

/// As long a container that is started again waits for whoever has started it to take something of what it has said.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether whoever starts a container stays with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Starter {
    /// No.
    Goes,
    /// It gets what is said, and what it says is for the container.
    Stays,
}

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

/// Has a supervisor start the container; comes back when the payload runs, with the connection to it for a starter who stays.
/// `tell` gets what goes wrong later, in the supervisor: its standard error goes to the container's log.
pub fn start(mut created: Created, starter: Starter, tell: fn(anyhow::Error)) -> Result<OwnedFd> {
    let alone = Alone::check()?;
    // Those that the payload is to get: another attempt may follow.
    let kept = 3 + created.extra.descriptors;
    let (ours, theirs) = fd::seqpacket_pair()?;
    message::make_room(&ours)?;
    message::make_room(&theirs)?;
    // A copy cannot await this process's helpers.
    created.bundle.prepared.as_ref().map_or(Ok(()), Prepared::mapped_users)?;
    match clone::clone(&alone, 0)? {
        Side::Child => {
            drop(ours);
            let report = match supervise(created, Some((starter, &theirs)), tell) {
                Ok(()) => process::exit_now(0),
                Err(error) => report(&error),
            };
            // If nobody listens any more there is nobody to tell.
            let _ = send(&theirs, &report);
            process::exit_now(FAILED)
        }
        Side::Parent(child) => {
            // All of it is the supervisor's now, but a child of this process.
            let prepared = created.bundle.prepared.take();
            std::mem::forget(created);
            drop(theirs);
            let received = fd::receive_whole(ours.as_fd(), MAX_MESSAGE);
            let status = match &received {
                Ok((report, _)) if report.is_empty() => process::wait(child.pidfd.as_fd()),
                _ => Ok(0),
            };
            drop(prepared);
            // Its locks, pipes and sockets are open in this process, too, which may start another one.
            std::mem::forget(child);
            fd::close_all_but(&ours, kept)?;
            let (report, _) = received?;
            if report.is_empty() {
                bail!("the supervisor has ended before its container has started: status {}", status?);
            }
            match serde_json::from_slice(&report).context("the supervisor's report")? {
                Report::Started => {
                    fd::close_range(3, kept - 1)?;
                    Ok(ours)
                }
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

/// The rest of this process's life. `starter`: who waits for the start, if somebody does.
pub fn supervise(mut created: Created, starter: Option<(Starter, &OwnedFd)>, tell: fn(anyhow::Error)) -> Result<()> {
    process::new_session()?;
    rustix::process::chdir("/").named(|| "chdir(/)".to_owned())?;
    let mut session = None;
    let mut own = Vec::new();
    let mut words = None;
    if created.log.driver != Driver::Passthrough || created.tty {
        let (made, ends) = session_of(&mut created)?;
        session = Some(made);
        words = ends.last().map(|end| session::own_words(end.as_fd())).transpose()?;
        own = ends;
    }
    if !created.tty {
        // The container inherits these.
        place(&own)?;
    }
    let has_begun = Cell::new(false);
    let tty = created.tty;
    let disk = created.record.kept().filter(|_| starter.is_none()).map(Path::to_owned);
    let started = |session: &mut Option<Session>| -> Result<()> {
        if tty {
            // Until now it was the caller's: the size of the terminal is read there.
            place(&own)?;
        }
        if let Some(words) = words {
            fd::place(words.as_fd(), 2)?;
        }
        let kept = fd::null()?;
        for number in [0, 1] {
            fd::place(kept.as_fd(), number)?;
        }
        drop(own);
        has_begun.set(true);
        if let Some(disk) = disk {
            restart::go_on(&disk);
        }
        let Some((starter, socket)) = starter else { return Ok(()) };
        send(socket, &Report::Started)?;
        if let Some(session) = session.as_mut().filter(|_| starter == Starter::Stays) {
            session.attach(Client::first(socket.try_clone()?));
        }
        Ok(())
    };
    let outcome = match attend(&mut created, &mut session, started, tell) {
        // Nobody waits for that any more: it is told where the container's own words are, and how it ended is known.
        Err(error) if has_begun.get() => {
            tell(error.context("supervisor"));
            created.ended(FAILED);
            created.let_go();
            session.into_iter().for_each(|session| session.part(FAILED, None));
            return Ok(());
        }
        outcome => outcome?,
    };
    // As `update` may have changed it.
    let about = created.record.kept().and_then(|dir| container::read(dir).ok().flatten());
    let restart = about.map_or(created.restart, |found| found.container.restart);
    if restart != Restart::No || outcome.again {
        // As in docker, those who are connected have seen the end that they wait for. Whoever wants to stop it waits for them.
        session.take().into_iter().for_each(|session| session.part(outcome.status, Some(PATIENCE)));
        again::unless_over(&created.record, restart, &outcome)?;
    }
    created.let_go();
    // It is let go by now, and gone if it was one of --rm: whoever waits sees that.
    session.into_iter().for_each(|session| session.part(outcome.status, None));
    Ok(())
}

/// What the container says goes to its log. The ends that it gets, by their numbers.
fn session_of(created: &mut Created) -> Result<(Session, Vec<OwnedFd>)> {
    let sink = match created.log.driver {
        Driver::None | Driver::Passthrough => Sink::None,
        Driver::Journald => {
            Sink::Journal(Journal::open(created.journal.clone(), created.record.kept().map(Path::to_owned))?)
        }
        _ => Sink::Log(Writer::open(&created.record.on_disk()?, &created.log)?),
    };
    let mut session = Session::new(sink);
    let input = if created.interactive && !created.tty { session.type_in()? } else { fd::null()? };
    let output = if created.tty { fd::null()? } else { session.listen(Stream::Out)? };
    let ends = vec![input, output, session.listen(Stream::Err)?];
    Ok((session, ends))
}

fn place(ends: &[OwnedFd]) -> Result<()> {
    for (number, end) in ends.iter().enumerate() {
        fd::place(end.as_fd(), number as i32)?;
    }
    Ok(())
}
