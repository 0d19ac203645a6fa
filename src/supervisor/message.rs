//! What a supervisor and those who are connected to it say to each other.
//!
//! A packet is a message, JSON; or bytes of a stream, behind a byte that says which: no JSON begins like that.

use crate::engine::log::Stream;
use crate::error::Failure;
use crate::sys::{Result as SysResult, fd};
use anyhow::{Context, Result, bail};
use oci_spec::runtime::Process;
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, OwnedFd};

/// Longer than any packet: arguments and environment of a process among them.
pub const MAX_PACKET: usize = 512 * 1024;
/// As many bytes of a stream go with one packet.
pub const CHUNK: usize = 32 * 1024;
/// As many bytes for a process may be on their way that it has not taken. Whoever sends them waits then, and nobody else.
pub const WINDOW: usize = 64 * 1024;

/// To the supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Run one more process; its standard streams come along, if it is to have no terminal.
    Exec {
        /// What, as whom.
        process: Box<Process>,
        /// With a terminal of this size, rows and columns.
        terminal: Option<(u16, u16)>,
        /// Nobody waits for its end.
        detach: bool,
    },
    /// What the container says from now on.
    Attach,
    /// Send the process a signal.
    Signal(i32),
    /// Its terminal has this size: rows and columns.
    Resize(u16, u16),
}

/// From it.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// It runs, or what it says comes from now on.
    Started,
    /// It does not.
    Failed(Failure),
    /// The process has taken so many bytes more of those that came from here, or never will.
    Taken(usize),
    /// So many bytes were not read in time and are not to be had here any more.
    Lost(u64),
    /// It has ended: its status, or 128 and the number of the signal.
    Ended(u8),
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To standard input, or a terminal. None at all are its end.
    In,
    /// From the process.
    Out(Stream),
}

impl Way {
    /// The byte before them.
    pub fn mark(self) -> u8 {
        match self {
            Way::In => 0,
            Way::Out(Stream::Out) => 1,
            Way::Out(Stream::Err) => 2,
        }
    }
}

/// A packet that came in.
#[derive(Debug)]
pub enum Packet<T> {
    /// A message, and descriptors.
    Message(T, Vec<OwnedFd>),
    /// Bytes.
    Bytes(Way, Vec<u8>),
    /// The other end is closed.
    Closed,
}

/// A message as it is sent.
pub fn packed(message: &impl Serialize) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(message)?)
}

/// Sends a message with descriptors, and waits until there is room.
pub fn send(socket: &OwnedFd, message: &impl Serialize, fds: &[&OwnedFd]) -> Result<()> {
    let fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
    Ok(fd::send(socket.as_fd(), &packed(message)?, &fds)?)
}

/// The next packet. Waits for it.
pub fn receive<T: DeserializeOwned>(socket: &OwnedFd) -> Result<Packet<T>> {
    let (mut bytes, fds) = match fd::receive_whole(socket.as_fd(), MAX_PACKET) {
        Err(error) if matches!(error.errno, Errno::CONNRESET | Errno::PIPE) => return Ok(Packet::Closed),
        received => received?,
    };
    let way = match bytes.first() {
        None => return Ok(Packet::Closed),
        Some(0) => Way::In,
        Some(1) => Way::Out(Stream::Out),
        Some(2) => Way::Out(Stream::Err),
        Some(_) => return Ok(Packet::Message(serde_json::from_slice(&bytes).context("a message")?, fds)),
    };
    bytes.remove(0);
    Ok(Packet::Bytes(way, bytes))
}

/// The next message, where no bytes can come.
pub fn receive_message<T: DeserializeOwned>(socket: &OwnedFd) -> Result<Option<(T, Vec<OwnedFd>)>> {
    match receive(socket)? {
        Packet::Message(message, fds) => Ok(Some((message, fds))),
        Packet::Closed => Ok(None),
        Packet::Bytes(..) => bail!("bytes instead of a message"),
    }
}

/// Room for long arguments and environments, and for many bytes.
pub fn make_room(socket: &OwnedFd) -> SysResult<()> {
    use crate::sys::Named;
    rustix::net::sockopt::set_socket_send_buffer_size(socket, MAX_PACKET).named(|| "setsockopt(SNDBUF)".to_owned())
}
