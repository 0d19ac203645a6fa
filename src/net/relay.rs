//! The process that brings what comes to published ports into the container, with the client's own address.
//!
//! For each client it makes a socket that has the client's address and is connected to the container's. Answers to that
//! address would leave by the container's route; rules lead them back to this process.
//!
//! Runs in: the container's user and network namespaces, all others the host's; a program of its own.

mod clients;
mod datagrams;
mod rules;
mod streams;

use super::child::Child;
use super::port::{Door, Protocol, Published};
use crate::sys::clone::{CLONE_NEWNET, CLONE_NEWUSER, setns};
use crate::sys::watch::Watch;
use crate::sys::{Alone, Named, fd, process};
use anyhow::{Context, Result};
use clients::Inside;
use rules::Rules;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::timeout;

/// The first argument of a relay. Not a verb of the command line: nobody types it.
pub const ROLE: &str = "net-relay";

/// How long clients have to take what a container has said that has ended.
const PATIENCE: Duration = Duration::from_secs(3);

/// Longer than any message of this protocol.
const MAX_MESSAGE: usize = 4096;

/// The container's addresses, and those that clients have whose own mean something else there.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Places {
    /// The container's IPv4 address, and another of its network.
    pub v4: Option<(Ipv4Addr, Ipv4Addr)>,
    /// The same of IPv6.
    pub v6: Option<(Ipv6Addr, Ipv6Addr)>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Message {
    /// A door, whose socket comes along.
    Door(Published),
    /// That was all.
    Begin,
}

/// Starts one for these doors.
pub fn start(doors: &[Door], places: &Places, pid: i32) -> Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0(ROLE).args([ROLE, &pid.to_string(), &serde_json::to_string(places)?]);
    let relay = Child::start(command, "relay")?;
    for door in doors {
        let message = serde_json::to_vec(&Message::Door(door.published))?;
        fd::send(relay.lifeline().as_fd(), &message, &[door.socket.as_fd()])?;
    }
    fd::send(relay.lifeline().as_fd(), &serde_json::to_vec(&Message::Begin)?, &[])?;
    Ok(relay)
}

/// What such a process does, until the other end of its standard input is closed.
pub fn main(pid: &str, places: &str) -> Result<u8> {
    rustix::thread::set_name(c"net-relay").named(|| "prctl(NAME)".to_owned())?;
    // What a terminal sends is for the container.
    process::new_session()?;
    let inside = Inside::from(serde_json::from_str::<Places>(places)?);
    process::raise_open_files()?;
    let doors = receive()?;
    // It has the host's files before it: nobody in the container may look through its /proc directory.
    process::set_dumpable(false)?;
    enter(pid)?;
    let rules = Rc::new(Rules::set_up(&inside)?);
    let looped = tokio::runtime::Builder::new_current_thread().enable_all().build().context("event loop")?;
    looped.block_on(LocalSet::new().run_until(serve(doors, inside, rules)))?;
    Ok(0)
}

/// When connections are to come to their end, and who has not yet.
#[derive(Debug, Clone)]
struct End {
    comes: watch::Receiver<()>,
    _still_there: mpsc::Sender<Infallible>,
}

impl End {
    async fn come(&mut self) {
        // Nothing is ever sent.
        let _ = self.comes.changed().await;
    }
}

/// Until the supervisor ends, or something does not work at all.
async fn serve(doors: Vec<Door>, inside: Inside, rules: Rc<Rules>) -> Result<()> {
    let mut served = JoinSet::new();
    let (before_end, comes) = watch::channel(());
    let (still_there, mut all_gone) = mpsc::channel(1);
    let end = End { comes, _still_there: still_there };
    for Door { published, socket } in doors {
        let (inside, rules, end) = (inside.clone(), rules.clone(), end.clone());
        served.spawn_local(async move {
            match published.protocol {
                Protocol::Tcp => streams::serve(published, socket, inside, end).await,
                Protocol::Udp => datagrams::serve(published, socket, inside, rules).await,
            }
        });
    }
    let lifeline = Watch::readable(rustix::stdio::stdin().try_clone_to_owned().context("standard input")?)?;
    tokio::select! {
        ended = lifeline.next(|socket| Ok(fd::hung_up(socket).then_some(()))) => ended?,
        Some(failed) = served.join_next() => failed??,
    }
    // Nobody is let in any more; whoever was may hear the container out.
    served.shutdown().await;
    drop((before_end, end));
    let _ = timeout(PATIENCE, all_gone.recv()).await;
    Ok(())
}

fn receive() -> Result<Vec<Door>> {
    let mut doors = Vec::new();
    loop {
        let mut buffer = [0; MAX_MESSAGE];
        let (length, mut fds) = fd::receive(rustix::stdio::stdin(), &mut buffer)?;
        if length == 0 {
            // Whoever has started this is gone.
            process::exit_now(crate::error::FAILED);
        }
        match serde_json::from_slice(&buffer[..length])? {
            Message::Door(published) => doors.push(Door { published, socket: fds.pop().context("no socket")? }),
            Message::Begin => return Ok(doors),
        }
    }
}

/// Goes where the container is.
fn enter(pid: &str) -> Result<()> {
    let alone = Alone::check()?;
    let open = |name: &str| {
        let path = PathBuf::from(format!("/proc/{pid}/ns/{name}"));
        let file = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .named(|| format!("open({})", path.display()))?;
        Ok::<_, anyhow::Error>((file, path))
    };
    let (user, net) = (open("user")?, open("net")?);
    setns(&alone, &user.0, CLONE_NEWUSER, &user.1)?;
    setns(&alone, &net.0, CLONE_NEWNET, &net.1)?;
    Ok(())
}
