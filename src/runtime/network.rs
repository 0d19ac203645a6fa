//! What a container's new network namespace is connected to: an interface, for which what it is made with is opened inside,
//! where the network is (prepared.rs), and which is made outside, where there is time; or networks that others share.

use super::sync::{Message, Sync};
use crate::net::link::{Ends, Link, Opened};
use crate::sys::Named;
use crate::userns::idmap::IdMaps;
use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags};
use std::os::fd::{AsFd, OwnedFd};

/// What it is connected to.
#[derive(Clone, Copy)]
pub enum Connection<'a> {
    /// Nothing: it has a loopback interface.
    None,
    /// What is behind an interface of its own.
    Own(&'a Link),
    /// What somebody else connects it to.
    Neighbours(&'a Neighbours<'a>),
}

/// Whoever is root of the user namespace around the container's, and so may put interfaces into its network namespace.
pub struct Neighbours<'a> {
    /// The user namespace around.
    pub around: &'a OwnedFd,
    /// Its ids.
    pub ids: &'a IdMaps,
    /// Has the network namespace connected. Called outside, while the first process is at work; the payload waits.
    pub attach: &'a dyn Fn(OwnedFd) -> Result<()>,
}

impl<'a> Connection<'a> {
    /// The interface, if there is one to be made.
    pub fn link(self) -> Option<&'a Link> {
        match self {
            Connection::Own(link) => Some(link),
            Connection::None | Connection::Neighbours(_) => None,
        }
    }

    /// Who is around, if there is anybody.
    pub fn neighbours(self) -> Option<&'a Neighbours<'a>> {
        match self {
            Connection::Neighbours(neighbours) => Some(neighbours),
            Connection::None | Connection::Own(_) => None,
        }
    }
}

/// Inside: makes the interface, and hands out its ends. For a container whose network namespace was not made before.
///
/// Runs in: the container's user and network namespaces.
pub fn connect(link: &Link, outside: &Sync) -> Result<()> {
    let ends = Opened::open(link).and_then(|opened| opened.set_up(link)).context("network")?;
    outside.send_with(&Message::Connected(ends.tap.clone()), &ends.descriptors())
}

/// Inside: asks to be connected.
///
/// Runs in: the container's user and network namespaces, /proc still the host's.
pub fn ask(outside: &Sync) -> Result<()> {
    // Nobody else on the network says which addresses there are. Without IPv6 there is no such file.
    let _ = fs_err::write("/proc/sys/net/ipv6/conf/default/accept_ra", "0");
    let path = "/proc/self/ns/net";
    let own =
        rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).named(|| format!("open({path})"))?;
    outside.send(&Message::Neighbour, Some(own.as_fd()))
}

/// Inside: waits until it is connected.
pub fn connected(connection: Connection<'_>, outside: &Sync) -> Result<()> {
    match connection {
        Connection::Neighbours(_) => outside.expect(&Message::Attached),
        Connection::None | Connection::Own(_) => Ok(()),
    }
}

/// Outside: makes the interface with what was opened inside.
///
/// Runs in: the host's namespaces, as who made the container's user namespace.
pub fn set_up(link: &Link, descriptors: Vec<OwnedFd>) -> Result<Ends> {
    Opened::received(descriptors).and_then(|opened| opened.set_up(link)).context("network")
}
