//! Names that a user gives: of a container, of its host.

use anyhow::{Result, bail};

/// Checks `--name`: it becomes a part of paths and of commands (docker: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`).
pub fn container(text: &str) -> Result<()> {
    let rest = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) || !text.chars().all(rest) {
        bail!("not a name: only [a-zA-Z0-9][a-zA-Z0-9_.-]* is allowed");
    }
    if text.len() > 128 {
        bail!("not a name: longer than 128 bytes");
    }
    Ok(())
}

/// Checks `--hostname` or `--domainname`: the kernel takes 64 bytes of anything (sethostname(2)); files such as
/// /etc/hosts take one word.
pub fn host(text: &str) -> Result<()> {
    if text.is_empty() || text.len() > 64 {
        bail!("must be 1 to 64 bytes long");
    }
    if text.contains(|c: char| c.is_control() || c.is_whitespace()) {
        bail!("white space or control characters in it");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for text in ["a", "0", "web-1", "A_b.c"] {
            container(text).expect(text);
        }
        for text in ["", "-a", ".", "../x", "a/b", "a b", "é", &"a".repeat(129)] {
            assert!(container(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hosts() {
        for text in ["a", "web.example.org", &"a".repeat(64)] {
            host(text).expect(text);
        }
        for text in ["", "a b", "a\nb", "a\u{1b}", &"a".repeat(65)] {
            assert!(host(text).is_err(), "{text}");
        }
    }
}
