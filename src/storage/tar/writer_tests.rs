//! What is written is read again: by our own reader, by GNU tar and by Python.

use super::*;
use std::io::Write;
use std::process::{Command, Stdio};

fn entry(kind: Kind, path: &[u8]) -> Entry {
    Entry {
        kind,
        path: path.to_vec(),
        link: vec![],
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: (1_000_000_000, 0),
        size: 0,
        pieces: None,
        device: (0, 0),
        xattrs: vec![],
    }
}

fn archive(entries: &[(Entry, Vec<u8>)], nanoseconds: bool) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    if nanoseconds {
        writer = writer.with_nanoseconds();
    }
    for (entry, data) in entries {
        writer.entry(entry).expect("an entry");
        // In pieces, as files are read.
        for piece in data.chunks(700) {
            writer.data(piece).expect("data");
        }
    }
    writer.finish().expect("memory")
}

fn read(bytes: &[u8]) -> Vec<(Entry, Vec<u8>)> {
    let mut reader = Reader::new(bytes);
    let mut found = Vec::new();
    while let Some(entry) = reader.next_entry().expect("valid") {
        let mut data = vec![0; entry.size as usize];
        let mut filled = 0;
        while filled < data.len() {
            filled += reader.read_data(&mut data[filled..]).expect("data");
        }
        found.push((entry, data));
    }
    assert!(reader.into_inner().is_empty(), "something follows the archive");
    found
}

/// Numbers that look random and are the same in every run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// Components of any length and any bytes but NUL and the slash.
    fn path(&mut self, ascii: bool) -> Vec<u8> {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        for _ in 0..=self.below(5) {
            let length = 1 + self.below(120);
            let byte = |numbers: &mut Numbers| match numbers.one_of(&[true, true, ascii]) {
                true => b'a' + numbers.below(26) as u8,
                false => 1 + numbers.below(255) as u8,
            };
            let part = (0..length).map(|_| byte(self)).map(|byte| if byte == b'/' { b'_' } else { byte });
            parts.push(part.collect());
        }
        parts.join(&b'/')
    }

    fn entry(&mut self) -> (Entry, Vec<u8>) {
        let kind = self.one_of(&[
            Kind::Regular,
            Kind::Hardlink,
            Kind::Symlink,
            Kind::CharDevice,
            Kind::BlockDevice,
            Kind::Directory,
            Kind::Fifo,
        ]);
        let ascii = self.below(2) == 0;
        let mut made = entry(kind, &self.path(ascii));
        let id = [0, 1, 1000, 0o7777777, 0o10000000, u64::from(u32::MAX) - 1];
        (made.uid, made.gid) = (self.one_of(&id), self.one_of(&id));
        made.mode = self.one_of(&[0, 0o644, 0o4755, 0o7777]);
        made.mtime = (
            self.one_of(&[0, 1, -1, -5_000_000_000, 0o77777777777, 0o100000000000]),
            self.one_of(&[0, 1, 500_000_000, 999_999_999]),
        );
        let mut data = vec![];
        match kind {
            Kind::Regular => {
                data = vec![b'd'; self.one_of(&[0, 1, 511, 512, 513, 5000])];
                made.size = data.len() as u64;
            }
            Kind::Directory => made.path.push(b'/'),
            Kind::CharDevice | Kind::BlockDevice => made.device = (self.below(4096) as u32, self.below(1 << 20) as u32),
            Kind::Hardlink | Kind::Symlink => made.link = self.path(ascii),
            Kind::Fifo => {}
        }
        for number in 0..self.below(3) {
            let value: Vec<u8> = (0..self.below(200)).map(|_| self.below(256) as u8).collect();
            made.xattrs.push((format!("user.{number} \n").into_bytes(), value));
        }
        (made, data)
    }
}

#[test]
fn the_reader_reads_what_was_written() {
    let mut numbers = Numbers(0x5eed);
    for _ in 0..200 {
        let entries: Vec<_> = (0..5).map(|_| numbers.entry()).collect();
        assert_eq!(read(&archive(&entries, true)), entries);
        let whole_seconds: Vec<_> =
            entries.into_iter().map(|(entry, data)| (Entry { mtime: (entry.mtime.0, 0), ..entry }, data)).collect();
        assert_eq!(read(&archive(&whole_seconds, false)), whole_seconds);
    }
}

#[test]
fn plain_entries_have_one_block() {
    let long = [vec![b'p'; 155], vec![b'n'; 100]].join(&b'/');
    let entries = [
        (entry(Kind::Directory, b"usr"), vec![]),
        (Entry { size: 3, ..entry(Kind::Regular, b"usr/x") }, b"abc".to_vec()),
        (entry(Kind::Regular, &long), vec![]),
    ];
    let bytes = archive(&entries, false);
    assert_eq!(bytes.len(), BLOCK * (3 + 1 + 2), "a pax header where none is needed");
    assert!(bytes.starts_with(b"usr/\0"));
    assert_eq!(read(&bytes)[2].0.path, long);
    // One byte more, and it does not fit.
    let longer = [vec![b'p'; 155], vec![b'n'; 101]].join(&b'/');
    let bytes = archive(&[(entry(Kind::Regular, &longer), vec![])], false);
    assert_eq!(bytes.len(), BLOCK * (1 + 1 + 1 + 2));
    assert_eq!(read(&bytes)[0].0.path, longer);
    for path in [&b"\xff"[..], &[b'/'; 101], &[vec![b'p'; 120], b"/\xff".to_vec()].concat()] {
        let kind = if path.ends_with(b"/") { Kind::Directory } else { Kind::Regular };
        assert_eq!(read(&archive(&[(entry(kind, path), vec![])], false))[0].0.path, path);
    }
}

/// The sizes at which the field and the blocks end, without the data.
#[test]
fn large_files_have_their_size() {
    for size in [0o77777777777u64, 0o100000000000, 1 << 40] {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        writer.entry(&Entry { size, ..entry(Kind::Regular, b"large") }).expect("an entry");
        let error = writer.entry(&entry(Kind::Regular, b"next")).expect_err("data is missing");
        assert!(error.to_string().contains("less data"), "{error}");
        assert!(writer.finish().is_err());
        let found = Reader::new(bytes.as_slice()).next_entry().expect("valid").expect("one");
        assert_eq!(found.size, size);
    }
}

#[test]
fn what_cannot_be_said_is_refused() {
    let refused = |entry: Entry, why: &str| {
        let mut writer = Writer::new(Vec::new());
        let error = writer.entry(&entry).expect_err(why);
        assert!(error.to_string().contains(why), "{why}: {error}");
        assert_eq!(writer.finish().expect("memory").len(), 2 * BLOCK, "{why}: something was written");
    };
    refused(entry(Kind::Regular, b""), "empty");
    refused(entry(Kind::Directory, b""), "empty");
    refused(entry(Kind::Regular, b"a\0b"), "NUL");
    refused(entry(Kind::Regular, b"a/"), "slash");
    refused(entry(Kind::Symlink, b"a"), "target");
    refused(Entry { link: b"\0".to_vec(), ..entry(Kind::Symlink, b"a") }, "target");
    refused(Entry { size: u64::MAX, ..entry(Kind::Regular, b"a") }, "too large");
    refused(Entry { device: (1 << 21, 0), ..entry(Kind::CharDevice, b"a") }, "device");
    for (name, value, why) in
        [(&b"user.a=b"[..], vec![], "name"), (b"user.x", vec![0; 1 << 20], "1 MiB"), (b"", vec![], "name")]
    {
        refused(Entry { xattrs: vec![(name.to_vec(), value)], ..entry(Kind::Regular, b"a") }, why);
    }
    let mut writer = Writer::new(Vec::new());
    writer.entry(&Entry { size: 1, ..entry(Kind::Regular, b"a") }).expect("an entry");
    assert!(writer.data(b"ab").is_err(), "more than was announced");
}

/// Entries of every kind that other readers list.
fn for_others() -> Vec<(Entry, Vec<u8>)> {
    let deep = [vec![b'd'; 90], vec![b'e'; 90], vec![b'f'; 150]].join(&b'/');
    let mut entries: Vec<(Entry, Vec<u8>)> = vec![
        (entry(Kind::Directory, b"d/"), vec![]),
        (Entry { size: 5, uid: 1000, gid: 0o7777777, ..entry(Kind::Regular, b"d/file") }, b"hello".to_vec()),
        (Entry { size: 1, uid: 0o10000000, gid: 3_000_000, ..entry(Kind::Regular, &deep) }, b"x".to_vec()),
        (Entry { size: 2, ..entry(Kind::Regular, "d/k\u{e4}se".as_bytes()) }, b"yy".to_vec()),
        (Entry { link: b"d/file".to_vec(), ..entry(Kind::Hardlink, b"hard") }, vec![]),
        (Entry { link: vec![b'l'; 300], ..entry(Kind::Symlink, b"soft") }, vec![]),
        (entry(Kind::Fifo, b"fifo"), vec![]),
        (Entry { device: (5, 1), mode: 0o600, ..entry(Kind::CharDevice, b"char") }, vec![]),
        (Entry { device: (259, 70_000), ..entry(Kind::BlockDevice, b"block") }, vec![]),
        (Entry { mtime: (-5, 0), mode: 0o4755, ..entry(Kind::Regular, b"old") }, vec![]),
    ];
    entries.push((
        Entry {
            xattrs: vec![(b"user.x".to_vec(), b"1\n2".to_vec()), (b"user.a".to_vec(), b"v".to_vec())],
            size: 3,
            ..entry(Kind::Regular, b"attributes")
        },
        b"abc".to_vec(),
    ));
    entries
}

fn with_input(command: &mut Command, input: &[u8]) -> std::io::Result<std::process::Output> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().expect("a pipe").write_all(input).expect("read to its end");
    child.wait_with_output()
}

const PYTHON: &str = r#"
import sys, tarfile
kinds = {tarfile.REGTYPE: "Regular", tarfile.LNKTYPE: "Hardlink", tarfile.SYMTYPE: "Symlink", tarfile.FIFOTYPE: "Fifo",
    tarfile.CHRTYPE: "CharDevice", tarfile.BLKTYPE: "BlockDevice", tarfile.DIRTYPE: "Directory"}
for m in tarfile.open(fileobj=sys.stdin.buffer, mode="r|", encoding="utf-8", errors="surrogateescape"):
    attributes = sorted(k + "=" + v for k, v in m.pax_headers.items() if k.startswith("SCHILY.xattr."))
    size = m.size if m.isreg() else 0
    device = (m.devmajor, m.devminor) if m.isdev() and not m.isfifo() else (0, 0)
    print(repr((kinds[m.type], m.name, m.linkname, m.mode, m.uid, m.gid, int(m.mtime), size, device, attributes)))
"#;

#[test]
fn python_reads_what_was_written() {
    let entries = for_others();
    let output = match with_input(Command::new("python3").args(["-c", PYTHON]), &archive(&entries, false)) {
        Ok(output) => output,
        Err(error) => return eprintln!("skip: python3: {error}"),
    };
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), entries.len(), "{text}");
    for ((entry, _), line) in entries.iter().zip(lines) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes.strip_suffix(b"/").unwrap_or(bytes)).into_owned();
        let mut attributes: Vec<String> = entry
            .xattrs
            .iter()
            .map(|(name, value)| format!("'SCHILY.xattr.{}={}'", text(name), value.escape_ascii()))
            .collect();
        attributes.sort();
        let expected = format!(
            "('{:?}', '{}', '{}', {}, {}, {}, {}, {}, ({}, {}), [{}])",
            entry.kind,
            text(&entry.path),
            text(&entry.link),
            entry.mode,
            entry.uid,
            entry.gid,
            entry.mtime.0,
            entry.size,
            entry.device.0,
            entry.device.1,
            attributes.join(", ")
        );
        assert_eq!(line, expected);
    }
}

#[test]
fn gnu_tar_reads_what_was_written() {
    let mut list = Command::new("tar");
    list.args(["-tv", "--numeric-owner", "--utc", "--quoting-style=escape", "--full-time"]).env("LC_ALL", "C");
    let output = match with_input(&mut list, &archive(&for_others(), false)) {
        Ok(output) => output,
        Err(error) => return eprintln!("skip: tar: {error}"),
    };
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let long = "l".repeat(300);
    let deep = format!("{}/{}/{}", "d".repeat(90), "e".repeat(90), "f".repeat(150));
    let expected = [
        vec!["drw-r--r--", "0/0", "0", "d/"],
        vec!["-rw-r--r--", "1000/2097151", "5", "d/file"],
        vec!["-rw-r--r--", "2097152/3000000", "1", &deep],
        vec!["-rw-r--r--", "0/0", "2", "d/k\\303\\244se"],
        vec!["hrw-r--r--", "0/0", "0", "hard", "link", "to", "d/file"],
        vec!["lrw-r--r--", "0/0", "0", "soft", "->", &long],
        vec!["prw-r--r--", "0/0", "0", "fifo"],
        vec!["crw-------", "0/0", "5,1", "char"],
        vec!["brw-r--r--", "0/0", "259,70000", "block"],
        vec!["-rwsr-xr-x", "0/0", "0", "old"],
        vec!["-rw-r--r--", "0/0", "3", "attributes"],
    ];
    for (line, expected) in lines.iter().zip(&expected) {
        // Words 3 and 4 are the time.
        let date = if expected[3] == "old" { ["1969-12-31", "23:59:55"] } else { ["2001-09-09", "01:46:40"] };
        assert_eq!(line[3..5], date);
        let without: Vec<&str> =
            line.iter().enumerate().filter(|(at, _)| !(3..5).contains(at)).map(|(_, w)| *w).collect();
        assert_eq!(&without, expected);
    }
    assert_eq!(lines.len(), expected.len(), "{text}");
}
