//! Removing trees that somebody else has filled: by descriptors, following nothing.

use crate::sys::{self, Named};
use anyhow::{Result, bail};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What an entry of a directory is, and whether it is a whiteout.
pub fn kind(parent: BorrowedFd<'_>, name: &OsStr) -> sys::Result<(FileType, bool)> {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
        .named(|| format!("stat({})", name.to_string_lossy()))?;
    Ok((FileType::from_raw_mode(stat.st_mode), is_whiteout(&stat)))
}

/// True for a character device 0/0.
pub fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Opens an entry that is a directory, to read and change it.
pub fn open_directory(parent: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, name, flags, Mode::empty()).named(|| format!("open({})", name.to_string_lossy()))?)
}

/// Likewise one that is to be emptied: its owner may always allow that himself, as with the work directory of an
/// overlay, which the kernel leaves without any permission.
pub fn open_to_empty(parent: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd> {
    match open_directory(parent, name) {
        Err(error) if sys::errno(&error) == Some(Errno::ACCESS) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let call = || format!("open({})", name.to_string_lossy());
            let directory = rustix::fs::openat(parent, name, flags, Mode::empty()).named(call)?;
            let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
            if rustix::fs::chmod(path, Mode::RWXU).is_err() {
                return Err(error);
            }
            open_directory(parent, name)
        }
        result => result,
    }
}

/// Removes an entry of a directory, with all that is below it. One that is not there is no error.
pub fn entry(parent: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    if unlinked(parent, name)? {
        return Ok(());
    }
    let directory = open_to_empty(parent, name)?;
    contents(directory.as_fd())?;
    drop(directory);
    removed(parent, name)
}

/// Removes a directory at a path with all that is below it.
pub fn tree(path: &Path) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { bail!("{}: no name", path.display()) };
    entry(sys::mount::place(parent)?.as_fd(), name)
}

/// As many levels are walked down at once, each with an open directory.
const DEPTH: usize = 64;

/// Removes everything in a directory, however deep: what is deep is moved up first.
pub fn contents(directory: BorrowedFd<'_>) -> Result<()> {
    let mut moved = 0;
    // Each round takes away what the one before has moved up.
    loop {
        let before = moved;
        level(directory, directory, 0, &mut moved)?;
        if moved == before {
            return Ok(());
        }
    }
}

fn level(top: BorrowedFd<'_>, directory: BorrowedFd<'_>, depth: usize, moved: &mut u64) -> Result<()> {
    let list = || "read directory".to_owned();
    // A directory of mode 0, as the kernel leaves one in a work directory, is read with the right to.
    for item in Dir::read_from(directory).named(list)? {
        let item = item.named(list)?;
        let name = OsStr::from_bytes(item.file_name().to_bytes());
        if name == "." || name == ".." || unlinked(directory, name)? {
            continue;
        }
        if depth == DEPTH {
            loop {
                let other = format!(".removed-{moved}");
                *moved += 1;
                match rustix::fs::renameat(directory, name, top, &other) {
                    Ok(()) => break,
                    // Somebody else's name.
                    Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                    Err(errno) => return Err(errno).named(|| format!("rename({})", name.to_string_lossy()))?,
                }
            }
            continue;
        }
        let inner = open_to_empty(directory, name)?;
        level(top, inner.as_fd(), depth + 1, moved)?;
        drop(inner);
        removed(directory, name)?;
    }
    Ok(())
}

/// Removes what is no directory, or an empty one, whatever its mode; false if it is another.
fn unlinked(parent: BorrowedFd<'_>, name: &OsStr) -> Result<bool> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        // Linux says ISDIR, POSIX PERM.
        Err(Errno::ISDIR | Errno::PERM) => Ok(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR).is_ok()),
        Err(errno) => Err(errno).named(|| format!("remove({})", name.to_string_lossy())).map_err(Into::into),
    }
}

fn removed(parent: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno).named(|| format!("remove({})", name.to_string_lossy())).map_err(Into::into),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deeper_than_descriptors_and_paths() {
        let dir = tempfile::tempdir().expect("a directory");
        let top = sys::mount::place(dir.path()).expect("there");
        let mut here = top.try_clone().expect("a descriptor");
        for number in 0..3000 {
            rustix::fs::mkdirat(&here, "d", Mode::RWXU).expect("made");
            if number % 100 == 0 {
                rustix::fs::symlinkat("/", &here, "link").expect("made");
            }
            here = open_directory(here.as_fd(), OsStr::new("d")).expect("opened");
        }
        let top = open_directory(top.as_fd(), OsStr::new(".")).expect("opened");
        contents(top.as_fd()).expect("removed");
        assert_eq!(std::fs::read_dir(dir.path()).expect("there").count(), 0);
    }
}
