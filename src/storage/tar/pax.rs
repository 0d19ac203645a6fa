//! The records of a pax header: `LENGTH KEY=VALUE\n`, LENGTH being that of the whole record (pax(1), "pax Extended
//! Header").

use std::collections::HashSet;

/// The prefix of the keys that carry extended attributes.
pub const XATTR: &[u8] = b"SCHILY.xattr.";

/// What the records of one entry say.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Records {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u64>,
    pub gid: Option<u64>,
    pub mtime: Option<(i64, u32)>,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub sparse: Sparse,
}

/// GNU's keys about a sparse file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sparse {
    /// GNU.sparse.major and minor.
    pub version: (Option<u64>, Option<u64>),
    /// Offsets and lengths in turn: GNU.sparse.map, or collected from GNU.sparse.offset and numbytes.
    pub numbers: Option<Vec<u64>>,
    /// GNU.sparse.name.
    pub name: Option<Vec<u8>>,
    /// GNU.sparse.size or realsize.
    pub size: Option<u64>,
}

/// Reads all records. The error says what is wrong.
pub fn read(mut bytes: &[u8]) -> Result<Records, &'static str> {
    let mut records = Records::default();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|byte| *byte == b' ').ok_or("pax: a record without a length")?;
        let length = decimal(&bytes[..space]).ok_or("pax: a length that is no number")?;
        let length = usize::try_from(length).map_err(|_| "pax: a length that is no number")?;
        // The space, a key of one byte at least, "=" and the newline.
        if length < space + 4 || length > bytes.len() {
            return Err("pax: a record that ends elsewhere than it says");
        }
        let (record, rest) = bytes.split_at(length);
        let (b'\n', record) = (record[length - 1], &record[space + 1..length - 1]) else {
            return Err("pax: a record without a newline at its end");
        };
        let equals = record.iter().position(|byte| *byte == b'=').ok_or("pax: a record without =")?;
        take(&mut records, &record[..equals], &record[equals + 1..])?;
        bytes = rest;
    }
    keep_last(&mut records.xattrs);
    Ok(records)
}

/// A later record of an attribute takes the place of an earlier one. There may be 50000 in one header.
fn keep_last(xattrs: &mut Vec<(Vec<u8>, Vec<u8>)>) {
    let mut seen = HashSet::new();
    let mut is_last: Vec<bool> = xattrs.iter().rev().map(|(name, _)| seen.insert(name.clone())).collect();
    xattrs.retain(|_| is_last.pop().unwrap_or(true));
}

/// An empty value takes back what the header or an earlier record says.
fn take(records: &mut Records, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
    let number = || match value {
        b"" => Ok(None),
        value => decimal(value).map(Some).ok_or("pax: a value that is no number"),
    };
    let name = || match value {
        b"" => Ok(None),
        // Others would read the name up to there only.
        value if value.contains(&0) => Err("pax: a name with a NUL byte"),
        value => Ok(Some(value.to_vec())),
    };
    match key {
        b"path" => records.path = name()?,
        b"linkpath" => records.link = name()?,
        b"size" => records.size = number()?,
        b"uid" => records.uid = number()?,
        b"gid" => records.gid = number()?,
        b"mtime" => records.mtime = if value.is_empty() { None } else { Some(time(value).ok_or("pax: mtime")?) },
        b"GNU.sparse.major" => records.sparse.version.0 = number()?,
        b"GNU.sparse.minor" => records.sparse.version.1 = number()?,
        b"GNU.sparse.name" => records.sparse.name = name()?,
        b"GNU.sparse.size" | b"GNU.sparse.realsize" => records.sparse.size = number()?,
        b"GNU.sparse.map" => {
            let numbers: Option<Vec<u64>> =
                value.split(|byte| *byte == b',').filter(|part| !part.is_empty()).map(decimal).collect();
            records.sparse.numbers = Some(numbers.ok_or("pax: GNU.sparse.map")?);
        }
        b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
            let numbers = records.sparse.numbers.get_or_insert_default();
            // They come in pairs, the offset first.
            if (numbers.len() % 2 == 0) != (key == b"GNU.sparse.offset") {
                return Err("pax: GNU.sparse.offset and numbytes do not take turns");
            }
            numbers.push(number()?.ok_or("pax: an empty number")?);
        }
        key => {
            if let Some(attribute) = key.strip_prefix(XATTR).filter(|attribute| !attribute.is_empty()) {
                if attribute.contains(&0) {
                    return Err("pax: a name with a NUL byte");
                }
                records.xattrs.push((attribute.to_vec(), value.to_vec()));
            }
        }
    }
    Ok(())
}

/// Adds a record.
pub fn write(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // The space, the equals sign and the newline; and the digits of the length, which count themselves.
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// The text of a time: the inverse of what is read.
pub fn time_text((seconds, nanos): (i64, u32)) -> String {
    if nanos == 0 {
        return seconds.to_string();
    }
    let (sign, seconds, nanos) = match seconds {
        0.. => ("", seconds.unsigned_abs(), nanos),
        // -1.25 is a quarter before -1.
        _ => ("-", seconds.unsigned_abs() - 1, 1_000_000_000 - nanos),
    };
    let text = format!("{sign}{seconds}.{nanos:09}");
    text.trim_end_matches('0').to_owned()
}

/// Decimal digits only.
pub fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// `-12.5`: seconds, which may be before 1970, and nanoseconds, which count upwards.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let dot = text.iter().position(|byte| *byte == b'.').unwrap_or(text.len());
    let seconds = decimal(&text[..dot])?;
    let fraction = text.get(dot + 1..).unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanos = (0..9).fold(0, |nanos, at| nanos * 10 + u32::from(fraction.get(at).map_or(0, |digit| digit - b'0')));
    // Before 1970 there is one second more than after it.
    let before = || 0i64.checked_sub_unsigned(seconds);
    match (negative, nanos) {
        (false, nanos) => Some((i64::try_from(seconds).ok()?, nanos)),
        (true, 0) => Some((before()?, 0)),
        (true, nanos) => Some((before()?.checked_sub(1)?, 1_000_000_000 - nanos)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: &str) -> Vec<u8> {
        let rest = format!(" {key}={value}\n");
        let mut length = rest.len() + 1;
        while format!("{length}{rest}").len() != length {
            length += 1;
        }
        format!("{length}{rest}").into_bytes()
    }

    #[test]
    fn records_are_read() {
        let bytes = [
            record("path", "a\nb=c"),
            record("size", "8589934592"),
            record("mtime", "12.5"),
            record("SCHILY.xattr.user.x", "a\0b"),
            record("SCHILY.xattr.user.x", "c\nd"),
            record("comment", "nobody reads this"),
            record("uid", "1"),
            record("uid", ""),
        ]
        .concat();
        let records = read(&bytes).expect("valid");
        assert_eq!(records.path.as_deref(), Some(&b"a\nb=c"[..]));
        assert_eq!((records.size, records.uid, records.mtime), (Some(1 << 33), None, Some((12, 500_000_000))));
        assert_eq!(records.xattrs, [(b"user.x".to_vec(), b"c\nd".to_vec())]);
    }

    #[test]
    fn times() {
        for (text, value) in [
            ("0", Some((0, 0))),
            ("1.000000001", Some((1, 1))),
            ("1.0000000019", Some((1, 1))),
            ("-1", Some((-1, 0))),
            ("-1.25", Some((-2, 750_000_000))),
            ("1.", Some((1, 0))),
            (".5", None),
            ("1e3", None),
            ("", None),
            ("99999999999999999999", None),
            ("9223372036854775807.5", Some((i64::MAX, 500_000_000))),
            ("9223372036854775808", None),
            ("-9223372036854775808", Some((i64::MIN, 0))),
            ("-9223372036854775807.5", Some((i64::MIN, 500_000_000))),
            ("-9223372036854775808.5", None),
        ] {
            assert_eq!(time(text.as_bytes()), value, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for value in [
            (0, 0),
            (5, 1),
            (-1, 0),
            (-2, 750_000_000),
            (-1, 999_999_999),
            (1 << 40, 120_000_000),
            (i64::MIN, 0),
            (i64::MIN, 1),
        ] {
            assert_eq!(time(time_text(value).as_bytes()), Some(value), "{}", time_text(value));
        }
        // Around every length at which the length itself grows a digit.
        for length in (0..20).chain(85..110).chain(985..1010).chain([9_990, 9_991, 99_985, 99_990]) {
            let mut bytes = Vec::new();
            write(&mut bytes, b"path", &vec![b'x'; length + 1]);
            write(&mut bytes, b"uid", b"7");
            let records = read(&bytes).expect("valid");
            assert_eq!((records.path.map(|path| path.len()), records.uid), (Some(length + 1), Some(7)));
        }
    }

    #[test]
    fn of_many_attributes_the_last_ones_count() {
        let mut bytes = Vec::new();
        for number in 0..45_000 {
            write(&mut bytes, format!("SCHILY.xattr.{number:05x}").as_bytes(), b"");
        }
        write(&mut bytes, b"SCHILY.xattr.00000", b"last");
        assert!(bytes.len() < 1 << 20, "as many as there is room for");
        let records = read(&bytes).expect("valid");
        assert_eq!(records.xattrs.len(), 45_000);
        assert_eq!(records.xattrs.last(), Some(&(b"00000".to_vec(), b"last".to_vec())));
    }

    #[test]
    fn damaged_records_are_errors() {
        for bytes in [
            &b"path=x\n"[..],
            b"x path=x\n",
            b"999 path=x\n",
            b"11 path=x\n",
            b"5 path=x\n",
            b"9 pathxx\n",
            b"-9 path=x\n",
            b"12 path=a\0b\n",
            b"14 linkpath=\0\n",
            b"10 size=x\n",
            b"3 =\n",
            b"99999999999999999999999 path=x\n",
        ] {
            assert!(read(bytes).is_err(), "{}: {:?}", bytes.escape_ascii(), read(bytes));
        }
    }

    #[test]
    fn offsets_and_lengths_take_turns() {
        let well = [record("GNU.sparse.offset", "1"), record("GNU.sparse.numbytes", "2")].concat();
        assert_eq!(read(&well).expect("valid").sparse.numbers, Some(vec![1, 2]));
        let ill = [record("GNU.sparse.offset", "1"), record("GNU.sparse.offset", "2")].concat();
        assert!(read(&ill).is_err());
    }
}
