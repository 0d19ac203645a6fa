//! Where others ask a container's supervisor for something: a socket in the container's directory.
//!
//! One message a packet (SEQPACKET), JSON. Who asks is the same user, or root: the directory is nobody else's.

use crate::engine::record::CONTROL;
use crate::error::Failure;
use crate::runtime::exec::{self, Program, Task};
use crate::sys::clone::Child;
use crate::sys::{Named, fd, named_socket, process};
use anyhow::{Context, Result, bail};
use oci_spec::runtime::{Process, Spec};
use rustix::event::{PollFd, PollFlags};
use rustix::net::SocketFlags;
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Longer than any message.
const MAX_MESSAGE: usize = 512 * 1024;
/// How many may wait to be heard.
const BACKLOG: i32 = 128;
/// As many ask at once; others wait.
const MOST: usize = 4096;

/// To the supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Run one more process; its standard streams come along, if it is to have no terminal.
    Exec {
        /// What, as whom.
        process: Box<Process>,
        /// With a terminal.
        tty: bool,
        /// Nobody waits for its end.
        detach: bool,
    },
    /// Send that process a signal.
    Signal(i32),
}

/// From it.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// It runs; the master side of its terminal comes along, if it has one.
    Started,
    /// It does not.
    Failed(Failure),
    /// It has ended: its status, or 128 and the number of the signal.
    Ended(u8),
}

/// Sends a message.
pub fn send(socket: &OwnedFd, message: &impl Serialize, fds: &[&OwnedFd]) -> Result<()> {
    let fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
    Ok(fd::send(socket.as_fd(), &serde_json::to_vec(message)?, &fds)?)
}

/// Receives one; `None` if the other end is closed.
pub fn receive<T: serde::de::DeserializeOwned>(socket: &OwnedFd) -> Result<Option<(T, Vec<OwnedFd>)>> {
    let mut buffer = vec![0; MAX_MESSAGE];
    let (length, fds) = fd::receive(socket.as_fd(), &mut buffer)?;
    if length == 0 {
        return Ok(None);
    }
    Ok(Some((serde_json::from_slice(&buffer[..length]).context("a message")?, fds)))
}

/// Connects to the supervisor of a container; `None` if nobody is there.
pub fn connect(dir: &Path) -> Result<Option<OwnedFd>> {
    named_socket::connect(dir, CONTROL)?.map(|socket| with_room(&socket).map(|()| socket)).transpose()
}

/// For long arguments and environments.
fn with_room(socket: &OwnedFd) -> Result<()> {
    Ok(rustix::net::sockopt::set_socket_send_buffer_size(socket, MAX_MESSAGE).named(|| "setsockopt".to_owned())?)
}

/// The supervisor's end.
pub struct Control {
    listener: OwnedFd,
    asking: Vec<Asking>,
    /// Processes that nobody waits for.
    forgotten: Vec<Child>,
    program: Program,
}

struct Asking {
    socket: OwnedFd,
    child: Option<Child>,
}

impl Control {
    /// Makes the socket.
    pub fn open(dir: &Path) -> Result<Control> {
        let listener = named_socket::listen(dir, CONTROL, BACKLOG)?;
        Ok(Control { listener, asking: Vec::new(), forgotten: Vec::new(), program: Program::default() })
    }

    /// What to wait for, in the order that [`Control::step`] takes.
    pub fn wanted(&self) -> Vec<PollFd<'_>> {
        let mut all = vec![PollFd::new(&self.listener, PollFlags::IN)];
        for asking in &self.asking {
            all.push(PollFd::new(&asking.socket, PollFlags::IN));
        }
        let children = self.asking.iter().filter_map(|asking| asking.child.as_ref()).chain(&self.forgotten);
        all.extend(children.map(|child| PollFd::new(&child.pidfd, PollFlags::IN)));
        all
    }

    /// Hears whoever has something to say, and tells whose process has ended. `init`: the container's first process.
    pub fn step(&mut self, spec: &Spec, init: &OwnedFd) {
        while self.asking.len() < MOST {
            let flags = SocketFlags::CLOEXEC;
            match rustix::net::accept_with(&self.listener, flags) {
                Ok(socket) => self.asking.push(Asking { socket, child: None }),
                Err(_) => break,
            }
        }
        let Control { asking, program, forgotten, .. } = self;
        asking.retain_mut(|asking| {
            while is_ready(&asking.socket) {
                match asking.hear(spec, init, program, forgotten) {
                    Ok(true) => {}
                    // Whoever has gone leaves its process running, as with docker.
                    Ok(false) | Err(_) => {
                        forgotten.extend(asking.child.take());
                        return false;
                    }
                }
            }
            let Some(child) = asking.child.take_if(|child| is_ready(&child.pidfd)) else { return true };
            let status = process::wait(child.pidfd.as_fd()).unwrap_or(crate::error::FAILED);
            let _ = send(&asking.socket, &Reply::Ended(status), &[]);
            false
        });
        forgotten.retain(|child| {
            let has_ended = is_ready(&child.pidfd);
            if has_ended {
                let _ = process::wait(child.pidfd.as_fd());
            }
            !has_ended
        });
    }
}

impl Asking {
    /// False if there is nothing more to hear.
    fn hear(&mut self, spec: &Spec, init: &OwnedFd, program: &mut Program, forgotten: &mut Vec<Child>) -> Result<bool> {
        let Some((request, streams)) = receive::<Request>(&self.socket)? else { return Ok(false) };
        match request {
            Request::Signal(signal) => {
                if let Some(child) = &self.child {
                    // It has ended meanwhile.
                    let _ = process::send_signal(child.pidfd.as_fd(), signal);
                }
                Ok(true)
            }
            Request::Exec { .. } if self.child.is_some() => bail!("a second process"),
            Request::Exec { process, tty, detach } => {
                let made =
                    Task::new(spec, *process, tty).and_then(|task| exec::start(&task, init.as_fd(), &streams, program));
                match made {
                    Ok(made) => {
                        let terminal: Vec<&OwnedFd> = made.terminal.iter().collect();
                        send(&self.socket, &Reply::Started, &terminal)?;
                        if detach {
                            forgotten.push(made.child);
                            return Ok(false);
                        }
                        self.child = Some(made.child);
                        Ok(true)
                    }
                    Err(error) => {
                        let failure = Failure::from(&error);
                        let failure = serde_json::from_slice(&failure.within(64 * 1024)).unwrap_or(failure);
                        send(&self.socket, &Reply::Failed(failure), &[])?;
                        Ok(false)
                    }
                }
            }
        }
    }
}

fn is_ready(fd: &OwnedFd) -> bool {
    use rustix::event::{Timespec, poll};
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&now)).is_ok_and(|ready| ready > 0)
}
