//! Who owns the files of an image, where the disk cannot say so.
//!
//! With one mapped id every file belongs to the caller. The owner that the image names is written down twice: as
//! `user.rootlesscontainers`, the attribute that umoci and PRoot use, on files and directories; and in a table beside
//! the layer, since nothing else can carry such an attribute (xattr(7)), and since a device that could not be made is
//! an empty file. Pushing, saving and committing read the table.

use super::tar::{Entry, Kind};
use anyhow::{Context, Result, bail};
use std::collections::HashMap;
use std::io::{BufRead, Write};

/// The attribute (rootless-containers/proto, `message Resource { uint32 uid = 1; uint32 gid = 2; }`).
pub const ATTRIBUTE: &str = "user.rootlesscontainers";

/// The value of the attribute. As umoci does, nothing is said of root's files.
pub fn attribute(uid: u32, gid: u32) -> Option<Vec<u8>> {
    if (uid, gid) == (0, 0) {
        return None;
    }
    let mut bytes = Vec::new();
    for (field, value) in [(1u8, uid), (2, gid)] {
        // proto3 leaves out what is 0. The low bits of the key: a variable-length number.
        if value != 0 {
            bytes.push(field << 3);
            let mut rest = value;
            while rest >= 0x80 {
                bytes.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            bytes.push(rest as u8);
        }
    }
    Some(bytes)
}

/// The owner that the value of an attribute names; `None` if it is damaged or names none, as umoci's "leave it as it
/// is" (2^32 - 1) does. Containers can write what they like there.
pub fn of_attribute(value: &[u8]) -> Option<(u32, u32)> {
    let mut ids = [0u32; 2];
    let mut rest = value.iter();
    while let Some(key) = rest.next() {
        // A variable-length number, of which 32 bits count.
        let (mut id, mut shift) = (0u64, 0);
        loop {
            let byte = rest.next()?;
            id |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
            if shift > 28 {
                return None;
            }
        }
        let field = match key {
            0x08 => 0,
            0x10 => 1,
            _ => return None,
        };
        ids[field] = u32::try_from(id).ok().filter(|id| *id != u32::MAX)?;
    }
    Some((ids[0], ids[1]))
}

/// What the image says of one file and the disk does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The device that an empty file stands for: c or b, major and minor number.
    pub device: Option<(char, u32, u32)>,
}

impl Recorded {
    /// What is to be written down about an entry. `squashed`: its owner is not on disk, or something else was written
    /// down for its path.
    pub fn of(entry: &Entry, uid: u32, gid: u32, squashed: bool) -> Option<Recorded> {
        let device = match entry.kind {
            Kind::CharDevice => Some(('c', entry.device.0, entry.device.1)),
            Kind::BlockDevice => Some(('b', entry.device.0, entry.device.1)),
            _ => None,
        };
        (squashed || device.is_some()).then_some(Recorded { uid, gid, device })
    }
}

/// Writes one line of the table: `UID GID [c|b MAJOR MINOR] PATH`, with the bytes of the path that could be mistaken
/// escaped.
pub fn write_line(mut out: impl Write, path: &[u8], recorded: &Recorded) -> std::io::Result<()> {
    write!(out, "{} {} ", recorded.uid, recorded.gid)?;
    if let Some((kind, major, minor)) = recorded.device {
        write!(out, "{kind} {major} {minor} ")?;
    }
    writeln!(out, "/{}", path.escape_ascii())
}

/// Writes that a path is another name of what is at `target` now: `= PATH TARGET`, with a tab between the two. What was
/// written of the path before is true no more.
pub fn write_link(mut out: impl Write, path: &[u8], target: &[u8]) -> std::io::Result<()> {
    writeln!(out, "= /{}\t/{}", path.escape_ascii(), target.escape_ascii())
}

/// Reads a table. A path that is there twice has what its last line says.
pub fn read(table: impl BufRead) -> Result<HashMap<Vec<u8>, Recorded>> {
    let mut all = HashMap::new();
    for line in table.lines() {
        let line = line?;
        let damaged = || format!("{line:?}: not a line of owners");
        let (path, recorded) = match line.strip_prefix("= ") {
            Some(link) => {
                let (path, target) = read_link(link).with_context(damaged)?;
                (path, all.get(&target).copied())
            }
            None => read_line(&line).map(|(path, recorded)| (path, Some(recorded))).with_context(damaged)?,
        };
        match recorded {
            Some(recorded) => all.insert(path, recorded),
            None => all.remove(&path),
        };
    }
    Ok(all)
}

fn read_link(link: &str) -> Result<(Vec<u8>, Vec<u8>)> {
    let (path, target) = link.split_once('\t').context("no target")?;
    let path_of = |text: &str| text.strip_prefix('/').and_then(unescape).context("path");
    Ok((path_of(path)?, path_of(target)?))
}

fn read_line(line: &str) -> Result<(Vec<u8>, Recorded)> {
    let (words, path) = line.split_once('/').context("no path")?;
    let words: Vec<&str> = words.split_whitespace().collect();
    let (ids, device) = match words.as_slice() {
        [uid, gid] => ((uid, gid), None),
        [uid, gid, kind @ ("c" | "b"), major, minor] => {
            let kind = if *kind == "c" { 'c' } else { 'b' };
            ((uid, gid), Some((kind, major.parse()?, minor.parse()?)))
        }
        _ => bail!("neither an owner nor a device"),
    };
    Ok((unescape(path).context("path")?, Recorded { uid: ids.0.parse()?, gid: ids.1.parse()?, device }))
}

/// Undoes [`slice::escape_ascii`].
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next()? {
                b't' => b'\t',
                b'r' => b'\r',
                b'n' => b'\n',
                b'x' => {
                    let digits = [rest.next()?, rest.next()?];
                    u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
                }
                other => other,
            },
            byte => byte,
        });
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attribute_is_umocis() {
        assert_eq!(attribute(0, 0), None);
        assert_eq!(attribute(1, 0), Some(vec![0x08, 1]));
        assert_eq!(attribute(0, 42), Some(vec![0x10, 42]));
        assert_eq!(attribute(1000, 100), Some(vec![0x08, 0xe8, 0x07, 0x10, 100]));
        assert_eq!(attribute(u32::MAX, 0), Some(vec![0x08, 0xff, 0xff, 0xff, 0xff, 0x0f]));
        for ids in [(1, 0), (0, 42), (1000, 100), (127, 128), (u32::MAX - 1, 1 << 28)] {
            assert_eq!(of_attribute(&attribute(ids.0, ids.1).expect("not root's")), Some(ids));
        }
        assert_eq!(of_attribute(b""), Some((0, 0)));
        for damaged in [
            &b"\x08"[..],
            b"x",
            b"\x08\xff",
            b"\x18\x01",
            b"\x08\xff\xff\xff\xff\x0f",
            b"\x08\xff\xff\xff\xff\xff\xff\x01",
            b"\x08\x80\x80\x80\x80\x7f",
        ] {
            assert_eq!(of_attribute(damaged), None, "{}", damaged.escape_ascii());
        }
    }

    #[test]
    fn a_table_reads_as_it_was_written() {
        let plain = Recorded { uid: 1, gid: 2, device: None };
        let device = Recorded { uid: 0, gid: 5, device: Some(('c', 5, 1)) };
        let paths: [(&[u8], Recorded); 3] =
            [(b"etc/a b", plain), (b"dev/tty", device), (b"x\n\\\"'\xff\x00/\t y", plain)];
        let mut table = Vec::new();
        for (path, recorded) in &paths {
            write_line(&mut table, path, recorded).expect("memory");
        }
        let all = read(table.as_slice()).expect("valid");
        assert_eq!(all.len(), paths.len());
        for (path, recorded) in paths {
            assert_eq!(all.get(path), Some(&recorded), "{}", path.escape_ascii());
        }
    }

    #[test]
    fn another_name_has_what_the_first_one_had_then() {
        let recorded = |uid| Recorded { uid, gid: 0, device: None };
        let mut table = Vec::new();
        write_line(&mut table, b"a\tb", &recorded(1)).expect("memory");
        write_line(&mut table, b"root's no more", &recorded(2)).expect("memory");
        write_link(&mut table, b"link /", b"a\tb").expect("memory");
        write_line(&mut table, b"a\tb", &recorded(3)).expect("memory");
        write_link(&mut table, b"root's no more", b"of nobody").expect("memory");
        let all = read(table.as_slice()).expect("valid");
        let expected = [(b"a\tb".to_vec(), recorded(3)), (b"link /".to_vec(), recorded(1))];
        assert_eq!(all, HashMap::from(expected));
    }

    #[test]
    fn damaged_lines_are_errors() {
        for line in [
            "= /x",
            "= x\t/y",
            "= /x\ty",
            "=",
            "",
            "1 2",
            "1 /x",
            "x 2 /x",
            "1 2 d 1 2 /x",
            "1 2 c 1 /x",
            "1 2 /\\x",
            "1 2 /\\xzz",
        ] {
            assert!(read(line.as_bytes()).is_err() || line.is_empty(), "{line:?}");
        }
    }
}
