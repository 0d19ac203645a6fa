//! The container's interface: made inside, its ends handed outside.

use super::sync::{Message, Sync};
use crate::net::link::{Ends, Link, Resolver, Tap};
use anyhow::{Context, Result};
use std::os::fd::{AsFd, OwnedFd};

/// What is handed over.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum End {
    /// [`Ends::told`], and [`Ends::tap`].
    Told(Tap),
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
    let Ends { tap, told, resolver } = link.set_up().context("network")?;
    let send = |end, fd: &OwnedFd| outside.send(&Message::Network(end), Some(fd.as_fd()));
    send(End::Told(tap), &told)?;
    if let Some(Resolver { datagrams, streams }) = &resolver {
        send(End::Datagrams, datagrams)?;
        send(End::Streams, streams)?;
    }
    Ok(())
}

/// Outside: what has come so far.
#[derive(Debug, Default)]
pub struct Received {
    told: Option<(Tap, OwnedFd)>,
    datagrams: Option<OwnedFd>,
    streams: Option<OwnedFd>,
}

impl Received {
    /// Keeps one more.
    pub fn take(&mut self, end: End, fd: Option<OwnedFd>) -> Result<()> {
        let fd = fd.context("handshake: no descriptor of the network")?;
        match end {
            End::Told(tap) => self.told = Some((tap, fd)),
            End::Datagrams => self.datagrams = Some(fd),
            End::Streams => self.streams = Some(fd),
        }
        Ok(())
    }

    /// All of it; an error if the first process has not sent what every network has.
    pub fn all(self) -> Result<Ends> {
        let (tap, told) = self.told.context("handshake: no network")?;
        let resolver = self.datagrams.zip(self.streams);
        let resolver = resolver.map(|(datagrams, streams)| Resolver { datagrams, streams });
        Ok(Ends { tap, told, resolver })
    }
}
