//! Reading and writing tar streams as the registries' own tools do (Go's archive/tar), from input that nobody trusts.
//!
//! Formats: V7, ustar (POSIX.1-1988), pax (POSIX.1-2001) with GNU's sparse files 0.0, 0.1 and 1.0, star's trailer, and
//! GNU with long names, base-256 numbers and its old sparse files. Where parsers differ, what Go does counts, because
//! that is what made the images: a header-only entry has no data whatever its size field says; a pax record with a NUL
//! in a name is an error; global pax headers change nothing.
//!
//! | file | what it is |
//! | --- | --- |
//! | `header.rs` | one block of 512 bytes |
//! | `pax.rs` | the records of an extended header |
//! | `sparse.rs` | where the data of a sparse file goes |
//! | `reader.rs` | the sequence of entries |
//! | `writer.rs` | the same, the other way |

mod header;
mod pax;
mod reader;
mod sparse;
mod writer;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod writer_tests;

pub use reader::Reader;
pub use writer::Writer;

use std::fmt;

/// Everything in an archive comes in multiples of this.
pub const BLOCK: usize = 512;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file with data.
    Regular,
    /// Another name of an entry before; [`Entry::link`] is its path.
    Hardlink,
    /// [`Entry::link`] is its text.
    Symlink,
    /// [`Entry::device`] is its number.
    CharDevice,
    /// Likewise.
    BlockDevice,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

/// A piece of a sparse file that has data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Where it goes in the file.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
}

/// One entry. Paths are bytes as they are in the archive: whoever makes files of them has to distrust them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Its path.
    pub path: Vec<u8>,
    /// What a link leads to.
    pub link: Vec<u8>,
    /// Permission bits, with set-user-id, set-group-id and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Seconds since 1970 and nanoseconds of the last change.
    pub mtime: (i64, u32),
    /// Length of the file, with its holes.
    pub size: u64,
    /// Where data is, if the file has holes; otherwise all of it is data.
    pub pieces: Option<Vec<Piece>>,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Extended attributes, name and value.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Why a stream cannot be read.
#[derive(Debug)]
pub enum Error {
    /// The source failed.
    Read(std::io::Error),
    /// It ends within an entry.
    Truncated,
    /// It is no tar archive, or a damaged or hostile one.
    Invalid {
        /// What is wrong.
        what: &'static str,
        /// Offset of the block in the stream.
        at: u64,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Read(error) => error.fmt(f),
            Error::Truncated => f.write_str("tar: ends within an entry"),
            Error::Invalid { what, at } => write!(f, "tar: {what} (at byte {at})"),
        }
    }
}

impl std::error::Error for Error {}
