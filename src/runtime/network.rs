//! The container's interface: what it is made with is opened inside, where the network is; made outside, where there is
//! time.

use super::sync::{Message, Sync};
use crate::net::link::{Ends, Link, Opened};
use anyhow::{Context, Result};
use std::os::fd::OwnedFd;

/// Inside: hands out what the interface is made with. It is there when the payload may start.
///
/// Runs in: the container's network namespace, with or without ids.
pub fn hand_out(link: &Link, outside: &Sync) -> Result<()> {
    let opened = Opened::open(link).context("network")?;
    outside.send_with(&Message::Network, &opened.descriptors())
}

/// Inside: makes the interface, and hands out its ends. For a container whose maker waits for a joiner first.
///
/// Runs in: the container's user and network namespaces.
pub fn connect(link: &Link, outside: &Sync) -> Result<()> {
    let ends = Opened::open(link).and_then(|opened| opened.set_up(link)).context("network")?;
    outside.send_with(&Message::Connected(ends.tap.clone()), &ends.descriptors())
}

/// Outside: makes the interface with what has come from inside.
///
/// Runs in: the host's namespaces, as who made the container's user namespace.
pub fn set_up(link: &Link, descriptors: Vec<OwnedFd>) -> Result<Ends> {
    Opened::received(descriptors).and_then(|opened| opened.set_up(link)).context("network")
}
