//! A container's output on disk: written by its supervisor, read by `logs`.
//!
//! `output.log` in the container's directory is written to; `output.log.1` is the one before, and so on. Each line is an
//! entry; of a line that is longer than 16 KiB each part is one, as in docker.

pub mod entry;
pub mod journal;
pub mod journalctl;
pub mod reader;
pub mod writer;

use std::path::{Path, PathBuf};

/// The file that is written to.
pub const FILE: &str = "output.log";

/// The longest part of a line that is an entry, bytes (moby, `daemon/logger/copier.go`).
pub const LONGEST: usize = 16 * 1024;

/// Where the `number`th file before the last one is; 0 is the one that is written to.
pub fn file(dir: &Path, number: u32) -> PathBuf {
    match number {
        0 => dir.join(FILE),
        _ => dir.join(format!("{FILE}.{number}")),
    }
}

/// Which of its streams a container has written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or a terminal.
    Out,
    /// Standard error.
    Err,
}

impl Stream {
    /// docker's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Stream::Out => "stdout",
            Stream::Err => "stderr",
        }
    }
}
