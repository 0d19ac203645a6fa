//! Trees of files on their way between a container and the host: what `rbox cp` moves, as a tar stream.
//!
//! Either side is done by whoever sees the files: the caller for those of the host, a process that has entered the container
//! for the container's own (`runtime/visitor.rs`). Neither trusts what it reads: names are resolved by the kernel below the
//! directory that is copied or written to, and nothing is ever followed out of it.
//!
//! In the stream `.` is what is copied and all else is below it: what it is called where it arrives is decided there, and no
//! stream can name anything else.
//!
//! | file | what it is |
//! | --- | --- |
//! | `find.rs` | where a path leads |
//! | `send.rs` | from files to the stream |
//! | `receive.rs` | from the stream to files |

pub mod find;
pub mod receive;
pub mod send;

#[cfg(test)]
mod tests;

use super::compression::{self, BUFFER};
use anyhow::Result;
use find::{Source, Target};
use receive::{Place, Rules};
use send::Form;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::os::fd::OwnedFd;

/// Sends what was found to a pipe or a file.
pub fn send(source: &Source, form: &Form, to: OwnedFd) -> Result<Report> {
    send::send(source, form, BufWriter::with_capacity(BUFFER, File::from(to)))
}

/// Receives from a pipe or a file, whatever it is packed with, where something was to go.
pub fn receive(target: Target, place: &Place, rules: Rules, from: OwnedFd) -> Result<Report> {
    let (_, plain) = compression::decode(File::from(from))?;
    receive::receive(BufReader::with_capacity(BUFFER, plain), target.goal(place)?, rules)
}

/// What was moved, and what was left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Entries of the stream.
    pub entries: u64,
    /// Bytes of file contents.
    pub bytes: u64,
    /// Devices, which nobody without privilege can make: left out.
    pub devices: u64,
    /// Sockets, which no stream can hold: left out.
    pub sockets: u64,
    /// Extended attributes that no stream can hold, or that the file system or the user cannot have: left out.
    pub attributes: u64,
    /// Files that changed while they were read. They have the length that they had at first.
    pub changed: u64,
}

impl Report {
    /// What the two sides of one way say together: what was moved is what arrived.
    pub fn with(self, received: Report) -> Report {
        Report {
            entries: received.entries,
            bytes: received.bytes,
            devices: self.devices + received.devices,
            sockets: self.sockets + received.sockets,
            attributes: self.attributes + received.attributes,
            changed: self.changed + received.changed,
        }
    }
}
