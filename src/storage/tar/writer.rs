//! Writing entries as Go's archive/tar does: ustar where everything fits, else a pax header before it. What comes out
//! is read by docker, podman, umoci, GNU tar and Python alike.
//!
//! Sparse files are written whole. GNU's sparse formats are no part of pax, several readers of layers do not know them,
//! and a compressor makes as little of a hole's zeros.

use super::header::{
    CHECKSUM, DEVICE_NUMBER_MAX, GID, LINK, MAGIC, MAJOR, MINOR, MODE, MTIME, NAME, PREFIX, SIZE, TYPE, UID,
};
use super::reader::MAX_EXTENSION;
use super::{BLOCK, Entry, Kind, pax};
use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result, Write};
use std::ops::Range;

/// Writes entries to a sink. Calls are many and small: the sink should be buffered.
#[derive(Debug)]
pub struct Writer<W> {
    sink: W,
    /// Data of the current entry that was not written yet.
    left: u64,
    /// Bytes that fill its last block.
    padding: usize,
    nanoseconds: bool,
}

impl<W: Write> Writer<W> {
    /// Writes to here. Times are cut to seconds, as docker's are: otherwise every entry needs a pax header.
    pub fn new(sink: W) -> Writer<W> {
        Writer { sink, left: 0, padding: 0, nanoseconds: false }
    }

    /// Writes times with their nanoseconds.
    pub fn with_nanoseconds(self) -> Writer<W> {
        Writer { nanoseconds: true, ..self }
    }

    /// Begins an entry; one that has data ([`Kind::Regular`]) is followed by [`Writer::data`] of its size. A directory's
    /// path gets its slash. `pieces` are not looked at: the data is the whole file.
    ///
    /// Fails with `InvalidInput` on what the format cannot say, before anything of it is written: a path that is empty
    /// or has a NUL byte, attributes that are too long, device numbers beyond 21 bits.
    pub fn entry(&mut self, entry: &Entry) -> Result<()> {
        if self.left > 0 {
            return Err(invalid("the entry before has less data than was announced"));
        }
        let mut path = entry.path.clone();
        match (entry.kind, path.ends_with(b"/")) {
            (Kind::Directory, false) => path.push(b'/'),
            (Kind::Directory, true) => {}
            // Old readers take it for a directory.
            (_, true) => return Err(invalid("a slash ends the path of what is no directory")),
            (_, false) => {}
        }
        let is_link = matches!(entry.kind, Kind::Hardlink | Kind::Symlink);
        if path.is_empty() || path == b"/" || path.contains(&0) {
            return Err(invalid("a path that is empty or has a NUL byte"));
        }
        if is_link && (entry.link.is_empty() || entry.link.contains(&0)) {
            return Err(invalid("a link's target that is empty or has a NUL byte"));
        }
        let link: &[u8] = if is_link { &entry.link } else { b"" };
        let size = if entry.kind == Kind::Regular { entry.size } else { 0 };
        if size > i64::MAX as u64 - BLOCK as u64 {
            return Err(invalid("a size that is too large"));
        }
        let device = match entry.kind {
            Kind::CharDevice | Kind::BlockDevice => entry.device,
            _ => (0, 0),
        };
        if device.0.max(device.1) > DEVICE_NUMBER_MAX {
            return Err(invalid("a device number that does not fit"));
        }
        let mtime = (entry.mtime.0, if self.nanoseconds { entry.mtime.1 } else { 0 });

        // Sorted by their keys.
        let mut records = BTreeMap::new();
        let mut block = Block::new(type_flag(entry.kind));
        block.octal(MODE, (entry.mode & 0o7777).into());
        for (field, key, value) in [(UID, "uid", entry.uid), (GID, "gid", entry.gid), (SIZE, "size", size)] {
            if !block.octal(field, value) {
                records.insert(key.as_bytes().to_vec(), value.to_string().into_bytes());
            }
        }
        let seconds = u64::try_from(mtime.0).ok().filter(|_| mtime.1 == 0);
        if !seconds.is_some_and(|seconds| block.octal(MTIME, seconds)) {
            records.insert(b"mtime".to_vec(), pax::time_text(mtime).into_bytes());
            // Whole seconds for whoever reads no pax.
            block.octal(MTIME, u64::try_from(mtime.0).unwrap_or(0));
        }
        block.octal(MAJOR, device.0.into());
        block.octal(MINOR, device.1.into());
        let fits_at_once = block.text(NAME, &path);
        if !block.text(LINK, link) {
            records.insert(b"linkpath".to_vec(), link.to_vec());
        }
        for (name, value) in &entry.xattrs {
            if name.is_empty() || name.contains(&0) || name.contains(&b'=') {
                return Err(invalid("an attribute's name that is empty or has = or a NUL byte"));
            }
            records.insert([pax::XATTR, name].concat(), value.clone());
        }
        // Split only where no pax header is needed at all.
        if !(fits_at_once || (records.is_empty() && block.split(&path))) {
            records.insert(b"path".to_vec(), path.clone());
        }
        let records = records.iter().fold(Vec::new(), |mut all, (key, value)| {
            pax::write(&mut all, key, value);
            all
        });
        if records.len() as u64 > MAX_EXTENSION {
            return Err(invalid("attributes of more than 1 MiB"));
        }
        if !records.is_empty() {
            self.extension(&path, &records)?;
        }
        self.sink.write_all(&block.sealed())?;
        self.begin(size);
        self.pad_if_done()
    }

    /// The next bytes of the current entry. More than were announced are an error.
    pub fn data(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.len() as u64 > self.left {
            return Err(invalid("more data than was announced"));
        }
        self.sink.write_all(bytes)?;
        self.left -= bytes.len() as u64;
        self.pad_if_done()
    }

    /// Ends the archive with two blocks of zeros and gives the sink back.
    pub fn finish(mut self) -> Result<W> {
        if self.left > 0 {
            return Err(invalid("the last entry has less data than was announced"));
        }
        self.sink.write_all(&[0; 2 * BLOCK])?;
        self.sink.flush()?;
        Ok(self.sink)
    }

    fn extension(&mut self, path: &[u8], records: &[u8]) -> Result<()> {
        let mut block = Block::new(b'x');
        // Nobody needs this name but readers that know no pax, which make a file of it. It is Go's.
        let base = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let mut name = [&path[..base], b"PaxHeaders.0/", &path[base..]].concat();
        name.retain(u8::is_ascii);
        name.truncate(NAME.len());
        let name = name.strip_prefix(b"./").unwrap_or(&name);
        let end = name.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
        block.text(NAME, &name[..end]);
        block.octal(SIZE, records.len() as u64);
        self.sink.write_all(&block.sealed())?;
        self.begin(records.len() as u64);
        self.data(records)
    }

    fn begin(&mut self, size: u64) {
        self.left = size;
        self.padding = (size.wrapping_neg() % BLOCK as u64) as usize;
    }

    fn pad_if_done(&mut self) -> Result<()> {
        if self.left == 0 && self.padding > 0 {
            self.sink.write_all(&[0; BLOCK][..self.padding])?;
            self.padding = 0;
        }
        Ok(())
    }
}

fn invalid(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("tar: {what}"))
}

fn type_flag(kind: Kind) -> u8 {
    match kind {
        Kind::Regular => b'0',
        Kind::Hardlink => b'1',
        Kind::Symlink => b'2',
        Kind::CharDevice => b'3',
        Kind::BlockDevice => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
    }
}

/// A header in the making. Its numbers are 0 but for the device's, which it has none, and its texts empty.
struct Block([u8; BLOCK]);

impl Block {
    fn new(kind: u8) -> Block {
        let mut block = Block([0; BLOCK]);
        block.0[TYPE] = kind;
        block.0[MAGIC].copy_from_slice(b"ustar\x0000");
        for field in [MODE, UID, GID, SIZE, MTIME] {
            block.octal(field, 0);
        }
        block
    }

    /// A number with a NUL after it; false, and 0 is written, if it has too many digits.
    fn octal(&mut self, field: Range<usize>, value: u64) -> bool {
        let digits = field.len() - 1;
        let fits = value >> (3 * digits) == 0;
        let text = format!("{:0digits$o}\0", if fits { value } else { 0 });
        self.0[field].copy_from_slice(text.as_bytes());
        fits
    }

    /// A text; false if it does not fit, or is not the ASCII that ustar wants. Then what is ASCII of its beginning is
    /// there.
    fn text(&mut self, field: Range<usize>, text: &[u8]) -> bool {
        if text.len() <= field.len() && text.is_ascii() {
            self.0[field][..text.len()].copy_from_slice(text);
            return true;
        }
        self.clipped(field, text);
        false
    }

    fn clipped(&mut self, field: Range<usize>, text: &[u8]) {
        let mut text: Vec<u8> = text.iter().copied().filter(u8::is_ascii).take(field.len()).collect();
        // Cut behind a slash it would look like a directory.
        if text.len() == field.len() {
            while text.last() == Some(&b'/') {
                text.pop();
            }
        }
        self.0[field][..text.len()].copy_from_slice(&text);
    }

    /// A long path as prefix and name (pax(1), "ustar Interchange Format"): at the last slash that leaves a prefix short
    /// enough. False if there is none.
    fn split(&mut self, path: &[u8]) -> bool {
        // The slash that ends a directory's path is none of those.
        let last = PREFIX.len().min(path.len().saturating_sub(2));
        let slash = path[..=last].iter().rposition(|byte| *byte == b'/');
        match slash {
            Some(slash) if slash > 0 && path.len() - slash - 1 <= NAME.len() && path.is_ascii() => {
                self.0[NAME].fill(0);
                self.text(PREFIX, &path[..slash]) && self.text(NAME, &path[slash + 1..])
            }
            _ => false,
        }
    }

    fn sealed(mut self) -> [u8; BLOCK] {
        self.0[CHECKSUM].copy_from_slice(b"        ");
        let sum: u32 = self.0.iter().map(|byte| u32::from(*byte)).sum();
        self.0[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0
    }
}
