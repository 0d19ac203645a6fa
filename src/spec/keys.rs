//! `--detach-keys`: what is typed to leave a container and let it go on (docker's grammar; moby, `pkg/term/ascii.go`). Pure.

use anyhow::{Result, bail};

/// docker's default: Ctrl-P, Ctrl-Q.
pub const DEFAULT: [u8; 2] = [0x10, 0x11];

/// Reads `ctrl-p,ctrl-q`: single characters, or `ctrl-` and a letter or one of `@[\]^_`. Nothing at all is no way to leave.
pub fn parse(text: &str) -> Result<Vec<u8>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(',').map(key).collect()
}

fn key(text: &str) -> Result<u8> {
    let control = text.strip_prefix("ctrl-").map(str::as_bytes);
    match (control, text.as_bytes()) {
        (Some([letter @ (b'a'..=b'z' | b'A'..=b'Z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')]), _) => {
            Ok(letter.to_ascii_uppercase() & 0x1f)
        }
        (None, [key @ 0x20..=0x7e]) => Ok(*key),
        _ => bail!("{text}: neither a character nor ctrl- and a letter"),
    }
}

/// Looks for the keys in what is typed.
#[derive(Debug, Clone)]
pub struct Keys {
    wanted: Vec<u8>,
    /// So many of them were typed, and are held back.
    typed: usize,
}

impl Keys {
    /// These, in this order.
    pub fn new(wanted: Vec<u8>) -> Keys {
        Keys { wanted, typed: 0 }
    }

    /// What of these bytes is for the container; true if the keys were typed.
    pub fn pass(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        if self.wanted.is_empty() {
            return (bytes.to_vec(), false);
        }
        let mut passed = Vec::with_capacity(bytes.len());
        for byte in bytes {
            if self.wanted[self.typed] != *byte {
                // It was something else after all.
                passed.extend_from_slice(&self.wanted[..self.typed]);
                self.typed = 0;
            }
            if self.wanted[self.typed] == *byte {
                self.typed += 1;
            } else {
                passed.push(*byte);
            }
            if self.typed == self.wanted.len() {
                return (passed, true);
            }
        }
        (passed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar() {
        for (text, expected) in [
            ("ctrl-p,ctrl-q", &DEFAULT[..]),
            ("a", b"a"),
            ("ctrl-@,x", &[0, b'x']),
            ("ctrl-[,ctrl-_", &[27, 31]),
            ("", b""),
        ] {
            assert_eq!(parse(text).expect(text), expected, "{text}");
        }
        for text in ["ctrl-", "ctrl-1", "ab", "a,", "é", "ctrl-pp"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn keys_are_found_and_everything_else_passes() {
        let keys = || Keys::new(DEFAULT.to_vec());
        assert_eq!(keys().pass(b"ab\x10\x11c"), (b"ab".to_vec(), true));
        assert_eq!(keys().pass(b"\x10\x10\x11"), (b"\x10".to_vec(), true));
        assert_eq!(keys().pass(b"\x10a\x11"), (b"\x10a\x11".to_vec(), false));
        let mut split = keys();
        assert_eq!(split.pass(b"a\x10"), (b"a".to_vec(), false));
        assert_eq!(split.clone().pass(b"\x11"), (Vec::new(), true));
        assert_eq!(split.pass(b"b"), (b"\x10b".to_vec(), false));
        assert_eq!(Keys::new(Vec::new()).pass(b"\x10\x11"), (DEFAULT.to_vec(), false));
    }
}
