//! The sequence of entries.

use super::header::{Format, Header};
use super::pax::{self, Records};
use super::{BLOCK, Entry, Error, Kind, Piece, sparse};
use std::io::Read;

/// A pax header or a long name is not longer than this (Go's archive/tar, maxSpecialFileSize).
pub const MAX_EXTENSION: u64 = 1 << 20;

/// Reads entries from a stream. What is not read of an entry's data is skipped by the next call.
pub struct Reader<R> {
    source: R,
    /// Bytes read from the source.
    at: u64,
    /// Data of the current entry that was not read yet.
    left: u64,
    /// Bytes that fill its last block.
    padding: u64,
}

/// What comes before an entry and belongs to it.
#[derive(Default)]
struct Extensions {
    pax: Option<Records>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<R: Read> Reader<R> {
    /// Reads from here on. Calls are many and small: the source should be buffered.
    pub fn new(source: R) -> Reader<R> {
        Reader { source, at: 0, left: 0, padding: 0 }
    }

    /// The next entry; `None` at the end of the archive, after which the source may have more bytes.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        self.skip()?;
        let mut extensions = Extensions::default();
        loop {
            let at = self.at;
            let invalid = |what: &'static str| Error::Invalid { what, at };
            let Some(block) = self.header_block()? else { return Ok(None) };
            let header = Header(&block);
            if !header.has_its_sum() {
                return Err(invalid("a block that is no header"));
            }
            match header.kind() {
                b'x' | b'X' => extensions.pax = Some(pax::read(&self.extension(&header)?).map_err(invalid)?),
                // As Go and docker do: read, and of no effect.
                b'g' => drop(pax::read(&self.extension(&header)?).map_err(invalid)?),
                b'L' => extensions.long_name = Some(to_nul(self.extension(&header)?)),
                b'K' => extensions.long_link = Some(to_nul(self.extension(&header)?)),
                _ => return self.entry(&header, extensions, at).map(Some),
            }
        }
    }

    /// Reads data of the current entry; 0 at its end. Of a sparse file these are the pieces, one after the other.
    pub fn read_data(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let length = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if length == 0 {
            return Ok(0);
        }
        loop {
            match self.source.read(&mut buffer[..length]) {
                Ok(0) => return Err(Error::Truncated),
                Ok(read) => {
                    self.left -= read as u64;
                    self.at += read as u64;
                    return Ok(read);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Read(error)),
            }
        }
    }

    /// The source, to read what follows the archive.
    pub fn into_inner(self) -> R {
        self.source
    }

    fn skip(&mut self) -> Result<(), Error> {
        self.left += std::mem::take(&mut self.padding);
        let mut buffer = [0; 8192];
        while self.read_data(&mut buffer)? > 0 {}
        Ok(())
    }

    /// The next block, or none at the end: two blocks of zeros, or nothing at all.
    fn header_block(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        let at = self.at;
        let Some(block) = self.block()? else { return Ok(None) };
        if !Header(&block).is_zero() {
            return Ok(Some(block));
        }
        match self.block()? {
            Some(second) if !Header(&second).is_zero() => Err(Error::Invalid { what: "a header after the end", at }),
            _ => Ok(None),
        }
    }

    /// One block; `None` if the source is at its end.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.source.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(Error::Truncated),
                Ok(read) => filled += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Read(error)),
            }
        }
        self.at += BLOCK as u64;
        Ok(Some(block))
    }

    /// The data of an entry that describes the next one.
    fn extension(&mut self, header: &Header<'_>) -> Result<Vec<u8>, Error> {
        let size = header.size().and_then(|size| u64::try_from(size).ok()).filter(|size| *size <= MAX_EXTENSION);
        let size = size.ok_or(Error::Invalid { what: "an extended header of more than 1 MiB", at: self.at })?;
        self.begin(size);
        let mut bytes = vec![0; size as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            filled += self.read_data(&mut bytes[filled..])?;
        }
        self.skip()?;
        Ok(bytes)
    }

    fn begin(&mut self, size: u64) {
        self.left = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    fn entry(&mut self, header: &Header<'_>, extensions: Extensions, at: u64) -> Result<Entry, Error> {
        let invalid = |what: &'static str| Error::Invalid { what, at };
        let mut records = extensions.pax.unwrap_or_default();
        // The order is Go's: GNU's long names over pax over the header.
        let mut path = extensions.long_name.or_else(|| records.path.take()).unwrap_or_else(|| header.path());
        let link = extensions.long_link.or_else(|| records.link.take()).unwrap_or_else(|| header.link());
        let mut kind = match header.kind() {
            // Old tars have no type for directories but a slash at the end.
            0 if path.ends_with(b"/") => Kind::Directory,
            b'0' | 0 | b'7' | b'S' => Kind::Regular,
            b'1' => Kind::Hardlink,
            b'2' => Kind::Symlink,
            b'3' => Kind::CharDevice,
            b'4' => Kind::BlockDevice,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            _ => return Err(invalid("an entry of unknown type")),
        };
        let positive = |number: Option<i64>, what| number.and_then(|n| u64::try_from(n).ok()).ok_or(invalid(what));
        let data = match records.size {
            Some(size) => size,
            None => positive(header.size(), "a size that is no number")?,
        };
        // Blocks are counted with 64 bits.
        if data > i64::MAX as u64 - BLOCK as u64 {
            return Err(invalid("a size that is too large"));
        }
        self.begin(if kind == Kind::Regular { data } else { 0 });
        let (pieces, size) = if kind != Kind::Regular {
            (None, 0)
        } else if header.kind() == b'S' {
            let (pieces, size) = self.gnu_sparse(header, at)?;
            (Some(pieces), size)
        } else if let Some(pieces) = self.pax_sparse(&records, at)? {
            let size = records.sparse.size.ok_or(invalid("a sparse file without a size"))?;
            path = records.sparse.name.clone().unwrap_or(path);
            (Some(pieces), size)
        } else {
            (None, data)
        };
        if let Some(pieces) = &pieces {
            sparse::check(pieces, size, self.left).map_err(invalid)?;
        }
        if kind == Kind::Regular && pieces.is_none() && header.format() == Format::V7 && path.ends_with(b"/") {
            kind = Kind::Directory;
        }
        let (major, minor) = header.device().ok_or(invalid("a device that is no number"))?;
        Ok(Entry {
            kind,
            path,
            link,
            mode: header.mode().ok_or(invalid("a mode that is no number"))? as u32 & 0o7777,
            uid: match records.uid {
                Some(uid) => uid,
                None => positive(header.uid(), "an owner that is no number")?,
            },
            gid: match records.gid {
                Some(gid) => gid,
                None => positive(header.gid(), "a group that is no number")?,
            },
            mtime: match records.mtime {
                Some(mtime) => mtime,
                None => (header.mtime().ok_or(invalid("a time that is no number"))?, 0),
            },
            size,
            pieces,
            device: (major as u32, minor as u32),
            xattrs: records.xattrs,
        })
    }

    /// GNU's old sparse files: the list begins in the header and goes on in blocks before the data, which the size does
    /// not count.
    fn gnu_sparse(&mut self, header: &Header<'_>, at: u64) -> Result<(Vec<Piece>, u64), Error> {
        let invalid = |what: &'static str| Error::Invalid { what, at };
        let (fields, mut more, size) = header.gnu_sparse().ok_or(invalid("sparse: a size that is no number"))?;
        let mut pieces = Vec::new();
        sparse::gnu(fields, &mut pieces).map_err(invalid)?;
        while more {
            let block = self.block()?.ok_or(Error::Truncated)?;
            more = sparse::gnu_extension(&block, &mut pieces).map_err(invalid)?;
        }
        Ok((pieces, u64::try_from(size).map_err(|_| invalid("sparse: a size below zero"))?))
    }

    /// The pieces of a pax sparse file, if it is one: version 1.0 has its list at the beginning of the data, in decimal
    /// lines, filled up to a block; the others have it in the records.
    fn pax_sparse(&mut self, records: &Records, at: u64) -> Result<Option<Vec<Piece>>, Error> {
        let invalid = |what: &'static str| Error::Invalid { what, at };
        match records.sparse.version {
            (Some(1), Some(0)) => {}
            (None, None) | (Some(0), Some(0 | 1)) => {
                return records
                    .sparse
                    .numbers
                    .as_deref()
                    .map(|numbers| sparse::pairs(numbers).map_err(invalid))
                    .transpose();
            }
            _ => return Err(invalid("sparse: an unknown version")),
        }
        let mut lines = Lines::default();
        let count = self.sparse_number(&mut lines, at)?;
        if count > sparse::MAX_PIECES as u64 {
            return Err(invalid("sparse: too many pieces"));
        }
        let mut numbers = Vec::new();
        for _ in 0..2 * count {
            numbers.push(self.sparse_number(&mut lines, at)?);
        }
        sparse::pairs(&numbers).map(Some).map_err(invalid)
    }

    /// The next line of a version 1.0 list. Its blocks are part of the data.
    fn sparse_number(&mut self, lines: &mut Lines, at: u64) -> Result<u64, Error> {
        const DIGITS: usize = 20;
        let invalid = |what: &'static str| Error::Invalid { what, at };
        let mut digits = Vec::with_capacity(DIGITS);
        loop {
            if lines.at == lines.bytes.len() {
                if self.left < BLOCK as u64 {
                    return Err(invalid("sparse: a list without an end"));
                }
                let block = self.block()?.ok_or(Error::Truncated)?;
                self.left -= BLOCK as u64;
                *lines = Lines { bytes: block.to_vec(), at: 0 };
            }
            let byte = lines.bytes[lines.at];
            lines.at += 1;
            match byte {
                b'\n' => return pax::decimal(&digits).ok_or(invalid("sparse: a line that is no number")),
                byte if digits.len() < DIGITS => digits.push(byte),
                _ => return Err(invalid("sparse: a line that is no number")),
            }
        }
    }
}

/// What was read of a list and not used yet.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    at: usize,
}

fn to_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}
