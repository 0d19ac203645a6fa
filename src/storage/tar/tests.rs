//! Archives written by GNU tar, Python and by hand.

use super::*;
use std::io::Cursor;

/// A header by hand.
fn header(name: &str, kind: u8, size: &str) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..107].copy_from_slice(b"0000644");
    block[108..115].copy_from_slice(b"0000001");
    block[116..123].copy_from_slice(b"0000002");
    block[124..124 + size.len()].copy_from_slice(size.as_bytes());
    block[136..147].copy_from_slice(b"00000000003");
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    seal(block)
}

fn seal(mut block: [u8; BLOCK]) -> [u8; BLOCK] {
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}

/// Data filled up to a block.
fn data(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

fn entries(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, Error> {
    let mut reader = Reader::new(Cursor::new(bytes));
    let mut found = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let mut content = Vec::new();
        let mut buffer = [0; 100];
        loop {
            match reader.read_data(&mut buffer)? {
                0 => break,
                length => content.extend_from_slice(&buffer[..length]),
            }
        }
        found.push((entry, content));
    }
    Ok(found)
}

fn paths(bytes: &[u8]) -> Vec<String> {
    entries(bytes).expect("valid").iter().map(|(entry, _)| String::from_utf8_lossy(&entry.path).into_owned()).collect()
}

#[test]
fn a_plain_file() {
    let end = vec![0; 2 * BLOCK];
    let bytes = [header("a", b'0', "5").to_vec(), data("hello"), header("d/", b'5', "0").to_vec(), end].concat();
    let found = entries(&bytes).expect("valid");
    let (entry, content) = &found[0];
    assert_eq!((entry.kind, entry.path.as_slice(), content.as_slice()), (Kind::Regular, &b"a"[..], &b"hello"[..]));
    assert_eq!((entry.mode, entry.uid, entry.gid, entry.mtime, entry.size), (0o644, 1, 2, (3, 0), 5));
    assert_eq!(found[1].0.kind, Kind::Directory);
}

#[test]
fn data_that_nobody_reads_is_skipped() {
    let bytes = [header("a", b'0', "5").to_vec(), data("hello"), header("b", b'0', "0").to_vec()].concat();
    let mut reader = Reader::new(Cursor::new(bytes));
    reader.next_entry().expect("valid").expect("a");
    assert_eq!(reader.next_entry().expect("valid").expect("b").path, b"b");
    assert!(reader.next_entry().expect("valid").is_none(), "an archive may end without blocks of zeros");
}

#[test]
fn entries_without_data_have_none_whatever_their_size_says() {
    // Others skip the data, or take it for a header: here the next header follows at once, as for Go.
    for kind in *b"123456" {
        let bytes = [header("x", kind, "1000"), header("next", b'0', "0")].concat();
        assert_eq!(paths(&bytes), ["x", "next"]);
    }
}

#[test]
fn a_size_in_pax_is_the_size() {
    // CVE-2025-62518: a parser that takes the header's size would see an entry inside the data.
    let inner = header("inner", b'0', "0").to_vec();
    let pax = b"12 size=512\n";
    let bytes = [
        header("pax", b'x', &format!("{:o}", pax.len())).to_vec(),
        data(std::str::from_utf8(pax).expect("ascii")),
        header("outer", b'0', "0").to_vec(),
        inner,
        header("last", b'0', "0").to_vec(),
    ]
    .concat();
    assert_eq!(paths(&bytes), ["outer", "last"]);
}

#[test]
fn a_pax_value_may_have_newlines() {
    let record = "35 SCHILY.xattr.user.x=a\n9 path=z\n\n";
    assert_eq!(record.len(), 35);
    let bytes = [
        header("pax", b'x', &format!("{:o}", record.len())).to_vec(),
        data(record),
        header("name", b'0', "0").to_vec(),
    ]
    .concat();
    let found = entries(&bytes).expect("valid");
    assert_eq!(found[0].0.path, b"name");
    assert_eq!(found[0].0.xattrs, [(b"user.x".to_vec(), b"a\n9 path=z\n".to_vec())]);
}

#[test]
fn damaged_archives_are_errors() {
    let mut wrong_sum = header("a", b'0', "0");
    wrong_sum[0] = b'b';
    let mut negative = header("a", b'0', "0");
    negative[124..136].copy_from_slice(&[0xff; 12]);
    let mut huge = header("a", b'0', "0");
    huge[124..136].copy_from_slice(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff");
    let cases: [(&str, Vec<u8>); 9] = [
        ("no header", wrong_sum.to_vec()),
        ("no number", seal(negative).to_vec()),
        ("too large", seal(huge).to_vec()),
        ("unknown type", header("a", b'V', "0").to_vec()),
        ("ends within", header("a", b'0', "5").to_vec()),
        ("ends within", header("a", b'0', "0")[..100].to_vec()),
        ("more than 1 MiB", header("a", b'x', "77777777").to_vec()),
        ("after the end", [vec![0; BLOCK], header("a", b'0', "0").to_vec()].concat()),
        ("no number", header("a", b'0', "12x").to_vec()),
    ];
    for (words, bytes) in cases {
        let error = entries(&bytes).expect_err(words).to_string();
        assert!(error.contains(words), "{words}: {error}");
    }
}

#[test]
fn the_ends_of_pieces() {
    let piece = |offset, length| Piece { offset, length };
    assert!(sparse::check(&[piece(0, 5), piece(5, 5), piece(20, 0)], 20, 10).is_ok());
    for (pieces, size, data) in [
        (vec![piece(5, 5), piece(0, 5)], 20, 10),
        (vec![piece(0, 6), piece(5, 5)], 20, 11),
        (vec![piece(0, 21)], 20, 21),
        (vec![piece(u64::MAX, 2)], u64::MAX, 2),
        (vec![piece(0, 5)], 20, 6),
    ] {
        assert!(sparse::check(&pieces, size, data).is_err(), "{pieces:?}");
    }
}
