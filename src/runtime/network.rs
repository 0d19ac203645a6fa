//! The container's interface: made inside, its ends handed outside.

use super::sync::{Message, Sync};
use crate::net::link::{Ends, Link, Resolver};
use anyhow::{Context, Result};
use std::os::fd::{AsFd, OwnedFd};

/// What is handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum End {
    /// [`Ends::control`], and the number of the interface.
    Control(u32),
    /// [`Ends::told`].
    Told,
    /// [`Resolver::datagrams`].
    Datagrams,
    /// [`Resolver::streams`].
    Streams,
}

/// Inside: makes the interface.
///
/// Runs in: the container's user and network namespaces.
pub fn connect(link: Option<&Link>, outside: &Sync) -> Result<()> {
    let Some(link) = link else { return Ok(()) };
    let Ends { index, control, told, resolver } = link.set_up().context("network")?;
    let send = |end, fd: &OwnedFd| outside.send(&Message::Network(end), Some(fd.as_fd()));
    send(End::Control(index), &control)?;
    send(End::Told, &told)?;
    if let Some(Resolver { datagrams, streams }) = &resolver {
        send(End::Datagrams, datagrams)?;
        send(End::Streams, streams)?;
    }
    Ok(())
}

/// Outside: what has come so far.
#[derive(Debug, Default)]
pub struct Received {
    control: Option<(u32, OwnedFd)>,
    told: Option<OwnedFd>,
    datagrams: Option<OwnedFd>,
    streams: Option<OwnedFd>,
}

impl Received {
    /// Keeps one more.
    pub fn take(&mut self, end: End, fd: Option<OwnedFd>) -> Result<()> {
        let fd = fd.context("handshake: no descriptor of the network")?;
        match end {
            End::Control(index) => self.control = Some((index, fd)),
            End::Told => self.told = Some(fd),
            End::Datagrams => self.datagrams = Some(fd),
            End::Streams => self.streams = Some(fd),
        }
        Ok(())
    }

    /// All of it; an error if the first process has not sent what every network has.
    pub fn all(self) -> Result<Ends> {
        let (index, control) = self.control.context("handshake: no network")?;
        let told = self.told.context("handshake: no network")?;
        let resolver = self.datagrams.zip(self.streams);
        let resolver = resolver.map(|(datagrams, streams)| Resolver { datagrams, streams });
        Ok(Ends { index, control, told, resolver })
    }
}
