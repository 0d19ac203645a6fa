//! What a layer may be packed with; when it is read, told from its first bytes as docker does: media types lie.

use anyhow::{Result, bail, ensure};
use flate2::bufread::MultiGzDecoder;
use std::io::{BufReader, Chain, Cursor, Read, Write};

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

/// A stream of which the first bytes were looked at.
pub type Seen<R> = BufReader<Chain<Cursor<Vec<u8>>, R>>;

/// Tells what a stream is packed with; it comes back from its first byte on.
pub fn detect<R: Read>(mut source: R) -> Result<(Compression, Seen<R>)> {
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
    for (magic, name) in [(BZIP2, "bzip2"), (XZ, "xz")] {
        if is(magic) {
            bail!("packed with {name}, which no registry takes; pack it with gzip or zstd, or not at all");
        }
    }
    let compression = match (is(GZIP), is(ZSTD)) {
        (true, _) => Compression::Gzip,
        (_, true) => Compression::Zstd,
        _ => Compression::Plain,
    };
    Ok((compression, BufReader::with_capacity(BUFFER, Cursor::new(start).chain(source))))
}

/// Unpacks a stream, whatever it is packed with. What comes out is not buffered.
pub fn decode<'a>(source: impl Read + 'a) -> Result<(Compression, Box<dyn Read + 'a>)> {
    let (compression, source) = detect(source)?;
    Ok(match compression {
        Compression::Gzip => (compression, Box::new(MultiGzDecoder::new(source))),
        Compression::Zstd => {
            let mut plain = zstd::Decoder::with_buffer(source)?;
            plain.window_log_max(ZSTD_WINDOW_LOG)?;
            (compression, Box::new(plain))
        }
        Compression::Plain => (compression, Box::new(source)),
    })
}

/// The level of gzip if none is asked for, as the gzip program has it.
const GZIP_LEVEL: i32 = 6;
/// Likewise for zstd.
const ZSTD_LEVEL: i32 = 3;

/// Packs what is written to it.
pub enum Encoder<W: Write> {
    /// As it comes.
    Plain(W),
    /// Without a time or a name in the header: the same bytes in, the same bytes out.
    Gzip(flate2::write::GzEncoder<W>),
    /// With a checksum at the end.
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Encoder<W> {
    /// Packs for `sink`, which gets large pieces. `level`: 0 to 9 for gzip, 1 to 19 for zstd, whose higher ones need
    /// memory that readers may refuse; the usual one if none is given.
    pub fn new(sink: W, compression: Compression, level: Option<i32>) -> Result<Encoder<W>> {
        let within = |range: std::ops::RangeInclusive<i32>, usual: i32| {
            let level = level.unwrap_or(usual);
            ensure!(range.contains(&level), "compression level {level}: not {} to {}", range.start(), range.end());
            Ok(level)
        };
        Ok(match compression {
            Compression::Plain => {
                ensure!(level.is_none(), "compression level: there is no compression");
                Encoder::Plain(sink)
            }
            Compression::Gzip => {
                let level = flate2::Compression::new(within(0..=9, GZIP_LEVEL)? as u32);
                Encoder::Gzip(flate2::write::GzEncoder::new(sink, level))
            }
            Compression::Zstd => {
                let mut encoder = zstd::Encoder::new(sink, within(1..=19, ZSTD_LEVEL)?)?;
                encoder.include_checksum(true)?;
                Encoder::Zstd(encoder)
            }
        })
    }

    /// Writes what is left and the end of the stream, and gives the sink back.
    pub fn finish(self) -> std::io::Result<W> {
        match self {
            Encoder::Plain(sink) => Ok(sink),
            Encoder::Gzip(encoder) => encoder.finish(),
            Encoder::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Encoder::Plain(sink) => sink.write(bytes),
            Encoder::Gzip(encoder) => encoder.write(bytes),
            Encoder::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Encoder::Plain(sink) => sink.flush(),
            Encoder::Gzip(encoder) => encoder.flush(),
            Encoder::Zstd(encoder) => encoder.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn what_is_packed_unpacks() {
        let bytes: Vec<u8> = (0..300_000u32).flat_map(|number| (number / 9).to_le_bytes()).collect();
        for compression in [Compression::Plain, Compression::Gzip, Compression::Zstd] {
            let pack = || {
                let mut encoder = Encoder::new(Vec::new(), compression, None).expect("a level");
                for piece in bytes.chunks(70_001) {
                    encoder.write_all(piece).expect("memory");
                }
                encoder.finish().expect("memory")
            };
            let packed = pack();
            assert_eq!(packed, pack(), "{compression:?} is the same each time");
            let (found, mut reader) = decode(packed.as_slice()).expect("known");
            let mut unpacked = Vec::new();
            reader.read_to_end(&mut unpacked).expect("whole");
            assert_eq!(found, compression);
            assert!(unpacked == bytes, "{compression:?}");
            assert!(compression == Compression::Plain || packed.len() < bytes.len() / 2, "{compression:?}");
        }
    }

    #[test]
    fn levels() {
        for (compression, level, well) in [
            (Compression::Gzip, 0, true),
            (Compression::Gzip, 9, true),
            (Compression::Gzip, 10, false),
            (Compression::Gzip, -1, false),
            (Compression::Zstd, 19, true),
            (Compression::Zstd, 20, false),
            (Compression::Plain, 1, false),
        ] {
            assert_eq!(Encoder::new(Vec::new(), compression, Some(level)).is_ok(), well, "{compression:?} {level}");
        }
    }
}
