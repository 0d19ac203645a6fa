//! Go's path.Match, which docker uses for names of images: `*` and `?` stand for anything but a slash, `[a-z]` and `[^a-z]`
//! for one character, `\` takes the next one as it is. The whole name must match.

use anyhow::{Result, ensure};

/// True if the pattern matches all of the name.
///
/// # Errors
/// The pattern is no pattern: a class that is empty or not closed, a `-` in it without two ends, a `\` at the end. It is
/// said whether the name matches up to there or not.
pub fn matches(pattern: &str, name: &str) -> Result<bool> {
    let pattern = read(pattern)?;
    let name: Vec<char> = name.chars().collect();
    let (mut at, mut position) = (0, 0);
    // Where the last star is, and up to which character of the name it has taken. Going back to the last one suffices:
    // what an earlier one could take more, the last one can take as well, and neither takes a slash.
    let mut star: Option<(usize, usize)> = None;
    while position < name.len() || at < pattern.len() {
        match (pattern.get(at), name.get(position)) {
            (Some(Piece::Star), _) => {
                star = Some((at, position));
                at += 1;
                continue;
            }
            (Some(piece), Some(c)) if piece.takes(*c) => {
                at += 1;
                position += 1;
                continue;
            }
            _ => {}
        }
        match star {
            Some((star_at, taken)) if name.get(taken).is_some_and(|c| *c != '/') => {
                star = Some((star_at, taken + 1));
                at = star_at + 1;
                position = taken + 1;
            }
            _ => return Ok(false),
        }
    }
    Ok(true)
}

enum Piece {
    Star,
    Any,
    One(char),
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl Piece {
    fn takes(&self, c: char) -> bool {
        match self {
            Piece::Star => false,
            Piece::Any => c != '/',
            Piece::One(one) => *one == c,
            // A class may take a slash, in Go too.
            Piece::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

fn read(text: &str) -> Result<Vec<Piece>> {
    let mut rest = text.chars().peekable();
    let mut pieces = Vec::new();
    while let Some(c) = rest.next() {
        pieces.push(match c {
            '*' => Piece::Star,
            '?' => Piece::Any,
            '\\' => {
                let next = rest.next();
                ensure!(next.is_some(), "{text:?}: nothing follows the last \\");
                Piece::One(next.unwrap_or_default())
            }
            '[' => {
                let negated = rest.next_if_eq(&'^').is_some();
                let mut ranges = Vec::new();
                while ranges.is_empty() || rest.next_if_eq(&']').is_none() {
                    let low = end_of_range(&mut rest);
                    let high = if rest.next_if_eq(&'-').is_some() { end_of_range(&mut rest) } else { low };
                    let range = low.zip(high);
                    ensure!(range.is_some(), "{text:?}: [ begins no class such as [a-z]");
                    ranges.extend(range);
                }
                Piece::Class { negated, ranges }
            }
            c => Piece::One(c),
        });
    }
    Ok(pieces)
}

/// A character of a class; `-` and `]` want a `\` before them.
fn end_of_range(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match rest.next()? {
        '-' | ']' => None,
        '\\' => rest.next(),
        c => Some(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go() {
        let table = [
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("abcd", "abc", false),
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "abc", true),
            ("*", "a/b", false),
            ("**", "a/b", false),
            ("*c", "abc", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("*/*", "library/debian", true),
            ("*/*", "debian", false),
            ("debian:*", "debian:13-slim", true),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("a?c", "a/c", false),
            ("a??c", "aéøc", true),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("ab[^b-d]", "abc", false),
            ("a[^a]b", "a/b", true),
            ("[z-a]", "m", false),
            ("[a-ζ]*", "α", true),
            ("[\\]a]", "]", true),
            ("[\\-x]", "-", true),
            ("[x\\-]", "z", false),
            ("[!a]", "!", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("*x", "xxx", true),
            ("a]", "a]", true),
        ];
        for (pattern, name, matched) in table {
            assert_eq!(matches(pattern, name).expect(pattern), matched, "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_no_pattern() {
        for pattern in ["[", "[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[^", "[^bc", "a[", "\\", "[\\", "[a\\", "[a-\\"]
        {
            for name in ["", "a", "nothing like it"] {
                assert!(matches(pattern, name).is_err(), "{pattern}");
            }
        }
    }

    #[test]
    fn many_stars_end_soon() {
        let name = "a".repeat(10_000);
        assert!(!matches(&format!("{}b", "a*".repeat(1000)), &name).expect("a pattern"));
    }
}
