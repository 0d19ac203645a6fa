//! A process that enters a container for its files: it sends some of them to the caller, or receives some.
//!
//! ```text
//! caller                          visitor
//! spawns ───────────────────────▶
//! Task, the first process ──────▶ joins the user and the mount namespace; looks where the path leads
//!                 ◀── Found ─────
//! Go, one end of a pipe ────────▶ sends or receives
//!                 ◀── Done ──────
//! ```
//!
//! What is asked of the container's files is asked in its own mount namespace, where nothing else is in sight: no path of it,
//! however it changes meanwhile, leads to a file of the host (CVE-2018-15664). Links of /proc, which could, are not followed.
//! Nothing of the container is executed or loaded (CVE-2019-14271): this is rbox's own program, which is executed before it
//! enters and reads no configuration of any library. It is in no other namespace of the container, so that nobody in there
//! sees it; where the container shares the host's processes it is not dumpable, so that nobody reads its descriptors or its
//! memory or opens its program (CVE-2016-9962, CVE-2019-5736). It has the rights that files need and no others.
//!
//! Runs in: a program of its own (`rbox cp-visitor`), the host's namespaces, then the container's.

use crate::error::{FAILED, Failure};
use crate::storage::sandbox;
use crate::storage::transfer::find::{self, AboutSource, AboutTarget, Typed, View};
use crate::storage::transfer::receive::{Place, Rules};
use crate::storage::transfer::send::Form;
use crate::storage::transfer::{self, Report};
use crate::sys::clone::{self, CLONE_NEWUSER};
use crate::sys::{Alone, fd, ids, mount, process};
use anyhow::{Context, Result, bail, ensure};
use rustix::fs::Mode;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The first argument of a visitor. Not a verb of the command line: nobody types it.
pub const ROLE: &str = "cp-visitor";
/// Longer than any message: two paths of the kernel's longest, and an error with more of them.
const MAX_MESSAGE: usize = 64 * 1024;

/// What is to be done.
#[derive(Debug, Serialize, Deserialize)]
pub struct Task {
    /// The namespaces to join, CLONE_NEW*: the container's mount namespace, and its user namespace if it has one.
    pub namespaces: u32,
    /// What to look for.
    pub look: Look,
}

/// What to look for.
#[derive(Debug, Serialize, Deserialize)]
pub enum Look {
    /// What is copied; a symlink is followed or not.
    Source(Typed, bool),
    /// Where something goes; what that is, if it is known.
    Target(Typed, Option<AboutSource>),
}

/// What was found.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum Found {
    /// For [`Look::Source`].
    Source(AboutSource),
    /// For [`Look::Target`].
    Target(AboutTarget),
}

/// What to do with it. One end of a pipe comes along, or another stream.
#[derive(Debug, Serialize, Deserialize)]
pub enum Go {
    /// Send what was found.
    Send(Form),
    /// Receive what is copied.
    Receive(Place, Rules),
}

/// What a visitor says.
#[derive(Debug, Serialize, Deserialize)]
enum Said {
    Found(Found),
    Done(Report),
    /// Nobody wants the rest of what it sends.
    Closed,
    Failed(Failure),
}

/// How a visit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With all done.
    Done(Report),
    /// Nobody wanted the rest of what was sent.
    Closed,
}

/// A visitor, which ends with this value.
#[derive(Debug)]
pub struct Visitor {
    child: Child,
    socket: OwnedFd,
}

impl Drop for Visitor {
    fn drop(&mut self) {
        // It may have ended; waiting collects it in any case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Visitor {
    /// Sends one into the container whose first process is behind `init`; comes back with what it found.
    ///
    /// Runs in: the host's namespaces.
    pub fn start(task: &Task, init: BorrowedFd<'_>) -> Result<(Visitor, Found)> {
        let (socket, theirs) = fd::seqpacket_pair()?;
        let mut command = Command::new("/proc/self/exe");
        command.arg0(ROLE).arg(ROLE).env_clear();
        command.stdin(theirs).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().context("start of a visitor")?;
        // It holds the other end, too.
        drop(command);
        let visitor = Visitor { child, socket };
        let bytes = serde_json::to_vec(task)?;
        ensure!(bytes.len() <= MAX_MESSAGE, "a path is too long");
        fd::send(visitor.socket.as_fd(), &bytes, &[init])?;
        match visitor.hear()? {
            Said::Found(found) => Ok((visitor, found)),
            said => bail!("visitor: {said:?}"),
        }
    }

    /// Has it do its work with this stream, which is its own from now on.
    pub fn go(&self, go: &Go, stream: BorrowedFd<'_>) -> Result<()> {
        Ok(fd::send(self.socket.as_fd(), &serde_json::to_vec(go)?, &[stream])?)
    }

    /// Waits for its end.
    pub fn end(self) -> Result<Ended> {
        match self.hear()? {
            Said::Done(report) => Ok(Ended::Done(report)),
            Said::Closed => Ok(Ended::Closed),
            said => bail!("visitor: {said:?}"),
        }
    }

    fn hear(&self) -> Result<Said> {
        let mut buffer = vec![0; MAX_MESSAGE];
        let (length, _) = fd::receive(self.socket.as_fd(), &mut buffer)?;
        ensure!(length > 0, "the container has ended");
        match serde_json::from_slice(&buffer[..length])? {
            Said::Failed(failure) => Err(failure.into()),
            said => Ok(said),
        }
    }
}

/// What a visitor does.
pub fn main() -> Result<u8> {
    process::set_dumpable(false)?;
    let socket = fd::inherited(0).context("visitor: no socket")?;
    let said = match visit(&socket) {
        Ok(report) => Said::Done(report),
        Err(error) if crate::sys::errno(&error) == Some(Errno::PIPE) => Said::Closed,
        Err(error) => {
            let failure = Failure::from(&error);
            Said::Failed(serde_json::from_slice(&failure.within(MAX_MESSAGE / 2)).unwrap_or(failure))
        }
    };
    // If nobody listens any more there is nobody to tell.
    let _ = say(&socket, &said);
    Ok(if matches!(said, Said::Failed(_)) { FAILED } else { 0 })
}

fn say(socket: &OwnedFd, said: &Said) -> Result<()> {
    Ok(fd::send(socket.as_fd(), &serde_json::to_vec(said)?, &[])?)
}

fn visit(socket: &OwnedFd) -> Result<Report> {
    let (task, init): (Task, OwnedFd) = hear(socket)?.context("visitor: no task")?;
    enter(&task, &init, socket)?;
    end_with(init)?;
    let view = View::Below(mount::place(Path::new("/"))?);
    match task.look {
        Look::Source(typed, follow) => {
            let source = find::source(&view, &typed, follow)?;
            say(socket, &Said::Found(Found::Source(source.about)))?;
            match hear(socket)? {
                Some((Go::Send(form), stream)) => transfer::send(&source, &form, stream),
                _ => nobody_listens(),
            }
        }
        Look::Target(typed, source) => {
            let target = find::target(&view, &typed, source.as_ref())?;
            say(socket, &Said::Found(Found::Target(target.about)))?;
            match hear(socket)? {
                Some((Go::Receive(place, rules), stream)) => transfer::receive(target, &place, rules, stream),
                _ => nobody_listens(),
            }
        }
    }
}

fn nobody_listens() -> ! {
    process::exit_now(FAILED)
}

/// A message and the descriptor that it brings; `None` if the other end is closed.
fn hear<T: serde::de::DeserializeOwned>(socket: &OwnedFd) -> Result<Option<(T, OwnedFd)>> {
    let mut buffer = vec![0; MAX_MESSAGE];
    let (length, fds) = fd::receive(socket.as_fd(), &mut buffer)?;
    if length == 0 {
        return Ok(None);
    }
    let message = serde_json::from_slice(&buffer[..length]).context("visitor: a message")?;
    Ok(Some((message, fds.into_iter().next().context("visitor: a descriptor is missing")?)))
}

/// Into the container, as its root, with the rights that files need.
fn enter(task: &Task, init: &OwnedFd, socket: &OwnedFd) -> Result<()> {
    let alone = Alone::check()?;
    clone::setns(&alone, init, task.namespaces, Path::new("container"))?;
    if task.namespaces & CLONE_NEWUSER != 0 {
        // Where there is one id the kernel denies it (CVE-2014-8989); where root has none, files have no owner to be had.
        let _ = ids::set_groups(&[]);
        let _ = ids::set_gid(0).and_then(|()| ids::set_uid(0));
    }
    // The changes of ids have made it what the system says.
    process::set_dumpable(false)?;
    sandbox::confine()?;
    process::die_with_parent()?;
    if fd::hung_up(socket) {
        nobody_listens();
    }
    // Modes are those of what is copied.
    rustix::process::umask(Mode::empty());
    // A deep tree takes many.
    process::raise_open_files().or_else(|_| Ok(()))
}

/// Ends this process with the container: what it had mounted may be somebody else's to mount then.
fn end_with(init: OwnedFd) -> Result<()> {
    std::thread::Builder::new().spawn(move || {
        // If it cannot be waited for it is gone.
        let _ = process::ends(init.as_fd());
        nobody_listens();
    })?;
    Ok(())
}
