//! The handshake between the process that makes a container and the container's first process.
//!
//! ```text
//! outside (create.rs)                        inside (init.rs)
//! clone ────────────────────────────────────▶ opens what is to be bound, then waits
//! newuidmap, newgidmap         ── Mapped ───▶ becomes root of the user namespace; mounts
//! writes the container down    ── Start ────▶ kept until the payload may start; not if that is a step of its own
//! starts fuse-overlayfs       ◀── Namespace, Serve ── only for an overlay that the kernel refuses; waits
//!                              ── Serving ──▶ looks whether it answers
//! has it connected            ◀── Neighbour ─ on networks that others share: the network namespace
//!                              ── Attached ─▶ kept until the payload may start
//! createRuntime hooks         ◀── Mounted ──  only if there are such hooks; waits
//!                              ── Hooked ───▶ pivots, seals, gives up privileges
//! keeps the terminal          ◀── Terminal ─  only with a terminal; carries its descriptor
//! writes state.json           ◀── Ready ────  only if the start is a step of its own
//!                              ── Recorded ─▶ outlives its maker
//! may end                     ◀── Released ─  waits for the FIFO
//! goes on                     ◀── (closed) ─  execve happened: the socket is closed on exec
//!                             ◀── Failed ───  instead of any of the above: chain, hints, exit status
//! ```
//!
//! With a joiner in between (joiner.rs), as where namespaces were prepared, its messages come first:
//! ```text
//! maps the joiner's namespace ◀── Map ──────  the joiner has made its user namespace; waits
//!                              ── Mapped ───▶ makes the time namespace, clones the first process
//! knows the first process     ◀── Made ─────  carries its pidfd and number; the joiner ends
//! keeps the network's ends    ◀── Connected ─ of an interface that the first process has made
//!                              ── Mapped ───▶ where the joiner has written the first process's ids itself
//! ```
//! An end that is closed without a message means that the other side died: inside, everybody ends then.

use super::overlay::Refused;
use crate::error::{Advise, Failure};
use crate::net::link::Tap;
use crate::sys::{self, fd};
use anyhow::{Result, bail};
use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// Enough for an error chain with paths of 4096 bytes and hints.
const MAX_MESSAGE: usize = 16 * 1024;

/// What is said.
#[derive(Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Message {
    /// Please map the ids of my user namespace.
    Map,
    /// The ids are mapped.
    Mapped,
    /// Nothing outside stands in the way of the payload any more.
    Start,
    /// I made the first process; its number in the outer pid namespace. Its pidfd comes along.
    Made(i32),
    /// All is mounted, the old root is still there.
    Mounted,
    /// The createRuntime hooks have run.
    Hooked,
    /// The network's ends come along.
    Connected(Tap),
    /// My network namespace comes along, to be connected.
    Neighbour,
    /// It is connected.
    Attached,
    /// My namespaces of these kinds come along: nobody may look at me when I am the reaper.
    Namespaces(Vec<u32>),
    /// The master side of the terminal comes along.
    Terminal,
    /// Nothing is left but to wait for the start.
    Ready,
    /// The container is written down.
    Recorded,
    /// My end is no longer bound to yours.
    Released,
    /// My user namespace comes along, for whoever serves an overlay.
    Namespace,
    /// A connection for the Spec's overlay on this target comes along.
    Serve(PathBuf),
    /// Somebody serves it, or has died of it.
    Serving,
    /// The kernel refuses the namespaces.
    Refused {
        /// The call.
        call: String,
        /// Why.
        errno: i32,
    },
    /// What went wrong.
    Failed(Failure),
    /// What went wrong with an overlay that may be had in another way.
    NoOverlay(Failure),
}

/// One end of the connection.
#[derive(Debug)]
pub struct Sync {
    socket: OwnedFd,
    /// [`Message::Start`] came while something else was waited for.
    may_start: Cell<bool>,
    /// Likewise [`Message::Attached`].
    attached: Cell<bool>,
}

/// The two ends: outside and inside.
pub fn pair() -> sys::Result<(Sync, Sync)> {
    let (outside, inside) = fd::seqpacket_pair()?;
    let end = |socket| Sync { socket, may_start: Cell::new(false), attached: Cell::new(false) };
    Ok((end(outside), end(inside)))
}

impl Sync {
    /// Says something, with a descriptor if there is one.
    pub fn send(&self, message: &Message, fd: Option<BorrowedFd<'_>>) -> Result<()> {
        self.send_with(message, fd.as_slice())
    }

    /// Says something, with descriptors.
    ///
    /// What is short needs no heap: the joiner may have that of another process, whom it would stop for ever if it were killed with
    /// its lock.
    pub fn send_with(&self, message: &Message, fds: &[BorrowedFd<'_>]) -> Result<()> {
        let mut short = [0; 256];
        let mut rest = &mut short[..];
        if serde_json::to_writer(&mut rest, message).is_ok() {
            let left = rest.len();
            return Ok(fd::send(self.socket.as_fd(), &short[..short.len() - left], fds)?);
        }
        let mut bytes = serde_json::to_vec(message)?;
        if bytes.len() > MAX_MESSAGE {
            // Room for the name of the message.
            let within = |failure: &Failure| serde_json::from_slice(&failure.within(MAX_MESSAGE - 64));
            bytes = match message {
                Message::Failed(failure) => serde_json::to_vec(&Message::Failed(within(failure)?))?,
                Message::NoOverlay(failure) => serde_json::to_vec(&Message::NoOverlay(within(failure)?))?,
                _ => bytes,
            };
        }
        Ok(fd::send(self.socket.as_fd(), &bytes, fds)?)
    }

    /// The next message and its descriptors; `None` if the other end is closed. A failure that comes in becomes an
    /// error here, as if it had happened here.
    pub fn receive(&self) -> Result<Option<(Message, Vec<OwnedFd>)>> {
        let (bytes, fds) = fd::receive_whole(self.socket.as_fd(), MAX_MESSAGE)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        match serde_json::from_slice(&bytes)? {
            Message::Failed(failure) => Err(failure.into()),
            Message::NoOverlay(failure) => {
                let refused: Result<()> = Err(Refused { said: failure.message }.into());
                let hinted = failure.hints.into_iter().rev().fold(refused, |error, hint| error.hint(|| hint));
                hinted.map(|()| None)
            }
            message => Ok(Some((message, fds))),
        }
    }

    /// Inside: waits for the one message that can come now, beside those that may come at any time. A closed end means that rbox died:
    /// so does this process.
    pub fn expect(&self, wanted: &Message) -> Result<()> {
        let came_before = match wanted {
            Message::Start => self.may_start.get(),
            Message::Attached => self.attached.get(),
            _ => false,
        };
        if came_before {
            return Ok(());
        }
        loop {
            match self.receive()? {
                Some((message, _)) if message == *wanted => return Ok(()),
                Some((Message::Start, _)) => self.may_start.set(true),
                Some((Message::Attached, _)) => self.attached.set(true),
                Some((message, _)) => bail!("handshake: {message:?} instead of {wanted:?}"),
                None => sys::process::exit_now(crate::error::FAILED),
            }
        }
    }

    /// Inside: ends this process if the other end is closed. Called after every `die_with_parent`, which does not
    /// notice a parent that died before.
    pub fn end_if_alone(&self) {
        if fd::hung_up(&self.socket) {
            sys::process::exit_now(crate::error::FAILED);
        }
    }
}

impl AsFd for Sync {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
