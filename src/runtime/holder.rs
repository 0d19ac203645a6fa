//! Who makes and holds the namespaces of prepared.rs, and what it says.
//!
//! Runs in: the new user namespace, or the one around; a mapper and a process in between also in the host's.

use super::prepared::Around;
use crate::error::{Advise, FAILED, Failure};
use crate::net::link::{Link, Opened};
use crate::sys::clone::{self, CLONE_NEWNET, CLONE_NEWUSER, CLONE_PARENT, Child, Room, Side};
use crate::sys::{Alone, CallError, fd, loopback, process, signal};
use crate::userns::idmap::IdMaps;
use crate::userns::write::{self, HelperFailed, Writer, Writing};
use anyhow::{Context, Result, anyhow};
use rustix::event::{PollFd, PollFlags, poll};
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Longer than any message.
pub const MAX_MESSAGE: usize = 32 * 1024;

/// To whoever wants the namespaces.
#[derive(Debug, Serialize, Deserialize)]
pub enum Said {
    /// The user namespace is there, held by the process of this number, whose pidfd comes along.
    Held(i32),
    /// The other namespaces are there, too.
    Made,
    /// What an interface is made with comes along.
    Opened,
    /// Nobody else has that any more.
    Closed,
    /// The ids are written, those of users at least.
    Mapped,
    /// The kernel refuses.
    Refused { call: String, errno: i32 },
    /// A helper could not write them: which, what it said, hints.
    Helper(String, String, Vec<String>),
    /// What else went wrong.
    Failed(Failure),
}

/// What a holder has to do.
#[derive(Clone, Copy)]
pub struct Holding<'a> {
    /// The number of the process that it ends with.
    pub parent: i32,
    /// That one's end of the connection, if the holder has it, too.
    pub other_end: Option<i32>,
    /// It waits for a word first: its ids are to be there before the others, or whoever makes it is to be off the processor.
    pub waits: bool,
    /// The namespaces beside that of users.
    pub flags: u32,
    /// The interface that is wanted.
    pub link: Option<&'a Link>,
}

/// Makes a holder, and what it has of this process's memory.
pub fn hold(alone: &Alone, socket: OwnedFd, holding: Holding<'_>) -> Result<(Child, Option<Room>)> {
    let room = if holding.link.is_none() { room(socket.try_clone()?, holding).ok() } else { None };
    if let Some(room) = room {
        match room.begin(alone, CLONE_NEWUSER) {
            Ok(child) => {
                room.close_socket()?;
                return Ok((child, Some(room)));
            }
            Err(_) => drop(room.undo()),
        }
    }
    // No room for another stack, or somebody's filter does not know such a process: a copy can do the same.
    Ok((hold_as_copy(alone, 0, &socket, holding)?, None))
}

/// The same inside another user namespace, which a process in between enters; it writes these ids. That one has this process's memory,
/// and allocates nothing either. The holder waits for a [`BEGIN`]: until that one has ended it may be where this one is to go on.
///
/// On an error a [`Mapper`] may do it still.
pub fn hold_inside(
    alone: &Alone,
    socket: OwnedFd,
    holding: Holding<'_>,
    around: &OwnedFd,
    maps: &IdMaps,
) -> Result<(Child, Option<Room>)> {
    let holding = Holding { waits: true, ..holding };
    let lines = write::Lines::of(maps)?;
    let room = if holding.link.is_none() { Some(room(socket.try_clone()?, holding)?) } else { None };
    let (mut holder, mut written) = (None, None);
    let between = clone::share(alone, &mut |_| {
        let mut write = || -> Result<()> {
            process::die_with_parent()?;
            enter(alone, around)?;
            let child = match &room {
                Some(room) => room.begin(alone, CLONE_NEWUSER | CLONE_PARENT)?,
                None => hold_as_copy(alone, CLONE_PARENT, &socket, holding)?,
            };
            let pid = *holder.insert(child.pid);
            // Its descriptor is of this process, its memory is not.
            std::mem::forget(child.pidfd);
            Ok(lines.write(pid)?)
        };
        written = Some(write());
        process::exit_now(0)
    });
    let was_there = between.is_ok();
    let closed = room.as_ref().map_or(Ok(()), Room::close_socket);
    let made = between.and_then(|between| process::wait(between.pidfd.as_fd())).and(closed).map_err(Into::into);
    // Killed, it may have made one that nobody knows of, and that is in the room.
    let is_known = !was_there || written.is_some() || holder.is_some();
    let written = made.and_then(|()| written.context("namespaces: whoever makes them was killed")?);
    let pidfd = written.and_then(|()| Ok(process::open_pidfd(holder.context("namespaces: no holder")?)?));
    match (pidfd, holder) {
        (Ok(pidfd), Some(pid)) => Ok((Child { pid, pidfd }, room)),
        (pidfd, holder) => {
            holder.into_iter().for_each(process::end_child);
            room.filter(|_| is_known).into_iter().for_each(Room::give_back);
            pidfd.and_then(|_| Err(anyhow!("namespaces: no holder")))
        }
    }
}

fn room(socket: OwnedFd, holding: Holding<'_>) -> crate::sys::Result<Room> {
    let holding = Holding { link: None, ..holding };
    Room::new(socket, holding, |alone, socket, holding| holding.hold(alone, socket))
}

/// To open an interface takes a heap.
fn hold_as_copy(alone: &Alone, more: u32, socket: &OwnedFd, holding: Holding<'_>) -> Result<Child> {
    match copy(alone, CLONE_NEWUSER | more)? {
        Side::Parent(child) => Ok(child),
        Side::Child => {
            holding.hold(alone, socket);
            process::exit_now(FAILED)
        }
    }
}

/// Makes a copy of this process that no signal reaches: what is typed to end the maker is not for it.
pub fn copy(alone: &Alone, flags: u32) -> Result<Side> {
    let blocked = signal::block_all()?;
    let made = clone::clone(alone, flags);
    if !matches!(made, Ok(Side::Child)) {
        blocked.set()?;
    }
    made.map_err(|error| (error.errno, error))
        .or_else(|(errno, error)| Err(error).maybe_hint(|| write::clone_refused(errno)))
}

fn enter(alone: &Alone, around: &OwnedFd) -> Result<()> {
    Ok(clone::setns(alone, around, CLONE_NEWUSER, Path::new("user namespace around"))?)
}

impl Holding<'_> {
    /// Runs in: the new user namespace, as the holder. Comes back at its end.
    ///
    /// Without an interface it is in its maker's memory, and allocates nothing unless it fails.
    fn hold(&self, alone: &Alone, socket: &OwnedFd) {
        finish(socket, self.begin(socket).and_then(|()| self.make(alone, socket)));
    }

    /// It ends with its maker.
    fn begin(&self, socket: &OwnedFd) -> Result<()> {
        if let Some(number) = self.other_end {
            fd::close_range(number as u32, number as u32)?;
        }
        end_with(self.parent, socket)?;
        if self.waits {
            fd::wait_for_word(socket);
        }
        Ok(())
    }

    fn make(&self, alone: &Alone, socket: &OwnedFd) -> Result<()> {
        if let Err(error) = clone::unshare(alone, self.flags) {
            return refused(socket, error);
        }
        if self.link.is_none() && self.flags & CLONE_NEWNET != 0 {
            loopback::set_up()?;
        }
        // Before anybody else is in this mount namespace: with the container's root a path leads to what an image has.
        let opened = self.link.map(Opened::open).transpose().context("network")?;
        fd::send(socket.as_fd(), MADE, &[])?;
        let Some(opened) = opened else { return Ok(()) };
        say(socket, &Said::Opened, &opened.descriptors())?;
        drop(opened);
        say(socket, &Said::Closed, &[])
    }
}

/// What a holder waits for.
pub const BEGIN: &[u8] = b"begin";

/// [`Said::Made`].
const MADE: &[u8] = br#""Made""#;

/// Ends with its parent.
fn end_with(parent: i32, socket: &OwnedFd) -> Result<()> {
    process::die_with_parent()?;
    // One whose parent was killed before would hold the line for ever, on which others wait for what that one had to say.
    if process::parent() != Some(parent) || fd::hung_up(socket) {
        process::exit_now(FAILED);
    }
    Ok(())
}

fn refused(socket: &OwnedFd, error: CallError) -> Result<()> {
    say(socket, &Said::Refused { call: error.call, errno: error.errno.raw_os_error() }, &[])
}

fn say(socket: &OwnedFd, said: &Said, fds: &[BorrowedFd<'_>]) -> Result<()> {
    Ok(fd::send(socket.as_fd(), &serde_json::to_vec(said)?, fds)?)
}

/// Says what went wrong, and waits until nobody needs this process any more.
fn finish(socket: &OwnedFd, done: Result<()>) {
    if let Err(error) = done {
        let failure = Failure::from(&error);
        let short = serde_json::from_slice(&failure.within(MAX_MESSAGE / 2)).unwrap_or(failure);
        // If nobody listens any more there is nobody to tell.
        let _ = say(socket, &Said::Failed(short), &[]);
    }
    fd::wait_for_end(socket);
}

/// The process that has helpers write ids.
pub struct Mapper<'a> {
    /// Proof of it.
    pub alone: &'a Alone,
    /// To whoever wants them.
    pub socket: OwnedFd,
    /// Likewise.
    pub holding: Holding<'a>,
}

impl Mapper<'_> {
    /// Runs in: the host's namespaces, as a fresh copy of the maker.
    pub fn map(self, maps: &IdMaps, around: Around) -> ! {
        let Mapper { alone, ref socket, holding } = self;
        let mut below = None;
        let mapped = || -> Result<()> {
            holding.begin(socket)?;
            let mapper = process::pid();
            let ids = match self.begin(around, mapper) {
                Ok(ids) => ids,
                Err(error) => return helper_failed(socket, error),
            };
            let holding = Holding { parent: mapper, other_end: None, ..holding };
            let (holder, _) = below.insert(hold(alone, socket.try_clone()?, holding)?);
            say(socket, &Said::Held(holder.pid), &[holder.pidfd.as_fd()])?;
            let written = match ids {
                // The maker writes the others meanwhile.
                None => write::begin_one(holder.pid, maps, false).and_then(Writing::finish),
                Some(ids) => maps.within(&ids).and_then(|maps| write::for_child(holder.pid, &maps, Writer::Maker)),
            };
            written.map_or_else(|error| helper_failed(socket, error), |()| say(socket, &Said::Mapped, &[]))
        };
        let mapped = mapped();
        if let (Ok(()), Some((holder, _))) = (&mapped, &below) {
            watch(socket, holder);
        }
        finish(socket, mapped);
        // Where rbox is in a container whose first process collects nobody, nothing is left for it.
        below.iter().for_each(|(holder, _)| process::end_child(holder.pid));
        process::exit_now(FAILED)
    }

    /// Enters the user namespace around, if there is to be one: its ids.
    fn begin(&self, around: Around, mapper: i32) -> Result<Option<IdMaps>> {
        let ids = match around {
            Around::Own { .. } => return Ok(None),
            Around::There(namespace, ids) => {
                enter(self.alone, &namespace)?;
                return Ok(Some(ids));
            }
            Around::New(ids) => ids,
        };
        let first = match clone::clone(self.alone, CLONE_NEWUSER)? {
            Side::Parent(child) => child,
            Side::Child => {
                finish(&self.socket, end_with(mapper, &self.socket));
                process::exit_now(FAILED)
            }
        };
        let written = write::for_child(first.pid, &ids, Writer::Helpers);
        let entered = written.and_then(|()| enter(self.alone, &first.pidfd));
        // It was there for the helpers.
        process::end_child(first.pid);
        entered.map(|()| Some(ids))
    }
}

fn helper_failed(socket: &OwnedFd, error: anyhow::Error) -> Result<()> {
    let hints = Failure::from(&error).hints;
    match error.chain().find_map(|cause| cause.downcast_ref::<HelperFailed>()) {
        Some(helper) => say(socket, &Said::Helper(helper.name().to_owned(), helper.said().to_owned(), hints), &[]),
        None => Err(error),
    }
}

/// Waits until nobody needs the holder any more. Should that one be killed, its maker would wait for ever.
fn watch(socket: &OwnedFd, holder: &Child) {
    let mut fds = [PollFd::new(socket, PollFlags::RDHUP), PollFd::new(&holder.pidfd, PollFlags::IN)];
    let polled = rustix::io::retry_on_intr(|| poll(&mut fds, None));
    if polled.is_ok() && fds[0].revents().is_empty() {
        let message = "namespaces: whoever holds them has ended".to_owned();
        let _ = say(socket, &Said::Failed(Failure { message, ..Failure::default() }), &[]);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_said_without_the_heap_is_the_same() {
        assert_eq!(serde_json::to_vec(&Said::Made).unwrap(), MADE);
    }
}
