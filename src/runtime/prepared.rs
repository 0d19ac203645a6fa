//! Namespaces that are made while their container is still being put together: its image looked up, its directories made, its
//! Spec written. A user namespace whose ids two set-user-id programs have to write, and a network namespace, cost as much as
//! all of that, and there is another processor.
//!
//! ```text
//! maker                                          holder
//! clone ─────────────────────────────────────────▶ in the user namespace: makes the others
//! writes its ids; puts the container together    ◀── Made ───
//! joiner.rs enters                                 waits
//! closes ────────────────────────────────────────▶ ends
//! ```
//! Ids of a user namespace inside another one are written by somebody who has entered that: a process in between makes the holder,
//! writes them and ends.
//!
//! Where helpers write them and the container's supervisor is a copy of the maker, there is a mapper: that one could not await what
//! the maker has begun.
//! ```text
//! maker                        mapper                                      holder
//! clone ──────────────────────▶ clone ─────────────────────────────────────▶ in the user namespace: makes the others
//! puts the container together  ◀── Held ────  newuidmap                      ◀── Made ───
//! newgidmap; joiner.rs enters  ◀── Mapped ──  keeps the holder               waits
//! closes ─────────────────────▶ ends                                         ends
//! ```

use super::holder::{self, BEGIN, Holding, MAX_MESSAGE, Mapper, Said};
use crate::error::Advise;
use crate::net::link::Link;
use crate::sys::clone::{CLONE_NEWUSER, Child, Room, Side};
use crate::sys::{Alone, CallError, fd, ids, process};
use crate::userns::idmap::IdMaps;
use crate::userns::write::{self, HelperFailed, Writer, Writing};
use anyhow::{Context, Result, ensure};
use rustix::io::Errno;
use rustix::net::Shutdown;
use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

/// As long as its makers may take to end when nobody needs them any more.
const PATIENCE: Duration = Duration::from_millis(500);

/// Where the user namespace is to be, if helpers would have to write its ids.
#[derive(Debug)]
pub enum Around {
    /// In this process's own: they write them.
    Own {
        /// This process starts and awaits them itself: mostly it is the container's supervisor later.
        stays: bool,
    },
    /// In one that others are in, which has these ids: its root writes them, and no helper is needed.
    There(OwnedFd, IdMaps),
    /// In a new one that has these ids. Helpers write those, and the next one is made in it, too.
    New(IdMaps),
}

/// Namespaces that a process holds. Dropped, it ends.
#[derive(Debug)]
pub struct Prepared {
    socket: OwnedFd,
    /// The mapper, or the holder itself.
    child: Child,
    /// What that one has of this process's memory.
    room: Option<Room>,
    by_mapper: bool,
    /// The helper that writes the ids of users, if this process has started it.
    users: RefCell<Option<Writing>>,
    /// What it holds beside the user namespace, CLONE_NEW*.
    flags: u32,
    /// Those of groups are still to be written, by a helper.
    maps: Option<IdMaps>,
    /// The ids of a user namespace around that was made for this one.
    around: Option<IdMaps>,
    /// That helper.
    groups: RefCell<Option<Writing>>,
    /// What the interface is made with, if it came.
    opened: RefCell<Vec<OwnedFd>>,
    progress: Cell<Progress>,
}

/// Namespaces to be entered.
#[derive(Debug)]
pub struct Held {
    /// Which, CLONE_NEW*.
    pub flags: u32,
    /// Whose: a pidfd.
    pub holder: OwnedFd,
}

#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    is_held: bool,
    is_made: bool,
    is_closed: bool,
    is_mapped: bool,
}

impl Prepared {
    /// Begins with a user namespace of these ids, and others in it. Comes back at once.
    ///
    /// Runs in: the host's namespaces, the maker.
    pub fn begin(alone: &Alone, maps: &IdMaps, flags: u32, link: Option<&Link>, around: Around) -> Result<Prepared> {
        let writer = write::writer(maps, ids::uid(), ids::gid());
        let (ours, theirs) = fd::seqpacket_pair()?;
        let holding = Holding { parent: process::pid(), other_end: Some(ours.as_raw_fd()), waits: false, flags, link };
        let prepared = |child, room, progress| Prepared {
            socket: ours,
            child,
            room,
            by_mapper: false,
            users: RefCell::default(),
            flags,
            maps: None,
            around: None,
            groups: RefCell::default(),
            opened: RefCell::default(),
            progress: Cell::new(progress),
        };
        let nothing = Progress::default();
        let mapped = Progress { is_mapped: true, ..nothing };
        let around = match (writer, around) {
            (Writer::Helpers, Around::There(around, ids)) => {
                let within = maps.within(&ids)?;
                if let Ok((child, room)) = holder::hold_inside(alone, theirs.try_clone()?, holding, &around, &within) {
                    let prepared = prepared(child, room, mapped);
                    fd::send(prepared.socket.as_fd(), BEGIN, &[])?;
                    return Ok(prepared);
                }
                Around::There(around, ids)
            }
            (_, around) => around,
        };
        match writer {
            Writer::Helpers if matches!(around, Around::Own { stays: true }) => {
                let (child, room) = holder::hold(alone, theirs, holding)?;
                process::send_elsewhere(child.pid);
                let mut prepared = prepared(child, room, nothing);
                prepared.maps = Some(maps.clone());
                prepared.users = RefCell::new(Some(write::begin_one(prepared.child.pid, maps, false)?));
                Ok(prepared)
            }
            Writer::Helpers => {
                let (of_groups, of_around) = match &around {
                    Around::Own { .. } => (Some(maps.clone()), None),
                    Around::There(..) => (None, None),
                    Around::New(ids) => (None, Some(ids.clone())),
                };
                let child = match holder::copy(alone, 0)? {
                    Side::Parent(child) => child,
                    Side::Child => Mapper { alone, socket: theirs, holding }.map(maps, around),
                };
                process::send_elsewhere(child.pid);
                let mut prepared = prepared(child, None, nothing);
                (prepared.by_mapper, prepared.maps, prepared.around) = (true, of_groups, of_around);
                Ok(prepared)
            }
            Writer::Itself | Writer::Maker => {
                // What belongs to the network namespace belongs to whoever is its root when it is made.
                let (child, room) = holder::hold(alone, theirs, Holding { waits: true, ..holding })?;
                process::send_elsewhere(child.pid);
                let prepared = prepared(child, room, mapped);
                let pid = prepared.child.pid;
                if writer == Writer::Maker {
                    write::for_child(pid, maps, writer)
                } else {
                    write::single_of(pid, maps)
                }?;
                fd::send(prepared.socket.as_fd(), BEGIN, &[])?;
                Ok(prepared)
            }
        }
    }

    /// What can be entered, waited for. It may have no ids yet.
    pub fn held(&self) -> Result<Held> {
        if !self.by_mapper && self.maps.is_some() {
            self.begin_groups(self.child.pid)?;
        }
        let holder = self.hear(|progress| progress.is_made && progress.is_held == self.by_mapper)?;
        let holder = holder.map_or_else(|| self.child.pidfd.try_clone().context("namespaces"), Ok)?;
        Ok(Held { flags: CLONE_NEWUSER | self.flags, holder })
    }

    /// What the interface in it is made with, waited for. Called after the processes are made that must not have it: a tap
    /// has a carrier as long as somebody has it open.
    pub fn opened(&self) -> Result<Vec<OwnedFd>> {
        self.hear(|progress| progress.is_closed)?;
        Ok(self.opened.take())
    }

    /// For such a process that has it all the same.
    pub fn close_opened(&self) {
        self.opened.take();
    }

    /// Waits until all ids are written. Called once, after that.
    pub fn mapped(&self) -> Result<()> {
        self.mapped_users()?;
        self.hear(|progress| progress.is_mapped)?;
        self.groups.take().map_or(Ok(()), Writing::finish)
    }

    /// Waits for what this process has begun itself, before another one goes on.
    pub fn mapped_users(&self) -> Result<()> {
        let Some(users) = self.users.take() else { return Ok(()) };
        self.progress.set(Progress { is_mapped: true, ..self.progress.get() });
        users.finish()
    }

    /// Both at once: each is the start of a set-user-id program, and they do not wait for one another.
    fn begin_groups(&self, pid: i32) -> Result<()> {
        let begin = |maps: &IdMaps| write::begin_one(pid, maps, true);
        *self.groups.borrow_mut() = self.maps.as_ref().map(begin).transpose()?;
        Ok(())
    }

    /// Hears until enough is done. The holder's pidfd, if it came.
    fn hear(&self, is_enough: impl Fn(Progress) -> bool) -> Result<Option<OwnedFd>> {
        let mut holder = None;
        loop {
            let progress = self.progress.get();
            if is_enough(progress) {
                return Ok(holder);
            }
            let (bytes, mut fds) = fd::receive_whole(self.socket.as_fd(), MAX_MESSAGE)?;
            ensure!(!bytes.is_empty(), "namespaces: whoever makes them has ended");
            match serde_json::from_slice(&bytes)? {
                Said::Held(pid) => {
                    holder = fds.pop();
                    self.progress.set(Progress { is_held: true, ..progress });
                    self.begin_groups(pid)?;
                }
                Said::Made => self.progress.set(Progress { is_made: true, ..progress }),
                Said::Opened => *self.opened.borrow_mut() = fds,
                Said::Closed => self.progress.set(Progress { is_closed: true, ..progress }),
                Said::Mapped => self.progress.set(Progress { is_mapped: true, ..progress }),
                Said::Refused { call, errno } => {
                    let errno = Errno::from_raw_os_error(errno);
                    return Err(CallError { call, errno }).maybe_hint(|| write::clone_refused(errno));
                }
                Said::Helper(name, said, hints) => {
                    let failed: Result<()> = Err(HelperFailed::new(name, said).into());
                    return hints.into_iter().rev().fold(failed, |error, hint| error.hint(|| hint)).map(|()| None);
                }
                Said::Failed(failure) => return Err(failure.into()),
            }
        }
    }

    /// The ids of the user namespace around, if that was made for this one: others may be made in it.
    pub fn around(&self) -> Option<&IdMaps> {
        self.around.as_ref()
    }

    /// They are entered, or not wanted any more: whoever holds them may end.
    pub fn let_go(&self) {
        // It has ended already.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
    }

    /// Waits until they are gone, after that. One that hangs is killed: somebody may have stopped it.
    pub fn wait(&self) {
        let pidfd = self.child.pidfd.as_fd();
        if !matches!(process::ends_within(pidfd, PATIENCE), Ok(true)) {
            let _ = process::send_signal(pidfd, libc::SIGKILL);
            let _ = process::ends_within(pidfd, PATIENCE);
        }
        // One that was not waited for is counted still; of a container in the background that is up to another process, a moment later.
        let _ = process::wait(pidfd);
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        // As long as they may name the holder by its number that must be nobody else's.
        drop((self.users.take(), self.groups.take()));
        self.let_go();
        let pidfd = self.child.pidfd.as_fd();
        // It may wait for a helper that hangs.
        let has_ended = matches!(process::ends_within(pidfd, PATIENCE), Ok(true));
        if !has_ended {
            let _ = process::send_signal(pidfd, libc::SIGKILL);
        }
        // In a supervisor of its own it is another process's child.
        let is_collected = process::wait(pidfd).is_ok();
        // Otherwise whoever has it may be there still.
        if let Some(room) = self.room.take_if(|_| has_ended || is_collected) {
            room.give_back();
        }
    }
}
