//! What layers are packed with.

use super::{Target, kind_of};
use crate::storage::compression::{Compression, Encoder, decode};
use std::io::{Read, Write};

/// As much as comes out is looked at; the rest is for the limits of a worker.
const MOST: u64 = 16 << 20;

fn unpacked(bytes: &[u8]) -> Result<(Compression, Vec<u8>, Option<String>), String> {
    let (compression, plain) = decode(bytes).map_err(|error| kind_of(&error))?;
    let mut all = Vec::new();
    let error = plain.take(MOST).read_to_end(&mut all).err();
    Ok((compression, all, error.map(|error| kind_of(&error.into()))))
}

fn packed(bytes: &[u8], compression: Compression) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new(), compression, None).expect("the usual level");
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

#[test]
fn fuzz_compression() {
    let text: Vec<u8> = (0..2000u32).flat_map(|number| (number / 9).to_le_bytes()).collect();
    let mut seeds = vec![b"BZh91AY&SY".to_vec(), b"\xfd7zXZ\0".to_vec(), text.clone(), vec![]];
    for compression in [Compression::Gzip, Compression::Zstd] {
        let one = packed(&text, compression);
        seeds.extend([
            [one.as_slice(), &one].concat(),
            one,
            packed(b"", compression),
            packed(&[0; 100_000], compression),
        ]);
    }
    // Header fields of gzip that nobody writes: extra, name, comment, sum.
    seeds.push([b"\x1f\x8b\x08\x1e\0\0\0\0\0\x03\x02\0ab".as_slice(), b"name\0comment\0\0\0"].concat());
    let words: [&[u8]; 6] =
        [b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f"];
    Target { name: "compression", seeds, words: &words, longest: 64 << 10, mutate: None }.run(|bytes| {
        let (compression, plain, error) = unpacked(bytes)?;
        if compression != Compression::Plain && error.is_none() && (plain.len() as u64) < MOST / 16 {
            let (_, again, error) = unpacked(&packed(&plain, compression))?;
            assert!(error.is_none() && again == plain, "{error:?}");
        }
        Ok::<_, String>((compression as u8, error, plain.len().checked_ilog2()))
    });
}
