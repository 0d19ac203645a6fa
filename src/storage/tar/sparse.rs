//! Sparse files: the archive has only the pieces that are not holes.

use super::header::number;
use super::{BLOCK, Piece};

/// More pieces than any file system makes of a file; each costs 16 bytes here.
pub const MAX_PIECES: usize = 1 << 20;
/// One piece in a GNU header: offset and length, 12 bytes each.
const GNU_PIECE: usize = 24;

/// Adds the pieces of a GNU header or extension block; an empty one ends the list.
pub fn gnu(fields: &[u8], pieces: &mut Vec<Piece>) -> Result<(), &'static str> {
    for field in fields.chunks_exact(GNU_PIECE) {
        if field[0] == 0 {
            break;
        }
        let read = |field: &[u8]| number(field).and_then(|number| u64::try_from(number).ok());
        let (Some(offset), Some(length)) = (read(&field[..12]), read(&field[12..])) else {
            return Err("sparse: a piece that is no number");
        };
        pieces.push(Piece { offset, length });
    }
    if pieces.len() > MAX_PIECES { Err("sparse: too many pieces") } else { Ok(()) }
}

/// The pieces of an extension block, and whether another one follows.
pub fn gnu_extension(block: &[u8; BLOCK], pieces: &mut Vec<Piece>) -> Result<bool, &'static str> {
    const PIECES: usize = 21;
    gnu(&block[..PIECES * GNU_PIECE], pieces)?;
    Ok(block[PIECES * GNU_PIECE] != 0)
}

/// Offsets and lengths in turn.
pub fn pairs(numbers: &[u64]) -> Result<Vec<Piece>, &'static str> {
    if numbers.len() % 2 != 0 {
        return Err("sparse: an offset without a length");
    }
    if numbers.len() / 2 > MAX_PIECES {
        return Err("sparse: too many pieces");
    }
    Ok(numbers.chunks_exact(2).map(|pair| Piece { offset: pair[0], length: pair[1] }).collect())
}

/// Pieces must be in order, not overlap, end within the file, and be as long together as the data in the archive.
pub fn check(pieces: &[Piece], size: u64, data: u64) -> Result<(), &'static str> {
    let (mut end, mut sum) = (0u64, 0u64);
    for piece in pieces {
        let next = piece.offset.checked_add(piece.length).ok_or("sparse: a piece beyond the end")?;
        if piece.offset < end || next > size {
            return Err("sparse: pieces out of order or beyond the end");
        }
        // Lengths of disjoint pieces cannot sum up to more than the size.
        sum += piece.length;
        end = next;
    }
    if sum == data { Ok(()) } else { Err("sparse: pieces and data differ in length") }
}
