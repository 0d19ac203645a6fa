//! The process that keeps the networks which containers share: as long as one is connected, and no longer.
//!
//! Whoever connects gets the user namespace around; whoever then sends a network namespace has it connected, until the
//! connection ends (`desk.rs`). The process inside (`inside.rs`) has the work done; a service carries packets and forwards
//! names, as for a container.
//!
//! Runs in: the host's namespaces, as a program of its own (`rbox net-networks TASK`).

use super::desk::{Desk, accept};
use super::message::{self, Answer, Order, Reply};
use super::{client, inside};
use crate::cgroup::scope;
use crate::error::{Advise, FAILED};
use crate::net::carrier::First;
use crate::net::dns::names::Names;
use crate::net::link::Ends;
use crate::net::service::{Carried, Service, Task};
use crate::net::uplink::Uplink;
use crate::sys::clone::{self, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, Child, Side};
use crate::sys::signal::Blocked;
use crate::sys::{Alone, Named, fd, ids, process};
use crate::userns::idmap::IdMaps;
use crate::userns::write::{self, HelperFailed};
use anyhow::{Context, Result, bail};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

/// The first argument of a keeper. Not a verb of the command line: nobody types it.
pub const ROLE: &str = "net-networks";

/// What one is started with.
#[derive(Debug, Serialize, Deserialize)]
pub struct Start {
    /// Where its socket is.
    pub dir: PathBuf,
    /// Ids for the user namespace around, the first that can be had.
    pub maps: Vec<IdMaps>,
    /// The way out of all networks.
    pub uplink: Uplink,
    /// Where names are asked for.
    pub resolvers: Vec<IpAddr>,
}

/// What such a process does: standard input is the socket where it is asked. It is nobody's child, and whoever has started it
/// may go on at once.
pub fn main(start: &str) -> Result<u8> {
    rustix::thread::set_name(c"net-networks").named(|| "prctl(NAME)".to_owned())?;
    // It outlives whoever has started it, and so would what that one has open.
    fd::close_range(3, u32::MAX)?;
    let start: Start = serde_json::from_str(start)?;
    let alone = Alone::check()?;
    if let Side::Parent(_) = clone::clone(&alone, 0)? {
        return Ok(0);
    }
    let done = keep(alone, &start);
    process::exit_now(if done.is_ok() { 0 } else { FAILED })
}

fn keep(alone: Alone, start: &Start) -> Result<()> {
    // What a terminal sends is for containers, and only their end ends it.
    process::new_session()?;
    let _signals = Blocked::all()?;
    process::raise_open_files()?;
    rustix::process::chdir("/").named(|| "chdir(/)".to_owned())?;
    leave_scope();
    let listener = fd::inherited(0).context("no socket")?;
    fd::place(fd::null()?.as_fd(), 0)?;
    match begin(alone, start) {
        // Those who wait when it ends begin anew.
        Ok(begun) => serve(begun, &listener, start),
        Err(error) => refuse(&listener, start, &error),
    }
}

/// It outlives the container that it was started for, and would keep that one's scope of systemd: it gets one of its own.
fn leave_scope() {
    let Some(manager) = scope::manager() else { return };
    let name = format!("rbox-networks-{}.scope", process::pid());
    // Where it does not, it is where it was.
    let _ = scope::ask(&manager, &name, None, &[]).and_then(scope::Asked::wait);
}

/// Nobody can be served: whoever waits is told.
fn refuse(listener: &OwnedFd, start: &Start, error: &anyhow::Error) -> Result<()> {
    let _lock = client::lock(&start.dir)?;
    let failure = message::failure(error);
    while let Some(socket) = accept(listener)? {
        // Who has gone need not know.
        let _ = message::send(&socket, &Reply::Failed(failure.clone()), &[]);
    }
    client::remove_socket(&start.dir)
}

/// The process inside, and the way out.
struct Begun {
    inside: Inside,
    service: Service,
    told: OwnedFd,
    names: Arc<Names>,
}

fn begin(alone: Alone, start: &Start) -> Result<Begun> {
    let mut maps = start.maps.iter();
    let mut next = maps.next().context("no ids")?;
    let (inside, ends) = loop {
        match Inside::start(&alone, next, start) {
            // With fewer ids it may work.
            Err(error) if error.chain().any(|cause| cause.is::<HelperFailed>()) => {
                next = maps.next().ok_or(error)?;
            }
            made => break made?,
        }
    };
    let (told, tell) = fd::seqpacket_pair()?;
    let tell = move |error: anyhow::Error| {
        // If nobody listens any more all is over.
        let _ = message::send(&tell, &message::failure(&error), &[]);
    };
    let names = Arc::new(Names::default());
    let carried =
        Some(Carried { ends, uplink: start.uplink.clone(), names: Some(names.clone()), first: First::Nothing });
    let service = Task { carried, doors: None, pid: inside.child.pid }.start(alone, tell)?;
    Ok(Begun { inside, service, told, names })
}

fn serve(begun: Begun, listener: &OwnedFd, start: &Start) -> Result<()> {
    let Begun { inside, service, told, names } = begun;
    let mut desk = Desk::new(inside, names);
    let lock = desk.serve(listener, &told, &start.dir);
    // Everything that was begun ends before anybody can begin anew, and before those who wait for it hear of the end.
    service.stop();
    let _waiting = desk.waiting();
    drop(desk);
    let _lock = lock?;
    client::remove_socket(&start.dir)
}

/// The process inside. Dropped, it is killed, and with it all of its pid namespace.
pub struct Inside {
    child: Child,
    /// Where it is asked, and answers.
    pub socket: OwnedFd,
    /// Its user namespace.
    pub userns: OwnedFd,
    /// Its ids.
    pub ids: IdMaps,
}

impl Inside {
    fn start(alone: &Alone, maps: &IdMaps, start: &Start) -> Result<(Inside, Ends)> {
        let writer = write::writer(maps, ids::uid(), ids::gid());
        let (ours, theirs) = fd::seqpacket_pair()?;
        let flags = CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID;
        let child = match clone::clone(alone, flags).map_err(|error| (error.errno, error)) {
            Ok(Side::Child) => {
                drop(ours);
                let Err(error) = inside::run(theirs, maps, writer, &start.uplink, &start.resolvers);
                let _ = message::send(rustix::stdio::stdin(), &Answer::Failed(message::failure(&error)), &[]);
                process::exit_now(FAILED);
            }
            Ok(Side::Parent(child)) => child,
            Err((errno, error)) => {
                return Err(error).maybe_hint(|| write::clone_refused(errno));
            }
        };
        drop(theirs);
        let path = format!("/proc/{}/ns/user", child.pid);
        let userns =
            rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).named(|| format!("open({path})"));
        let mut inside = Inside { child, socket: ours, userns: userns?, ids: maps.clone() };
        write::for_child(inside.child.pid, maps, writer)?;
        fd::send(inside.socket.as_fd(), b"mapped", &[])?;
        match inside.answer()? {
            (Answer::Ready(tap), ends) => Ok((inside, Ends::received(tap, ends)?)),
            (answer, _) => bail!("networks: {answer:?}"),
        }
    }

    fn answer(&mut self) -> Result<(Answer, Vec<OwnedFd>)> {
        match message::receive(&self.socket)?.context("who connects containers has ended")? {
            (Answer::Failed(failure), _) => Err(failure.into()),
            answer => Ok(answer),
        }
    }

    /// Has it do something: the hardware address, if there is a new one.
    pub fn order(&mut self, order: &Order, namespace: &OwnedFd) -> Result<Option<String>> {
        message::send(&self.socket, order, &[namespace.as_fd()])?;
        match self.answer()?.0 {
            Answer::Done(mac) => Ok(mac),
            answer => bail!("networks: {answer:?}"),
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        // It may have ended; waiting collects it in any case, when all of its pid namespace have ended.
        let _ = process::send_signal(self.child.pidfd.as_fd(), libc::SIGKILL);
        let _ = process::wait(self.child.pidfd.as_fd());
    }
}
