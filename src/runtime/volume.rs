//! The first use of a volume: an empty one gets what the image has in its place.
//!
//! Runs in: the container's namespaces, as root of the container's ids, before anything is mounted in the root
//! filesystem. The copy is made beside the volume's directory and takes its place at once: whoever dies in between leaves
//! an empty volume, and of two containers one fills it.

use crate::error::Advise;
use crate::storage::{copy, remove};
use crate::sys::mount::{self, place};
use crate::sys::{self, Named, path};
use anyhow::{Context, Result};
use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What the names of copies in the making begin with.
const MAKING: &str = ".copy-";

/// A volume's directory, which may be empty: found while this process still had the caller's own ids.
pub struct Unfilled {
    /// Where it is: what is copied goes beside it.
    parent: OwnedFd,
    name: OsString,
}

impl Unfilled {
    /// Finds it.
    pub fn find(path: &Path) -> Result<Unfilled> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            anyhow::bail!("{}: no volume can be there", path.display())
        };
        Ok(Unfilled { parent: place(parent)?, name: name.to_owned() })
    }

    /// Fills it with what `root` has at `target`, if it is empty and that is a directory. Returns a detached copy of its
    /// mount.
    pub fn fill(&self, root: BorrowedFd<'_>, target: &Path) -> Result<OwnedFd> {
        if path::is_empty(&remove::open_directory(self.parent.as_fd(), &self.name)?)? {
            if let Some(source) = source(root, target)? {
                self.copy(&source).context("fill the volume").maybe_hint(|| not_ours(self.parent.as_fd()))?;
            }
        }
        Ok(mount::clone_tree_in(self.parent.as_fd(), Path::new(&self.name), true)?)
    }

    fn copy(&self, source: &OwnedFd) -> Result<()> {
        let parent = self.parent.as_fd();
        sweep(parent)?;
        let (name, making) = make(parent)?;
        let filled = copy::tree(source.as_fd(), making.as_fd()).and_then(|()| {
            if !path::is_empty(source)? {
                // A volume is there to last: what its name stands for is on disk.
                rustix::fs::syncfs(&making).named(|| "syncfs".to_owned())?;
            }
            match rustix::fs::renameat(parent, &name, parent, &self.name) {
                // Somebody else was faster.
                Err(Errno::NOTEMPTY | Errno::EXIST) => remove::entry(parent, &name),
                renamed => Ok(renamed.named(|| "rename".to_owned())?),
            }
        });
        if filled.is_err() {
            // The error is what is told; what stays is swept by the next one.
            let _ = remove::entry(parent, &name);
        }
        filled
    }
}

/// What the image has there. What is mounted in its place is none of its files.
fn source(root: BorrowedFd<'_>, target: &Path) -> Result<Option<OwnedFd>> {
    let source = match path::open_in(root, target, OFlags::RDONLY | OFlags::DIRECTORY) {
        Ok(source) => source,
        Err(error) if matches!(error.errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => {
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let device = |fd: BorrowedFd<'_>| rustix::fs::fstat(fd).map(|stat| stat.st_dev).named(|| "fstat".to_owned());
    Ok((device(source.as_fd())? == device(root)?).then_some(source))
}

/// A new directory, locked as long as its maker lives. A sweep may come in between; then it is made again.
fn make(parent: BorrowedFd<'_>) -> Result<(OsString, OwnedFd)> {
    loop {
        let mut bytes = [0; 8];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).named(|| "getrandom".to_owned())?;
        let name = OsString::from(format!("{MAKING}{:016x}", u64::from_ne_bytes(bytes)));
        rustix::fs::mkdirat(parent, &name, Mode::RWXU).named(|| "mkdir".to_owned())?;
        let is_there = || rustix::fs::statat(parent, &name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        match remove::open_directory(parent, &name) {
            Ok(making) if lock(&making)? && is_there() => return Ok((name, making)),
            Ok(_) => {}
            Err(error) if sys::errno(&error) == Some(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Removes what those left who died.
fn sweep(parent: BorrowedFd<'_>) -> Result<()> {
    let list = || "read directory".to_owned();
    let directory = remove::open_directory(parent, OsStr::new("."))?;
    for item in Dir::read_from(&directory).named(list)? {
        let item = item.named(list)?;
        let name = OsStr::from_bytes(item.file_name().to_bytes());
        if !name.as_bytes().starts_with(MAKING.as_bytes()) {
            continue;
        }
        match remove::open_directory(parent, name) {
            Ok(making) if lock(&making)? => remove::entry(parent, name)?,
            Err(error) if sys::errno(&error) != Some(Errno::NOENT) => return Err(error),
            // In the making, or just gone.
            _ => {}
        }
    }
    Ok(())
}

/// False if somebody else holds it.
fn lock(directory: &OwnedFd) -> Result<bool> {
    match rustix::fs::flock(directory, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno).named(|| "flock".to_owned()).map_err(Into::into),
    }
}

/// A volume belongs to the caller, who may have no id here.
fn not_ours(parent: BorrowedFd<'_>) -> Option<String> {
    let overflow = |path: &str| fs_err::read_to_string(path).ok()?.trim().parse::<u32>().ok();
    let owner = rustix::fs::fstat(parent).ok()?.st_uid;
    (Some(owner) == overflow("/proc/sys/kernel/overflowuid")).then(|| {
        "volumes belong to you, and --userns leaves you out of the container: nocopy mounts it as it is".to_owned()
    })
}
