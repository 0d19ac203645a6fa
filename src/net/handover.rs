//! The ends of a link, handed by the process that has made it to the one that serves it: one descriptor a message.

use super::link::{Ends, Resolver};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What is handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

impl End {
    /// Sends all of them.
    pub fn hand_over(ends: &Ends, send: impl Fn(End, BorrowedFd<'_>) -> Result<()>) -> Result<()> {
        send(End::Control(ends.index), ends.control.as_fd())?;
        send(End::Told, ends.told.as_fd())?;
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
