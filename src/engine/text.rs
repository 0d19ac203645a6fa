//! Small files, read whole. A list reads a thousand of them: each call counts.

use crate::sys::{Named, Result};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::{read, retry_on_intr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Longer than most of them.
const ROOM: usize = 4096;

/// One on disk.
pub fn of(path: &Path) -> Result<Vec<u8>> {
    at(CWD, path)
}

/// The same by its name in a directory.
pub fn at(dir: BorrowedFd<'_>, path: &Path) -> Result<Vec<u8>> {
    let mut file = open(dir, path)?;
    // Less than there is room for comes at the end alone.
    whole(&mut file, path, |length| length < ROOM)
}

/// One of the kernel's, which comes in pieces of its choice.
pub fn of_kernel(path: &Path) -> Result<Vec<u8>> {
    let mut file = open(CWD, path)?;
    whole(&mut file, path, |length| length == 0)
}

fn open(dir: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd> {
    rustix::fs::openat(dir, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .named(|| format!("open({})", path.display()))
}

fn whole(file: &mut OwnedFd, path: &Path, is_end: impl Fn(usize) -> bool) -> Result<Vec<u8>> {
    let (mut text, mut piece) = (Vec::new(), [0; ROOM]);
    loop {
        let length = retry_on_intr(|| read(file.as_fd(), &mut piece)).named(|| format!("read({})", path.display()))?;
        text.extend_from_slice(&piece[..length]);
        if is_end(length) {
            return Ok(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_any_length() {
        let dir = tempfile::tempdir().unwrap();
        for length in [0, 1, ROOM - 1, ROOM, ROOM + 1, 3 * ROOM] {
            let path = dir.path().join("file");
            fs_err::write(&path, vec![b'x'; length]).unwrap();
            assert_eq!(of(&path).unwrap(), vec![b'x'; length]);
        }
        assert_eq!(of(&dir.path().join("none")).unwrap_err().errno, rustix::io::Errno::NOENT);
        let own = String::from_utf8(of_kernel(Path::new("/proc/self/maps")).unwrap()).unwrap();
        assert!(own.ends_with("\n") && own.contains("[stack]"), "{own}");
    }
}
