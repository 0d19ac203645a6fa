//! How somebody stays with a container: `-a`, `--detach-keys`, `--sig-proxy`. Pure.

use super::keys;
use anyhow::{Result, bail, ensure};

/// What somebody has of a container that runs in the foreground.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreground {
    /// `-a`: standard input, output, error; all where nothing was said.
    pub streams: [bool; 3],
    /// `--detach-keys`.
    pub keys: Vec<u8>,
    /// `--sig-proxy`: signals for rbox are signals for the container.
    pub proxy: bool,
}

impl Default for Foreground {
    fn default() -> Foreground {
        Foreground { streams: [true; 3], keys: keys::DEFAULT.to_vec(), proxy: true }
    }
}

impl Foreground {
    /// True if the container may have rbox's own streams, and rbox may end with it.
    pub fn is_plain(&self) -> bool {
        self.proxy && self.streams == [true; 3]
    }
}

/// Reads `-a`, each of them.
pub fn streams<S: AsRef<str>>(texts: &[S]) -> Result<[bool; 3]> {
    if texts.is_empty() {
        return Ok([true; 3]);
    }
    let mut streams = [false; 3];
    for text in texts {
        // As in docker, their case does not matter.
        match text.as_ref().to_ascii_lowercase().as_str() {
            "stdin" => streams[0] = true,
            "stdout" => streams[1] = true,
            "stderr" => streams[2] = true,
            _ => bail!("-a {}: stdin, stdout or stderr is wanted", text.as_ref()),
        }
    }
    Ok(streams)
}

/// Whoever stays cannot go.
pub fn check(is_detached: bool, attach: &[String]) -> Result<()> {
    ensure!(!is_detached || attach.is_empty(), "conflicting options: -a and -d");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_by_name() {
        assert_eq!(streams::<&str>(&[]).expect("none"), [true; 3]);
        assert_eq!(streams(&["stdout", "STDERR"]).expect("two"), [false, true, true]);
        assert!(streams(&["tty"]).is_err());
        assert!(Foreground::default().is_plain());
        assert!(!Foreground { streams: [true, true, false], ..Foreground::default() }.is_plain());
        assert!(check(true, &["stdin".to_owned()]).is_err());
    }
}
