//! What is said about networks: between a container's supervisor, or a command, and the keeper; and between the keeper and the
//! process inside that does the work. JSON, one message a packet, with descriptors where the message says so.

use super::definition::Definition;
use super::subnet::Subnet;
use crate::error::Failure;
use crate::net::link::Tap;
use crate::sys::fd;
use crate::userns::idmap::IdMaps;
use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// No message is longer, bytes: the kernel takes three times as many for one (`net.core.wmem_default`).
pub const MAX: usize = 64 * 1024;

/// To the keeper.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// One network for the request that follows; a lock on its file comes along, to be held as long as it is used.
    Member(Box<Member>),
    /// Connect the container of this connection to these networks; its network namespace comes along. It is connected as long
    /// as this connection is there.
    Attach(Container),
    /// Connect another connection's container to these networks, too.
    Connect {
        /// Its id.
        container: String,
    },
    /// Take a container from a network.
    Disconnect {
        /// Its id.
        container: String,
        /// The network's id.
        network: String,
    },
    /// A container has another name.
    Rename {
        /// Its id.
        container: String,
        /// The name.
        name: String,
    },
    /// The container of this connection has ended.
    Leave,
    /// Who is connected? As many as go into an answer, after the first so many.
    List {
        /// So many are known.
        after: usize,
    },
}

/// From the keeper.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// First of all: the ids of the user namespace around, which comes along.
    Around(IdMaps),
    /// Connected.
    Attached(Vec<Attached>),
    /// Whether the container was connected to the network.
    Disconnected(bool),
    /// It has it.
    Renamed,
    /// Nothing of the container is left. Not said if all ends with it: then the connection does.
    Left,
    /// Who is connected; nobody if that were all.
    Connected(Vec<Connected>),
    /// It cannot be done.
    Failed(Failure),
    /// Nobody asked: what goes wrong meanwhile.
    Told(Failure),
    /// Nobody asked: somebody else has connected the container or taken it from a network, and this is where it is now.
    Moved(Vec<Attached>),
}

/// A container's part in a network.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Member {
    /// The network.
    pub network: Definition,
    /// An address of it; none is any.
    pub ipv4: Option<Ipv4Addr>,
    /// Likewise.
    pub ipv6: Option<Ipv6Addr>,
    /// The hardware address, with colons.
    pub mac: Option<String>,
    /// Further names of the container.
    pub aliases: Vec<String>,
    /// The interface in the container; none is `eth` and the next number.
    pub interface: Option<String>,
}

/// A container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Container {
    /// Its id.
    pub id: String,
    /// Its name, by which others find it.
    pub name: String,
    /// Names that no network knows are asked for where the host asks; if not, they are said to have failed, whereupon the
    /// container asks its next server.
    pub asks_host: bool,
}

/// A connection to a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// The network's id.
    pub network: String,
    /// The interface in the container.
    pub interface: String,
    /// Its hardware address, with colons.
    pub mac: String,
    /// Its addresses: at most one of each family.
    pub addresses: Vec<Place>,
}

/// An address in a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The address.
    pub address: IpAddr,
    /// The network's range.
    pub subnet: Subnet,
    /// The bridge's address.
    pub gateway: IpAddr,
}

/// A container that is connected.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Connected {
    /// Who.
    pub container: Container,
    /// To what.
    pub to: Vec<Attached>,
}

/// To the process inside; the container's network namespace comes along.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    /// Connect.
    Setup(Box<Work>),
    /// Take away.
    Teardown(Box<Work>),
}

/// One container and one network.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Work {
    /// The container.
    pub container: Container,
    /// The network.
    pub network: Definition,
    /// The container's addresses there.
    pub addresses: Vec<IpAddr>,
    /// Further names.
    pub aliases: Vec<String>,
    /// The hardware address.
    pub mac: Option<String>,
    /// The interface.
    pub interface: String,
    /// Of all default routes of the container the one with the lowest metric counts.
    pub metric: u32,
    /// Nobody else is on the network.
    pub is_only: bool,
    /// Networks that this one is to reach and to be reached from.
    pub friends: Vec<Friend>,
}

/// A network that another one is to reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Friend {
    /// Its bridge.
    pub bridge: String,
    /// Its ranges.
    pub subnets: Vec<Subnet>,
}

/// From the process inside.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// Before all others: all is there to begin with; the ends of the way out come along.
    Ready(Tap),
    /// Done; after a setup with the interface's hardware address.
    Done(Option<String>),
    /// It cannot be done.
    Failed(Failure),
}

/// Sends one.
pub fn send(socket: impl AsFd, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> Result<()> {
    let bytes = serde_json::to_vec(message)?;
    ensure!(bytes.len() <= MAX, "a message of {} bytes: too long", bytes.len());
    Ok(fd::send(socket.as_fd(), &bytes, fds)?)
}

/// The next one and its descriptors; `None` if the other end is closed.
pub fn receive<T: DeserializeOwned>(socket: impl AsFd) -> Result<Option<(T, Vec<OwnedFd>)>> {
    let mut buffer = vec![0; MAX];
    let (length, fds) = fd::receive(socket.as_fd(), &mut buffer)?;
    if length == 0 {
        return Ok(None);
    }
    let message = serde_json::from_slice(buffer.get(..length).unwrap_or_default()).context("a message")?;
    Ok(Some((message, fds)))
}

/// What went wrong, short enough for a message.
pub fn failure(error: &anyhow::Error) -> Failure {
    let failure = Failure::from(error);
    serde_json::from_slice(&failure.within(MAX / 2)).unwrap_or(failure)
}
