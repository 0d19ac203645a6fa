//! How much a tree takes.

use super::remove::open_directory;
use super::worker::{self, Task};
use crate::sys::Named;
use crate::userns::idmap::IdMaps;
use anyhow::Result;
use rustix::fs::{AtFlags, Dir, FileType};
use rustix::io::Errno;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The bytes of the files in a directory, each counted once whatever its names. Some may belong to any of the ids.
pub fn of_tree(dir: &Path, maps: IdMaps) -> Result<u64> {
    let mut child = worker::start(&Task::Measure { dir: dir.to_owned(), maps })?;
    drop(child.stdin.take());
    worker::result(child)
}

/// The same, by descriptor. What is deeper than descriptors go is not counted.
pub fn of_contents(directory: BorrowedFd<'_>) -> Result<u64> {
    let mut seen = HashSet::new();
    let mut bytes = 0;
    let mut open: Vec<(OwnedFd, Vec<OsString>)> = Vec::new();
    let (found, inner) = level(directory, &mut seen)?;
    bytes += found;
    open.push((directory.try_clone_to_owned()?, inner));
    while let Some((here, names)) = open.last_mut() {
        let Some(name) = names.pop() else {
            open.pop();
            continue;
        };
        let inner = match open_directory(here.as_fd(), &name) {
            // Somebody works in the tree.
            Err(error) if crate::sys::errno(&error) == Some(Errno::NOENT) => continue,
            inner => inner?,
        };
        let (found, names) = level(inner.as_fd(), &mut seen)?;
        bytes += found;
        if open.len() < 512 {
            open.push((inner, names));
        }
    }
    Ok(bytes)
}

/// The bytes of the files of one directory, and the names of directories in it.
fn level(directory: BorrowedFd<'_>, seen: &mut HashSet<(u64, u64)>) -> Result<(u64, Vec<OsString>)> {
    let (mut bytes, mut directories) = (0, Vec::new());
    let list = || "read directory".to_owned();
    for item in Dir::read_from(directory).named(list)? {
        let item = item.named(list)?;
        let name = OsStr::from_bytes(item.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let stat = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            stat => stat.named(|| format!("stat({})", name.to_string_lossy()))?,
        };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            directories.push(name.to_owned());
        } else if stat.st_nlink == 1 || seen.insert((stat.st_dev, stat.st_ino)) {
            bytes += stat.st_size as u64;
        }
    }
    Ok((bytes, directories))
}
