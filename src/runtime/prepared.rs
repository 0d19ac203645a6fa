//! Namespaces that are made while their container is still being put together: its image looked up, its directories made, its
//! Spec written. A user namespace whose ids two set-user-id programs have to write, and a network namespace, cost as much as
//! all of that, and there is another processor.
//!
//! ```text
//! maker                        mapper (only if helpers write the ids)      holder
//! clone ──────────────────────▶ clone ─────────────────────────────────────▶ in the user namespace: makes the others
//! puts the container together  ◀── Held ────  newuidmap                      ◀── Made ───
//! newgidmap; joiner.rs enters  ◀── Mapped ──  keeps the holder               waits
//! closes ─────────────────────▶ ends                                         ends
//! ```

use crate::error::{Advise, FAILED, Failure};
use crate::net::link::{Link, Opened};
use crate::sys::clone::{self, CLONE_NEWUSER, Child, Side};
use crate::sys::{Alone, CallError, fd, ids, process, signal};
use crate::userns::idmap::IdMaps;
use crate::userns::write::{self, HelperFailed, Writer, Writing};
use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::Shutdown;
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// As long as its makers may take to end when nobody needs them any more.
const PATIENCE: Duration = Duration::from_millis(500);
/// Longer than any message.
const MAX_MESSAGE: usize = 32 * 1024;

#[derive(Debug, Serialize, Deserialize)]
enum Said {
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

/// Where the user namespace is to be, if helpers would have to write its ids.
#[derive(Debug)]
pub enum Around {
    /// In this process's own: they write them.
    Own,
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
    by_mapper: bool,
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
        let of_child = if writer == Writer::Itself { CLONE_NEWUSER } else { 0 };
        match clone::clone(alone, of_child).map_err(|error| (error.errno, error)) {
            Ok(Side::Parent(child)) => {
                process::send_elsewhere(child.pid);
                let in_own = writer == Writer::Helpers && matches!(around, Around::Own);
                let maps = in_own.then(|| maps.clone());
                let around = if let Around::New(ids) = around { Some(ids) } else { None };
                let (groups, opened, progress) = Default::default();
                let by_mapper = writer != Writer::Itself;
                Ok(Prepared { socket: ours, child, by_mapper, flags, maps, around, groups, opened, progress })
            }
            Ok(Side::Child) => {
                drop(ours);
                let own = Own { alone, socket: theirs, flags, link };
                match writer {
                    Writer::Itself => own.hold(maps),
                    Writer::Helpers | Writer::Maker => own.map(maps, writer, around),
                }
            }
            Err((errno, error)) => Err(error).maybe_hint(|| write::clone_refused(errno)),
        }
    }

    /// What can be entered, waited for. It may have no ids yet.
    pub fn held(&self) -> Result<Held> {
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
        self.hear(|progress| progress.is_mapped)?;
        self.groups.take().map_or(Ok(()), Writing::finish)
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
                    // Both at once: each is the start of a set-user-id program, and they do not wait for one another.
                    let begin = |maps: &IdMaps| write::begin_one(pid, maps, true);
                    *self.groups.borrow_mut() = self.maps.as_ref().map(begin).transpose()?;
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

    /// Waits until they are gone, after that.
    pub fn wait(&self) {
        // One that hangs is killed later. One that was not waited for is counted still; of a container in the background that is
        // up to another process, a moment later.
        if matches!(process::ends_within(self.child.pidfd.as_fd(), PATIENCE), Ok(true)) {
            let _ = process::wait(self.child.pidfd.as_fd());
        }
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        self.let_go();
        let pidfd = self.child.pidfd.as_fd();
        // It may wait for a helper that hangs.
        if !matches!(process::ends_within(pidfd, PATIENCE), Ok(true)) {
            let _ = process::send_signal(pidfd, libc::SIGKILL);
        }
        // In a supervisor of its own it is another process's child.
        let _ = process::wait(pidfd);
    }
}

/// The side of those who make them.
struct Own<'a> {
    alone: &'a Alone,
    socket: OwnedFd,
    /// The namespaces beside that of users.
    flags: u32,
    /// The interface that is wanted.
    link: Option<&'a Link>,
}

impl Own<'_> {
    /// Runs in: the host's namespaces, as a fresh copy of the maker.
    fn map(self, maps: &IdMaps, writer: Writer, around: Around) -> ! {
        let mut below = None;
        let mapped = || -> Result<()> {
            self.begin()?;
            let ids = match self.enter(around) {
                Ok(ids) => ids,
                Err(error) => return self.helper_failed(error),
            };
            let holder = match clone::clone(self.alone, CLONE_NEWUSER) {
                Ok(Side::Parent(child)) => below.insert(child),
                Ok(Side::Child) => self.hold_below(),
                Err(error) => return self.refused(error),
            };
            self.say(&Said::Held(holder.pid), &[holder.pidfd.as_fd()])?;
            let written = match (writer, ids) {
                // The maker writes the others meanwhile.
                (Writer::Helpers, None) => write::begin_one(holder.pid, maps, false).and_then(Writing::finish),
                (_, None) => write::for_child(holder.pid, maps, writer),
                (_, Some(ids)) => maps.within(&ids).and_then(|maps| write::for_child(holder.pid, &maps, Writer::Maker)),
            };
            written.map_or_else(|error| self.helper_failed(error), |()| self.say(&Said::Mapped, &[]))
        };
        let mapped = mapped();
        if let (Ok(()), Some(holder)) = (&mapped, &below) {
            self.watch(holder);
        }
        self.wait(mapped);
        // Where rbox is in a container whose first process collects nobody, nothing is left for it.
        below.iter().for_each(collect);
        process::exit_now(FAILED)
    }

    /// Enters the user namespace around, if there is to be one: its ids.
    fn enter(&self, around: Around) -> Result<Option<IdMaps>> {
        let name = Path::new("user namespace around");
        match around {
            Around::Own => Ok(None),
            Around::There(namespace, ids) => {
                clone::setns(self.alone, &namespace, CLONE_NEWUSER, name)?;
                Ok(Some(ids))
            }
            Around::New(ids) => {
                let first = match clone::clone(self.alone, CLONE_NEWUSER)? {
                    Side::Parent(child) => child,
                    Side::Child => self.end(self.begin()),
                };
                let written = write::for_child(first.pid, &ids, Writer::Helpers);
                let entered = written.and_then(|()| Ok(clone::setns(self.alone, &first.pidfd, CLONE_NEWUSER, name)?));
                // It was there for the helpers.
                collect(&first);
                entered.map(|()| Some(ids))
            }
        }
    }

    fn helper_failed(&self, error: anyhow::Error) -> Result<()> {
        let hints = Failure::from(&error).hints;
        match error.chain().find_map(|cause| cause.downcast_ref::<HelperFailed>()) {
            Some(helper) => self.say(&Said::Helper(helper.name().to_owned(), helper.said().to_owned(), hints), &[]),
            None => Err(error),
        }
    }

    fn hold_below(&self) -> ! {
        let held = self.begin().and_then(|()| self.make());
        self.end(held)
    }

    /// Runs in: the new user namespace, whose ids it writes itself.
    fn hold(self, maps: &IdMaps) -> ! {
        let made = || -> Result<()> {
            self.begin()?;
            write::own(maps)?;
            self.say(&Said::Mapped, &[])?;
            self.make()
        };
        self.end(made())
    }

    /// It ends with its maker, and what is typed to end that one is not for this process.
    fn begin(&self) -> Result<()> {
        signal::block_all()?;
        process::die_with_parent()?;
        ensure!(!fd::hung_up(&self.socket), "namespaces: whoever wanted them has ended");
        Ok(())
    }

    fn make(&self) -> Result<()> {
        if let Err(error) = clone::unshare(self.alone, self.flags) {
            return self.refused(error);
        }
        // Before anybody else is in this mount namespace: with the container's root a path leads to what an image has.
        let opened = self.link.map(Opened::open).transpose().context("network")?;
        self.say(&Said::Made, &[])?;
        let Some(opened) = opened else { return Ok(()) };
        self.say(&Said::Opened, &opened.descriptors())?;
        drop(opened);
        self.say(&Said::Closed, &[])
    }

    fn refused(&self, error: CallError) -> Result<()> {
        self.say(&Said::Refused { call: error.call, errno: error.errno.raw_os_error() }, &[])
    }

    fn say(&self, said: &Said, fds: &[BorrowedFd<'_>]) -> Result<()> {
        Ok(fd::send(self.socket.as_fd(), &serde_json::to_vec(said)?, fds)?)
    }

    /// Waits until nobody needs the holder any more. Should that one be killed, its maker would wait for ever.
    fn watch(&self, holder: &Child) {
        let mut fds = [PollFd::new(&self.socket, PollFlags::RDHUP), PollFd::new(&holder.pidfd, PollFlags::IN)];
        let polled = rustix::io::retry_on_intr(|| poll(&mut fds, None));
        if polled.is_ok() && fds[0].revents().is_empty() {
            let message = "namespaces: whoever holds them has ended".to_owned();
            let _ = self.say(&Said::Failed(Failure { message, ..Failure::default() }), &[]);
        }
    }

    /// Waits until nobody needs it any more, then ends.
    fn end(&self, done: Result<()>) -> ! {
        self.wait(done);
        process::exit_now(FAILED)
    }

    fn wait(&self, done: Result<()>) {
        if let Err(error) = done {
            let failure = Failure::from(&error);
            let short = serde_json::from_slice(&failure.within(MAX_MESSAGE / 2)).unwrap_or(failure);
            // If nobody listens any more there is nobody to tell.
            let _ = self.say(&Said::Failed(short), &[]);
        }
        while let Ok((bytes, _)) = fd::receive_whole(self.socket.as_fd(), MAX_MESSAGE) {
            if bytes.is_empty() {
                break;
            }
        }
    }
}

/// Ends a child.
fn collect(child: &Child) {
    // It may have ended by itself.
    let _ = process::send_signal(child.pidfd.as_fd(), libc::SIGKILL);
    let _ = process::wait(child.pidfd.as_fd());
}
