//! One header block.

use super::BLOCK;

/// Fields of the three formats lie at the same offsets: name, mode, uid, gid, size, mtime, checksum, type, link name;
/// then, by the magic, owner names, device numbers and either a prefix of the name or GNU's fields.
pub struct Header<'a>(pub &'a [u8; BLOCK]);

/// Which fields there are after the link name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// None.
    V7,
    /// Device numbers and a prefix of 155 bytes.
    Ustar,
    /// The same with a prefix of 131 bytes, for its times come after it.
    Star,
    /// Device numbers; no prefix.
    Gnu,
}

pub const NAME: std::ops::Range<usize> = 0..100;
pub const MODE: std::ops::Range<usize> = 100..108;
pub const UID: std::ops::Range<usize> = 108..116;
pub const GID: std::ops::Range<usize> = 116..124;
pub const SIZE: std::ops::Range<usize> = 124..136;
pub const MTIME: std::ops::Range<usize> = 136..148;
pub const CHECKSUM: std::ops::Range<usize> = 148..156;
pub const TYPE: usize = 156;
pub const LINK: std::ops::Range<usize> = 157..257;
pub const MAGIC: std::ops::Range<usize> = 257..265;
pub const MAJOR: std::ops::Range<usize> = 329..337;
pub const MINOR: std::ops::Range<usize> = 337..345;
pub const PREFIX: std::ops::Range<usize> = 345..500;
/// The most that fits in the fields of a device's numbers.
pub const DEVICE_NUMBER_MAX: u32 = 0o7777777;
const STAR_PREFIX: std::ops::Range<usize> = 345..476;
const STAR_TRAILER: std::ops::Range<usize> = 508..512;
/// GNU's old sparse files: four pieces, a flag that more follow, the real size.
pub const GNU_SPARSE: std::ops::Range<usize> = 386..482;
const GNU_MORE: usize = 482;
const GNU_REAL_SIZE: std::ops::Range<usize> = 483..495;

impl<'a> Header<'a> {
    /// True if the checksum field is the sum of the bytes, taken as unsigned or, as some old tars did, as signed.
    pub fn has_its_sum(&self) -> bool {
        let (mut unsigned, mut signed) = (0i64, 0i64);
        for (at, byte) in self.0.iter().enumerate() {
            let byte = if CHECKSUM.contains(&at) { b' ' } else { *byte };
            unsigned += i64::from(byte);
            signed += i64::from(byte as i8);
        }
        number(&self.0[CHECKSUM]).is_some_and(|sum| sum == unsigned || sum == signed)
    }

    /// The end of an archive is two blocks of zeros.
    pub fn is_zero(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }

    pub fn format(&self) -> Format {
        match &self.0[MAGIC] {
            b"ustar\x0000" if &self.0[STAR_TRAILER] == b"tar\0" => Format::Star,
            // Old writers put anything for the version.
            magic if magic.starts_with(b"ustar\0") => Format::Ustar,
            b"ustar  \0" => Format::Gnu,
            _ => Format::V7,
        }
    }

    pub fn kind(&self) -> u8 {
        self.0[TYPE]
    }

    /// The name with its prefix.
    pub fn path(&self) -> Vec<u8> {
        let name = text(&self.0[NAME]);
        let prefix = match self.format() {
            Format::Ustar => text(&self.0[PREFIX]),
            Format::Star => text(&self.0[STAR_PREFIX]),
            Format::V7 | Format::Gnu => b"",
        };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    pub fn link(&self) -> Vec<u8> {
        text(&self.0[LINK]).to_vec()
    }

    pub fn mode(&self) -> Option<i64> {
        number(&self.0[MODE])
    }

    pub fn uid(&self) -> Option<i64> {
        number(&self.0[UID])
    }

    pub fn gid(&self) -> Option<i64> {
        number(&self.0[GID])
    }

    pub fn size(&self) -> Option<i64> {
        number(&self.0[SIZE])
    }

    pub fn mtime(&self) -> Option<i64> {
        number(&self.0[MTIME])
    }

    /// Major and minor number; V7 has none.
    pub fn device(&self) -> Option<(i64, i64)> {
        if self.format() == Format::V7 {
            return Some((0, 0));
        }
        Some((number(&self.0[MAJOR])?, number(&self.0[MINOR])?))
    }

    /// The pieces of an old GNU sparse file, whether a block with more follows, and its size with holes.
    pub fn gnu_sparse(&self) -> Option<(&'a [u8], bool, i64)> {
        Some((&self.0[GNU_SPARSE], self.0[GNU_MORE] != 0, number(&self.0[GNU_REAL_SIZE])?))
    }
}

/// Up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    &field[..end]
}

/// A number: octal digits with spaces or NULs around them, or, if the first bit is set, two's complement in base 256
/// (GNU). An empty field is 0.
pub fn number(field: &[u8]) -> Option<i64> {
    let first = *field.first()?;
    if first & 0x80 != 0 {
        return base_256(field);
    }
    let is_space = |byte: &u8| matches!(byte, b' ' | 0);
    let from = field.iter().position(|byte| !is_space(byte)).unwrap_or(field.len());
    let digits = &field[from..];
    // What comes after a NUL does not count.
    let digits = &digits[..digits.iter().position(is_space).unwrap_or(digits.len())];
    let mut value: i64 = 0;
    for digit in digits {
        let digit = match digit {
            b'0'..=b'7' => i64::from(digit - b'0'),
            _ => return None,
        };
        value = value.checked_mul(8)?.checked_add(digit)?;
    }
    Some(value)
}

/// The bit above the value says that it is one; the next is its sign.
fn base_256(field: &[u8]) -> Option<i64> {
    let negative = field[0] & 0x40 != 0;
    let mut value: i128 = if negative { -1 } else { 0 };
    for (at, byte) in field.iter().enumerate() {
        let byte = match (at, negative) {
            (0, true) => byte | 0x80,
            (0, false) => byte & 0x7f,
            _ => *byte,
        };
        value = value.checked_mul(256)? | i128::from(byte);
        if value > i128::from(i64::MAX) || value < i128::from(i64::MIN) {
            return None;
        }
    }
    i64::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers() {
        for (field, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"644\0junk", Some(0o644)),
            (b"\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"77777777777\0", Some(0o77777777777)),
            (b"0000648\0", None),
            (b"-0000644", None),
            (b"\x80\0\0\0\0\0\0\x01", Some(1)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0", Some(i64::MIN)),
            (b"\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff", None),
        ] {
            assert_eq!(number(field), value, "{}", field.escape_ascii());
        }
    }
}
