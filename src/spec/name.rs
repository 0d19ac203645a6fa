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

/// Checks a name that others look up: an alias in a network, a name in /etc/hosts. It is one word of files that know
/// commas, `#` and white space, and at most 253 bytes long (RFC 1035, section 3.1).
pub fn dns(text: &str) -> Result<()> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if !text.starts_with(is_good) || !text.chars().all(is_good) {
        bail!("\"{text}\" is not the name of a host: only [a-zA-Z0-9_.-] is allowed");
    }
    if text.len() > 253 {
        bail!("not the name of a host: longer than 253 bytes");
    }
    Ok(())
}

/// Checks the name of a network (docker and podman: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`).
pub fn network(text: &str) -> Result<()> {
    if text.is_empty() {
        bail!("network name cannot be empty");
    }
    let rest = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) || !text.chars().all(rest) {
        bail!("\"{text}\" is not the name of a network: only [a-zA-Z0-9][a-zA-Z0-9_.-]* is allowed");
    }
    // It is a part of names of files (NAME_MAX is 255).
    if text.len() > 128 {
        bail!("not the name of a network: longer than 128 bytes");
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
    fn networks_and_aliases() {
        for text in ["a", "0", "web-1", "A_b.c"] {
            network(text).expect(text);
            dns(text).expect(text);
        }
        dns("_srv").expect("an underscore");
        dns(&"a".repeat(253)).expect("long");
        for text in ["", "a/b", "a b", "a,b", "a\n", "#", "é", &"a".repeat(254)] {
            assert!(network(text).is_err() && dns(text).is_err(), "{text}");
        }
        assert!(network("-a").is_err() && network("..").is_err() && network(&"a".repeat(129)).is_err());
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
