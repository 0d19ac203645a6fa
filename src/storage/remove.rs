//! Removing trees that somebody else has filled: by descriptors, following nothing.

use crate::sys::{self, Named};
use anyhow::Result;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// What an entry of a directory is, and whether it is a whiteout.
pub fn kind(parent: BorrowedFd<'_>, name: &OsStr) -> sys::Result<(FileType, bool)> {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
        .named(|| format!("stat({})", name.to_string_lossy()))?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    Ok((kind, kind == FileType::CharacterDevice && stat.st_rdev == 0))
}

/// Opens an entry that is a directory, to read and change it.
pub fn open_directory(parent: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, name, flags, Mode::empty()).named(|| format!("open({})", name.to_string_lossy()))?)
}

/// Removes an entry of a directory, with all that is below it. One that is not there is no error.
pub fn entry(parent: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    let call = || format!("remove({})", name.to_string_lossy());
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // Linux says ISDIR, POSIX PERM.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno).named(call).map_err(Into::into),
    }
    let directory = open_directory(parent, name)?;
    contents(directory.as_fd())?;
    drop(directory);
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno).named(call).map_err(Into::into),
    }
}

/// Removes everything in a directory.
pub fn contents(directory: BorrowedFd<'_>) -> Result<()> {
    for item in Dir::read_from(directory).named(|| "read directory".to_owned())? {
        let item = item.named(|| "read directory".to_owned())?;
        let name = OsStr::from_bytes(item.file_name().to_bytes());
        if name != "." && name != ".." {
            entry(directory, name)?;
        }
    }
    Ok(())
}
