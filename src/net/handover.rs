//! The ends of a link, handed by the process that has made it to the one that serves it: one descriptor a message.

use super::link::{Ends, Resolver, Tap};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What is handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// [`Ends::told`], and [`Ends::tap`].
    Told(Tap),
    /// [`Resolver::datagrams`].
    Datagrams,
    /// [`Resolver::streams`].
    Streams,
}

impl End {
    /// Sends all of them.
    pub fn hand_over(ends: &Ends, send: impl Fn(End, BorrowedFd<'_>) -> Result<()>) -> Result<()> {
        send(End::Told(ends.tap.clone()), ends.told.as_fd())?;
        if let Some(Resolver { datagrams, streams }) = &ends.resolver {
            send(End::Datagrams, datagrams.as_fd())?;
            send(End::Streams, streams.as_fd())?;
        }
        Ok(())
    }
}

/// What has come so far.
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

    /// All of it; an error if the other process has not sent what every network has.
    pub fn all(self) -> Result<Ends> {
        let (tap, told) = self.told.context("handshake: no network")?;
        let resolver = self.datagrams.zip(self.streams);
        let resolver = resolver.map(|(datagrams, streams)| Resolver { datagrams, streams });
        Ok(Ends { tap, told, resolver })
    }
}
