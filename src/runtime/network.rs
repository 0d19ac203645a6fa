//! What a container's new network namespace is connected to: made inside, its ends handed outside.

use super::sync::{Message, Sync};
use crate::net::handover::End;
use crate::net::link::Link;
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
    /// What is behind an interface that the first process makes.
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
    /// Who is around, if there is anybody.
    pub fn neighbours(self) -> Option<&'a Neighbours<'a>> {
        match self {
            Connection::Neighbours(neighbours) => Some(neighbours),
            Connection::None | Connection::Own(_) => None,
        }
    }
}

/// Inside: makes the interface, or asks for somebody who does.
///
/// Runs in: the container's user and network namespaces, /proc still the host's.
pub fn connect(connection: Connection<'_>, outside: &Sync) -> Result<()> {
    match connection {
        Connection::None => Ok(()),
        Connection::Own(link) => {
            let ends = link.set_up().context("network")?;
            End::hand_over(&ends, |end, fd| outside.send(&Message::Network(end), Some(fd)))
        }
        Connection::Neighbours(_) => {
            // Nobody else on the network says which addresses there are. Without IPv6 there is no such file.
            let _ = fs_err::write("/proc/sys/net/ipv6/conf/default/accept_ra", "0");
            let path = "/proc/self/ns/net";
            let own = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .named(|| format!("open({path})"))?;
            outside.send(&Message::Neighbour, Some(own.as_fd()))
        }
    }
}

/// Inside: waits until it is connected.
pub fn connected(connection: Connection<'_>, outside: &Sync) -> Result<()> {
    match connection {
        Connection::Neighbours(_) => outside.expect(&Message::Attached),
        Connection::None | Connection::Own(_) => Ok(()),
    }
}
