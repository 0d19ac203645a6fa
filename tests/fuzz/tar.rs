//! Tar archives: what is read of one is the same however it comes, and the same again after it was written.

use super::{Random, Target, kind_of};
use crate::storage::tar::{BLOCK, Entry, Error, Kind, Reader, Writer};
use std::io::{ErrorKind, Read};
use std::ops::Range;

/// More data than this is not kept, and what holes make longer is not filled.
const KEPT: u64 = 1 << 20;

const MODE: Range<usize> = 100..108;
const SIZE: Range<usize> = 124..136;
const MTIME: Range<usize> = 136..148;
const CHECKSUM: Range<usize> = 148..156;
const TYPE: usize = 156;
const LINK: Range<usize> = 157..257;
const MAGIC: Range<usize> = 257..265;

/// The fields that readers look at, GNU's and star's among them.
const FIELDS: [Range<usize>; 14] = [
    0..100,
    MODE,
    108..116,
    116..124,
    SIZE,
    MTIME,
    LINK,
    MAGIC,
    329..337,
    337..345,
    345..500,
    386..482,
    482..495,
    508..512,
];

/// Paths that lead somewhere else, or nowhere.
pub const PATHS: [&str; 36] = [
    "a",
    "a/",
    "a/b",
    "a/b/c",
    "b",
    "./",
    ".",
    "",
    "/",
    "..",
    "../x",
    "a/../b",
    "a/../../x",
    "/etc/passwd",
    "//a",
    "a//b",
    ".wh.a",
    ".wh..wh..opq",
    "a/.wh..wh..opq",
    ".wh..",
    ".wh...",
    ".wh.",
    ".wh..wh.x",
    "a/.wh.b",
    "a\0b",
    "é",
    "\u{fffd}\n",
    "link",
    "link/x",
    "link/../y",
    "precious",
    "../precious",
    "owners",
    "../owners",
    "/proc/self/root/x",
    "ddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd",
];

const KEYS: [&str; 19] = [
    "path",
    "linkpath",
    "size",
    "uid",
    "gid",
    "mtime",
    "GNU.sparse.major",
    "GNU.sparse.minor",
    "GNU.sparse.name",
    "GNU.sparse.size",
    "GNU.sparse.realsize",
    "GNU.sparse.map",
    "GNU.sparse.offset",
    "GNU.sparse.numbytes",
    "SCHILY.xattr.user.a",
    "SCHILY.xattr.security.capability",
    "SCHILY.xattr.user.overlay.opaque",
    "SCHILY.xattr.user.rootlesscontainers",
    "comment",
];

/// A header and its data without what fills the last block.
#[derive(Clone)]
pub struct Part {
    header: Vec<u8>,
    data: Vec<u8>,
}

impl Part {
    /// Made by hand.
    pub fn new(path: &[u8], kind: u8, link: &[u8], data: &[u8]) -> Part {
        let mut header = vec![0; BLOCK];
        put(&mut header, 0..100, path);
        put(&mut header, MODE, if kind == b'5' { b"0000755" } else { b"0000644" });
        put(&mut header, 108..116, b"0000000");
        put(&mut header, 116..124, b"0000000");
        put(&mut header, MTIME, b"00000001000");
        header[TYPE] = kind;
        put(&mut header, LINK, link);
        put(&mut header, MAGIC, b"ustar\x0000");
        let mut part = Part { header, data: data.to_vec() };
        part.fit();
        part
    }

    /// The size that the data has.
    fn fit(&mut self) {
        let size = format!("{:011o}", self.data.len());
        put(&mut self.header, SIZE, size.as_bytes());
    }
}

fn put(header: &mut [u8], field: Range<usize>, text: &[u8]) {
    let field = &mut header[field];
    field.fill(0);
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
}

pub fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
    let length = (rest.len()..).find(|length| length.to_string().len() + rest.len() == *length).unwrap_or_default();
    [length.to_string().as_bytes(), &rest].concat()
}

/// The parts of an archive, as most readers would see them.
pub fn split(mut bytes: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    while bytes.len() >= BLOCK {
        let (header, rest) = bytes.split_at(BLOCK);
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        let digits = &header[SIZE];
        let text = String::from_utf8_lossy(digits);
        let size = usize::from_str_radix(text.trim_matches(['\0', ' ']), 8).unwrap_or(0);
        let has_data = matches!(header[TYPE], b'0' | 0 | b'7' | b'S' | b'x' | b'g' | b'L' | b'K');
        let size = if has_data { size.min(rest.len()) } else { 0 };
        parts.push(Part { header: header.to_vec(), data: rest[..size].to_vec() });
        bytes = &rest[size.next_multiple_of(BLOCK).min(rest.len())..];
    }
    parts
}

/// With the sums that headers need.
pub fn join(parts: &[Part]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for Part { header, data } in parts {
        let mut header = header.clone();
        header[CHECKSUM].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        put(&mut header, CHECKSUM, format!("{sum:06o}\0 ").as_bytes());
        bytes.extend(header);
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    }
    bytes.resize(bytes.len() + 2 * BLOCK, 0);
    bytes
}

pub fn mutate(random: &mut Random, input: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    let mut parts = split(input);
    let at = random.below(parts.len() + 1);
    match random.below(10) {
        0 => parts.insert(at, fresh(random)),
        1 => {
            let donor = split(other);
            let range = random.range(donor.len());
            parts.splice(at..at, donor[range].iter().cloned());
        }
        2 if at < parts.len() => drop(parts.remove(at)),
        3 if at < parts.len() => {
            let to = random.below(parts.len());
            parts.swap(at, to);
        }
        4 => parts.insert(at, extension(random)),
        5 | 6 if at < parts.len() && matches!(parts[at].header[TYPE], b'x' | b'g') => {
            let added = pax_record(random);
            let data = &mut parts[at].data;
            let place = if random.one_in(4) { random.below(data.len() + 1) } else { data.len() };
            data.splice(place..place, added);
            parts[at].fit();
        }
        7 if at < parts.len() => {
            super::bytes::mutate(random, &mut parts[at].data, other, &[b"\n", b"=", b"0", b" "]);
            if !random.one_in(4) {
                parts[at].fit();
            }
        }
        _ if at < parts.len() => field(random, &mut parts[at].header),
        _ => return None,
    }
    Some(join(&parts))
}

fn fresh(random: &mut Random) -> Part {
    let kind = *random.of(&[&b'0', &b'0', &b'1', &b'2', &b'3', &b'4', &b'5', &b'5', &b'6', &b'7', &0, &b'S', &b'Z']);
    let (path, link) = (random.of(&PATHS), random.of(&PATHS));
    let data = if random.one_in(2) { vec![b'x'; random.below(1200)] } else { vec![] };
    Part::new(path.as_bytes(), kind, link.as_bytes(), &data)
}

/// An entry that says something of the next one.
fn extension(random: &mut Random) -> Part {
    let path = random.of(&PATHS).as_bytes();
    match random.below(6) {
        0 => Part::new(b"././@LongLink", b'L', b"", &[path, b"\0"].concat()),
        1 => Part::new(b"././@LongLink", b'K', b"", path),
        kind => {
            let records: Vec<u8> = (0..1 + random.below(4)).flat_map(|_| pax_record(random)).collect();
            Part::new(b"pax", if kind == 2 { b'g' } else { b'x' }, b"", &records)
        }
    }
}

fn pax_record(random: &mut Random) -> Vec<u8> {
    let key = random.of(&KEYS);
    if random.one_in(64) {
        // A great many.
        return (0..1 << random.below(15)).flat_map(|number| record(&format!("{key}{number}"), b"")).collect();
    }
    let number = random.number();
    let value = match random.below(7) {
        0 => random.of(&PATHS).to_owned(),
        1 => number.to_string(),
        2 => (number as i64).to_string(),
        3 => format!("{}.{}", number as i64, random.number()),
        4 => (0..random.below(8)).map(|_| (random.below(2000)).to_string()).collect::<Vec<_>>().join(","),
        5 => String::new(),
        _ => random.below(3).to_string(),
    };
    record(key, value.as_bytes())
}

fn field(random: &mut Random, header: &mut [u8]) {
    let range = FIELDS[random.below(FIELDS.len())].clone();
    let (number, width) = (random.number(), range.len());
    match random.below(9) {
        0 => put(header, range, format!("{number:0$o}", width - 1).as_bytes()),
        1 => put(header, range, format!("{:o}", random.below(4096)).as_bytes()),
        2 => {
            // Base 256.
            let bytes = if random.one_in(2) { i128::from(number) } else { i128::from(number as i64) }.to_be_bytes();
            put(header, range.clone(), &bytes[bytes.len() - width.min(bytes.len())..]);
            header[range.start] |= 0x80;
        }
        3 => put(header, range, random.of(&PATHS).as_bytes()),
        4 => {
            put(header, MAGIC, random.of(&[b"ustar\x0000".as_slice(), b"ustar  \0", b"ustar\0  ", b"", b"ustar\x0000"]))
        }
        5 => {
            header[TYPE] =
                *random.of(&[&0, &b'0', &b'1', &b'2', &b'5', &b'7', &b'S', &b'x', &b'g', &b'L', &b'K', &b'D'])
        }
        6 => put(header, 508..512, b"tar\0"),
        7 => {
            // Pieces of an old sparse file.
            let mut offset = 0;
            let mut at = 386;
            for _ in 0..random.below(5) {
                let length = random.below(1024);
                put(header, at..at + 12, format!("{offset:011o}").as_bytes());
                put(header, at + 12..at + 24, format!("{length:011o}").as_bytes());
                offset += length + random.below(4096);
                at += 24;
            }
            put(header, 483..495, format!("{offset:011o}").as_bytes());
            header[482] = u8::from(random.one_in(4));
        }
        _ => {
            let at = random.below(BLOCK);
            header[at] = random.next() as u8;
        }
    }
}

/// Gives a few bytes at a time.
struct Slow<'a> {
    bytes: &'a [u8],
    step: usize,
}

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.step = self.step % 7 + 1;
        let length = buffer.len().min(self.step * 37);
        self.bytes.read(&mut buffer[..length])
    }
}

type Entries = Vec<(Entry, Vec<u8>)>;

/// All entries with their data up to an error, which comes back too.
fn read(source: impl Read) -> (Entries, Option<Error>) {
    let mut reader = Reader::new(source);
    let mut entries = Entries::new();
    loop {
        let entry = match reader.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => return (entries, None),
            Err(error) => return (entries, Some(error)),
        };
        let mut data = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match reader.read_data(&mut buffer) {
                Ok(0) => break,
                Ok(length) => data.extend_from_slice(&buffer[..length]),
                Err(error) => return (entries, Some(error)),
            }
        }
        entries.push((entry, data));
    }
}

fn check(entry: &Entry, data: &[u8]) {
    assert!(entry.mode <= 0o7777 && entry.mtime.1 < 1_000_000_000, "{entry:?}");
    match &entry.pieces {
        Some(pieces) => {
            let mut end = 0;
            for piece in pieces {
                assert!(piece.offset >= end, "{entry:?}");
                end = piece.offset + piece.length;
            }
            assert!(end <= entry.size, "{entry:?}");
            assert_eq!(pieces.iter().map(|piece| piece.length).sum::<u64>(), data.len() as u64);
        }
        None if entry.kind == Kind::Regular => assert_eq!(entry.size, data.len() as u64),
        None => {}
    }
}

/// The data of a file with its holes.
fn whole(entry: &Entry, data: &[u8]) -> Option<Vec<u8>> {
    let Some(pieces) = &entry.pieces else { return Some(data.to_vec()) };
    let mut whole = vec![0; usize::try_from(entry.size).ok().filter(|size| *size as u64 <= KEPT)?];
    let mut rest = data;
    for piece in pieces {
        let (now, after) = rest.split_at(piece.length as usize);
        whole[piece.offset as usize..][..now.len()].copy_from_slice(now);
        rest = after;
    }
    Some(whole)
}

/// What an entry is after it was written.
fn written(entry: &Entry, nanoseconds: bool) -> Entry {
    let mut entry = entry.clone();
    if entry.kind == Kind::Directory && !entry.path.ends_with(b"/") {
        entry.path.push(b'/');
    }
    if !matches!(entry.kind, Kind::Hardlink | Kind::Symlink) {
        entry.link.clear();
    }
    if !matches!(entry.kind, Kind::CharDevice | Kind::BlockDevice) {
        entry.device = (0, 0);
    }
    if !nanoseconds {
        entry.mtime.1 = 0;
    }
    entry.pieces = None;
    entry.size = if entry.kind == Kind::Regular { entry.size } else { 0 };
    entry.xattrs.sort();
    entry
}

fn write_and_read(entries: &Entries, nanoseconds: bool) {
    let mut writer = Writer::new(Vec::new());
    if nanoseconds {
        writer = writer.with_nanoseconds();
    }
    let mut expected = Entries::new();
    for (entry, data) in entries {
        let Some(data) = whole(entry, data) else { continue };
        match writer.entry(entry) {
            Ok(()) => {
                let data = if entry.kind == Kind::Regular { data } else { vec![] };
                writer.data(&data).expect("as long as announced");
                expected.push((written(entry, nanoseconds), data));
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}"),
        }
    }
    let bytes = writer.finish().expect("written");
    let (found, error) = read(bytes.as_slice());
    assert!(error.is_none(), "{error:?}: {expected:?}");
    assert_eq!(found.len(), expected.len());
    for ((mut entry, data), (wanted, wanted_data)) in found.into_iter().zip(expected) {
        entry.xattrs.sort();
        assert_eq!(entry, wanted);
        assert!(data == wanted_data);
    }
}

fn test(bytes: &[u8]) -> (Vec<u8>, Option<String>) {
    let (entries, error) = read(bytes);
    for (entry, data) in &entries {
        check(entry, data);
    }
    let (slow, slow_error) = read(Slow { bytes, step: bytes.len() });
    assert!(slow == entries);
    let said = |error: Option<Error>| error.map(|error| error.to_string());
    let (error, slow_error) = (said(error), said(slow_error));
    assert_eq!(error, slow_error);
    write_and_read(&entries, true);
    write_and_read(&entries, false);
    (
        entries.iter().map(|(entry, _)| entry.kind as u8).collect(),
        error.map(|error| kind_of(&anyhow::Error::msg(error))),
    )
}

/// Archives of all formats.
pub fn seeds() -> Vec<Vec<u8>> {
    let file = |path: &str, data: &str| Part::new(path.as_bytes(), b'0', b"", data.as_bytes());
    let link = |path: &str, kind, to: &str| Part::new(path.as_bytes(), kind, to.as_bytes(), b"");
    let pax = |records: &[(&str, &str)]| {
        let records: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value.as_bytes())).collect();
        Part::new(b"pax", b'x', b"", &records)
    };
    let with = |mut part: Part, field: Range<usize>, text: &[u8]| {
        put(&mut part.header, field, text);
        part
    };
    let tree = [
        link("./", b'5', ""),
        link("a/", b'5', ""),
        file("a/b", "hello"),
        link("a/hard", b'1', "a/b"),
        link("link", b'2', "a"),
        file("link/x", "through"),
        link("fifo", b'6', ""),
        link("null", b'3', ""),
        link("loop0", b'4', ""),
    ];
    let white = [file(".wh.gone", ""), file("a/.wh..wh..opq", ""), link("a/", b'5', ""), file(".wh.a", "")];
    let extended = [
        pax(&[("path", "long/é"), ("uid", "3000000"), ("mtime", "-1.25"), ("SCHILY.xattr.user.a", "b\0c")]),
        file("x", "y"),
        pax(&[("linkpath", "a/b"), ("size", "0"), ("gid", "")]),
        link("x2", b'2', ""),
    ];
    let gnu = [
        Part::new(b"././@LongLink", b'L', b"", &[[b'n'; 300].as_slice(), b"\0"].concat()),
        with(file("n", "data"), MAGIC, b"ustar  \0"),
        Part::new(b"././@LongLink", b'K', b"", b"somewhere\0"),
        with(link("l", b'2', "s"), MAGIC, b"ustar  \0"),
    ];
    let mut old_sparse = with(Part::new(b"sparse", b'S', b"", &[b'p'; 600]), MAGIC, b"ustar  \0");
    for (at, number) in [(386, 0), (398, 512), (410, 4096), (422, 88), (483, 8192)] {
        put(&mut old_sparse.header, at..at + 12, format!("{number:011o}").as_bytes());
    }
    let sparse_0 = [
        pax(&[("GNU.sparse.offset", "0"), ("GNU.sparse.numbytes", "3"), ("GNU.sparse.size", "10")]),
        file("s0", "abc"),
        pax(&[("GNU.sparse.map", "1,2,5,1"), ("GNU.sparse.size", "10"), ("GNU.sparse.name", "s1")]),
        file("GNUSparseFile.0/s1", "abc"),
    ];
    let mut list = b"2\n0\n3\n100\n2\n".to_vec();
    list.resize(BLOCK, 0);
    list.extend_from_slice(b"abcde");
    let sparse_1 = [
        pax(&[
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.name", "s2"),
            ("GNU.sparse.realsize", "200"),
        ]),
        Part::new(b"GNUSparseFile.0/s2", b'0', b"", &list),
    ];
    let v7 = [with(with(file("old/", ""), MAGIC, b""), TYPE..TYPE + 1, b"\0"), with(file("v7", "x"), MAGIC, b"")];
    let star = [with(with(file("name", "x"), 345..476, b"prefix"), 508..512, b"tar\0")];
    let base_256 =
        [with(file("big", ""), 108..116, b"\x80\0\0\0\0\x30\0\0"), with(file("past", ""), MTIME, &[0xff; 12])];
    let global = [Part::new(b"g", b'g', b"", &record("comment", b"x")), file("after", "x")];
    let all: [&[Part]; 12] =
        [&tree, &white, &extended, &gnu, &[old_sparse], &sparse_0, &sparse_1, &v7, &star, &base_256, &global, &[]];
    all.iter().map(|parts| join(parts)).collect()
}

#[test]
fn fuzz_tar() {
    Target { name: "tar", seeds: seeds(), words: &[], longest: 2 << 20, mutate: Some(mutate) }.run(test);
}
