//! Mutations of inputs that nothing is known of.

use super::Random;

/// Changes an input in one way or another. `other`: an input to take parts from.
pub fn mutate(random: &mut Random, input: &mut Vec<u8>, other: &[u8], words: &[&[u8]]) {
    let at = random.below(input.len() + 1);
    match random.below(12) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => input[at] = random.next() as u8,
        2 if at < input.len() => input[at] = *random.of(&[&0, &b' ', &b'/', &b'.', &b'0', &b'\n', &0x7f, &0x80, &0xff]),
        3 => drop(input.drain(random.range(input.len()))),
        4 => {
            let piece = input[random.range(input.len())].to_vec();
            insert(input, at, &piece);
        }
        5 => {
            let piece = &other[random.range(other.len())];
            insert(input, at, piece);
        }
        6 => {
            // The beginning of one and the end of another.
            input.truncate(at);
            input.extend_from_slice(&other[random.below(other.len() + 1)..]);
        }
        7 => {
            let number = random.number();
            let text = if random.one_in(2) { number.to_string() } else { (number as i64).to_string() };
            number_at(input, at, text.as_bytes());
        }
        8 if random.one_in(64) => {
            // A great many.
            let piece = input[random.range(input.len())].to_vec();
            let times = 1 << random.below(12);
            insert(input, at, &piece.repeat(times));
        }
        9 if !words.is_empty() => {
            let word = random.of(words);
            let end = input.len().min(at + word.len());
            input.splice(at..end, word.iter().copied());
        }
        _ if !words.is_empty() => insert(input, at, random.of(words)),
        _ => input.insert(at, random.next() as u8),
    }
}

fn insert(input: &mut Vec<u8>, at: usize, piece: &[u8]) {
    input.splice(at..at, piece.iter().copied());
}

/// Puts a number in the place of the next one.
fn number_at(input: &mut Vec<u8>, at: usize, text: &[u8]) {
    let start = input[at..].iter().position(u8::is_ascii_digit).map_or(at, |distance| at + distance);
    let end =
        input[start..].iter().position(|byte| !byte.is_ascii_digit()).map_or(input.len(), |length| start + length);
    input.splice(start..end, text.iter().copied());
}
