//! A container's directory on disk, with the upper layers of its overlays: locked while somebody is responsible for it,
//! filled with files of all of the caller's ids.

use super::container;
use super::ids::{self, Caller};
use super::record::ids_in;
use crate::spec::options::{IdMode, Options};
use crate::sys::{Alone, Named};
use crate::userns::write::HelperFailed;
use anyhow::Result;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// True if somebody is responsible for the container with this directory on disk.
pub fn is_locked(dir: &Path) -> Result<bool> {
    Ok(hold(dir)?.is_none() && dir.exists())
}

/// Makes the directory that those of containers are in, if it is missing.
///
/// ext4 looks for a free inode near those of the directory above, and passes over all that were deleted a short while ago:
/// with a container after the other that costs more than all else of a start. The flag has it spread them over the disk
/// (chattr(1), T). Other file systems do not know it.
pub fn base(dir: &Path) -> Result<()> {
    match rustix::fs::mkdir(dir, Mode::RWXU) {
        Err(Errno::EXIST) => return Ok(()),
        Err(Errno::NOENT) => fs_err::create_dir_all(dir)?,
        made => made.named(|| format!("mkdir({})", dir.display()))?,
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    if let Ok(fd) = rustix::fs::open(dir, flags, Mode::empty()) {
        // It is only faster with it.
        let _ = rustix::fs::ioctl_getflags(&fd)
            .and_then(|known| rustix::fs::ioctl_setflags(&fd, known | rustix::fs::IFlags::TOPDIR));
    }
    Ok(())
}

/// Makes a directory for upper layers, and locks it. A sweep may come in between; then it is made again.
pub fn make(dir: &Path) -> Result<(PathBuf, OwnedFd)> {
    loop {
        match rustix::fs::mkdir(dir, Mode::RWXU) {
            // A sweep that has not removed it yet.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).named(|| format!("mkdir({})", dir.display())).map_err(Into::into),
        }
        match lock(dir, OFlags::DIRECTORY) {
            Ok(Some(held)) if dir.exists() => return Ok((dir.to_owned(), held)),
            Ok(_) => {}
            Err(error) if crate::sys::errno(&error) == Some(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Takes part in the lock of a directory, so that nobody becomes responsible for it and nobody sweeps it; `None` if
/// somebody is, or the directory is gone.
pub fn hold(dir: &Path) -> Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(dir, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        file => file.named(|| format!("open({})", dir.display()))?,
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(errno).named(|| format!("flock({})", dir.display())).map_err(Into::into),
    }
}

/// Waits until nobody holds a directory's lock.
pub fn wait(dir: &Path) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let file = match rustix::fs::open(dir, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        file => file.named(|| format!("open({})", dir.display()))?,
    };
    rustix::io::retry_on_intr(|| rustix::fs::flock(&file, FlockOperation::LockShared))
        .named(|| format!("flock({})", dir.display()))?;
    Ok(())
}

/// Removes upper layers of containers that are no more.
pub fn sweep(base: &Path) -> Result<()> {
    for id in ids_in(base)? {
        let dir = base.join(&id);
        if let Ok(Some(_held)) = lock(&dir, OFlags::DIRECTORY) {
            let _ = remove(&dir);
        }
    }
    Ok(())
}

/// Removes directories of containers that are kept and whose maker died before their record was written.
pub fn sweep_unwritten(base: &Path) -> Result<()> {
    for id in ids_in(base)? {
        let dir = base.join(&id);
        let is_unwritten = || !dir.join(container::ABOUT).exists();
        if is_unwritten() {
            if let Ok(Some(_held)) = lock(&dir, OFlags::DIRECTORY) {
                if is_unwritten() {
                    let _ = remove(&dir);
                }
            }
        }
    }
    Ok(())
}

/// Removes a tree as root of a user namespace with all of the caller's ids: files in it belong to some of them, and the
/// kernel leaves a work directory of mode 0. Where the ids cannot be mapped, none were when it was filled.
pub fn remove(dir: &Path) -> Result<()> {
    // Mostly there is nothing in it, or nothing of others.
    if crate::storage::remove::tree(dir).is_ok() {
        return Ok(());
    }
    let remove = |id_mode| -> Result<()> {
        let maps = ids::ids(&Options { id_mode, ..Options::default() }, Caller::this())?.maps;
        crate::userns::run::run(&Alone::check()?, &maps, || {
            crate::storage::remove::tree(dir)?;
            Ok(0)
        })?;
        Ok(())
    };
    remove(IdMode::Auto).or_else(|error| match error.chain().any(|cause| cause.is::<HelperFailed>()) {
        true => remove(IdMode::Single),
        false => Err(error),
    })
}

/// Takes a lock without waiting; `None` if somebody holds it. Closed on exec, so that no payload keeps it.
pub fn lock(path: &Path, flags: OFlags) -> Result<Option<OwnedFd>> {
    let access = if flags.contains(OFlags::DIRECTORY) { OFlags::RDONLY } else { OFlags::RDWR };
    let file = rustix::fs::open(path, flags | access | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)
        .named(|| format!("open({})", path.display()))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(errno).named(|| format!("flock({})", path.display())).map_err(Into::into),
    }
}
