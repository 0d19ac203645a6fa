//! What a layer may be packed with, told from its first bytes as docker does: media types lie.

use anyhow::{Result, bail};
use flate2::bufread::MultiGzDecoder;
use std::io::{BufReader, Cursor, Read};

/// zstd archives that need more memory than this (2^27 bytes) are refused, as by the zstd program itself.
const ZSTD_WINDOW_LOG: u32 = 27;
/// Beginnings of the formats (RFC 1952, RFC 8878, and those of bzip2 and xz).
const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const BZIP2: &[u8] = b"BZh";
const XZ: &[u8] = b"\xfd7zXZ\0";

/// As much as goes through at once.
pub const BUFFER: usize = 256 * 1024;

/// A packing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// None.
    Plain,
    /// gzip, of one or more members.
    Gzip,
    /// zstd, of one or more frames.
    Zstd,
}

/// Unpacks a stream, whatever it is packed with. What comes out is not buffered.
pub fn decode<'a>(mut source: impl Read + 'a) -> Result<(Compression, Box<dyn Read + 'a>)> {
    let mut start = [0; 6];
    let mut length = 0;
    while length < start.len() {
        match source.read(&mut start[length..])? {
            0 => break,
            read => length += read,
        }
    }
    let start = start[..length].to_vec();
    let is = |magic: &[u8]| start.starts_with(magic);
    let (gzip, zstd) = (is(GZIP), is(ZSTD));
    for (magic, name) in [(BZIP2, "bzip2"), (XZ, "xz")] {
        if is(magic) {
            bail!("packed with {name}, which no registry takes; pack it with gzip or zstd, or not at all");
        }
    }
    let source = BufReader::with_capacity(BUFFER, Cursor::new(start).chain(source));
    Ok(if gzip {
        (Compression::Gzip, Box::new(MultiGzDecoder::new(source)))
    } else if zstd {
        let mut plain = zstd::Decoder::with_buffer(source)?;
        plain.window_log_max(ZSTD_WINDOW_LOG)?;
        (Compression::Zstd, Box::new(plain))
    } else {
        (Compression::Plain, Box::new(source))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// Gives one byte at a time.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let length = buffer.len().min(1);
            self.0.read(&mut buffer[..length])
        }
    }

    fn plain(packed: &[u8]) -> (Compression, Vec<u8>) {
        let (compression, mut plain) = decode(Slow(packed)).expect("known");
        let mut bytes = Vec::new();
        plain.read_to_end(&mut bytes).expect("whole");
        (compression, bytes)
    }

    #[test]
    fn told_from_the_first_bytes() {
        let gzip = |bytes: &[u8]| {
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packed.write_all(bytes).expect("memory");
            packed.finish().expect("memory")
        };
        // Members and frames one after the other are one stream.
        let members = [gzip(b"hello "), gzip(b"world")].concat();
        assert_eq!(plain(&members), (Compression::Gzip, b"hello world".to_vec()));
        let frame = |bytes: &[u8]| zstd::encode_all(bytes, 1).expect("memory");
        assert_eq!(plain(&[frame(b"hello "), frame(b"world")].concat()), (Compression::Zstd, b"hello world".to_vec()));
        assert_eq!(plain(b"hello"), (Compression::Plain, b"hello".to_vec()));
        assert_eq!(plain(b""), (Compression::Plain, vec![]));
        assert!(decode(&b"BZh91AY"[..]).is_err());
    }

    #[test]
    fn a_stream_that_breaks_off_is_an_error() {
        let mut packed = zstd::encode_all(&b"hello"[..], 1).expect("memory");
        packed.truncate(packed.len() - 1);
        let (_, mut plain) = decode(packed.as_slice()).expect("known");
        assert!(plain.read_to_end(&mut Vec::new()).is_err());
    }
}
