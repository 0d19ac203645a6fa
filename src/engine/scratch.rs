//! A container's directory on disk, with the upper layers of its overlays: locked while somebody is responsible for it,
//! filled with files of all of the caller's ids.
//!
//! One of a container with `--rm` that changed nothing is left for the next: on a disk, making and removing a handful of
//! directories takes as long as the rest of a start (docs/design/008-keeping.md). It is free if its `container.json` is
//! blank and nobody holds its lock.

use super::container::ABOUT;
use super::ids::{self, Caller};
use super::record::ids_in;
use crate::runtime::overlay;
use crate::spec::options::{IdMode, Options};
use crate::storage;
use crate::sys::{Alone, Named, path};
use crate::userns::write::HelperFailed;
use anyhow::{Result, ensure};
use rustix::fs::{FlockOperation, IFlags, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// True if somebody is responsible for the container with this directory on disk. The lock is tried for as one of many, so
/// that two who ask do not take one another for that somebody.
pub fn is_locked(dir: &Path) -> Result<bool> {
    open(dir)?.map_or(Ok(false), |open| is_locked_there(&open, dir))
}

/// A directory on disk, if it is there.
pub(super) fn open(dir: &Path) -> Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::open(dir, flags, Mode::empty()) {
        Err(Errno::NOENT) => Ok(None),
        fd => Ok(Some(fd.named(|| format!("open({})", dir.display()))?)),
    }
}

/// The same of one that is open.
pub(super) fn is_locked_there(fd: &OwnedFd, dir: &Path) -> Result<bool> {
    match rustix::fs::flock(fd, FlockOperation::NonBlockingLockShared) {
        // Whoever comes next is not to take this one for somebody.
        Ok(()) => rustix::fs::flock(fd, FlockOperation::Unlock).map(|()| false).map_err(Into::into),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(errno) => Err(errno).named(|| format!("flock({})", dir.display())).map_err(Into::into),
    }
}

/// Makes the directory that those of containers are in, if it is missing.
pub fn base(dir: &Path) -> Result<()> {
    match rustix::fs::mkdir(dir, Mode::RWXU) {
        Err(Errno::EXIST) => Ok(()),
        Err(Errno::NOENT) => Ok(fs_err::create_dir_all(dir)?),
        made => Ok(made.named(|| format!("mkdir({})", dir.display()))?),
    }
}

/// Makes a directory for upper layers, and locks it. A sweep may come in between; then it is made again.
pub fn make(dir: &Path) -> Result<(PathBuf, OwnedFd)> {
    loop {
        // Whoever sweeps may have taken it for one that is left, and hold it still.
        match rustix::fs::mkdir(dir, Mode::RWXU) {
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

/// How long one waits for somebody who only looks.
const MOMENT: u32 = 20;

/// Takes the lock of a directory; `None` if somebody holds it, or the directory is gone.
pub fn hold(dir: &Path) -> Result<Option<OwnedFd>> {
    for _ in 0..MOMENT {
        match lock(dir, OFlags::DIRECTORY) {
            Err(error) if crate::sys::errno(&error) == Some(Errno::NOENT) => return Ok(None),
            Ok(None) => std::thread::sleep(Duration::from_millis(1)),
            result => return result,
        }
    }
    Ok(None)
}

/// Waits until nobody holds a directory's lock, or it is gone; false if that takes longer than `patience`.
pub fn wait(dir: &Path, patience: Duration) -> Result<bool> {
    let start = Instant::now();
    // There is no waiting for a lock with an end.
    while is_locked(dir)? {
        if start.elapsed() > patience {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(true)
}

/// As many are left for the next containers.
const FREE: usize = 8;

/// Takes a free directory, if there is one, and removes upper layers of containers that are no more.
pub fn take(base: &Path) -> Result<Option<(PathBuf, OwnedFd)>> {
    let mut taken = None;
    for id in ids_in(base)? {
        let dir = base.join(&id);
        let Ok(Some(held)) = lock(&dir, OFlags::DIRECTORY) else { continue };
        match is_blank(&dir.join(ABOUT)) {
            true if taken.is_none() => taken = Some((dir, held)),
            true => {}
            false => drop(remove(&dir)),
        }
    }
    Ok(taken)
}

/// Removes upper layers of containers that are no more.
pub fn sweep(base: &Path) -> Result<()> {
    take(base).map(drop)
}

/// Writes a record in the place of an earlier one, which is no longer: no file is made, and none gets shorter.
pub fn overwrite(file: &Path, mut text: Vec<u8>) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let named = || file.display().to_string();
    let fd = rustix::fs::open(file, flags, Mode::RUSR | Mode::WUSR).named(named)?;
    let known = rustix::fs::fstat(&fd).named(named)?.st_size as usize;
    // JSON may end with blanks.
    text.resize(text.len().max(known).max(1), b' ');
    let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(&fd, &text, 0)).named(named)?;
    ensure!(written == text.len(), "{}: a short write", file.display());
    Ok(())
}

fn is_blank(file: &Path) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut first = [0; 1];
    rustix::fs::open(file, flags, Mode::empty())
        .is_ok_and(|fd| matches!(rustix::io::read(&fd, &mut first), Ok(1)) && first == *b" ")
}

/// Leaves a directory for the next container if it is as it was made, and removes it otherwise.
pub fn give_back(dir: &Path) -> Result<()> {
    match renew(dir) {
        Ok(true) => Ok(()),
        _ => remove(dir),
    }
}

/// True if nothing of the last container is left in it. In the work directory the kernel leaves nothing of one that has changed
/// nothing, but for the marks that are gone by now.
fn renew(dir: &Path) -> Result<bool> {
    let is_usual = |name: &String| name == "0" || name == ABOUT;
    let base = dir.parent().unwrap_or(Path::new("/"));
    if !ids_in(dir)?.iter().all(is_usual) || ids_in(base)?.len() > FREE {
        return Ok(false);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // The container's root may have been given to another of its users, or have got attributes.
    let upper = rustix::fs::open(dir.join("0/upper"), flags, Mode::empty()).named(|| "open(upper)".to_owned())?;
    let stat = rustix::fs::fstat(&upper).named(|| "fstat(upper)".to_owned())?;
    let is_ours = (stat.st_uid, stat.st_gid) == (crate::sys::ids::uid(), crate::sys::ids::gid());
    if !is_ours || has_attributes(&upper) || !path::is_empty(&upper)? {
        return Ok(false);
    }
    overwrite(&dir.join(ABOUT), Vec::new())?;
    Ok(true)
}

/// True if a directory has flags, extended attributes or access lists, but for the kernel's own name of an overlay.
fn has_attributes(directory: &OwnedFd) -> bool {
    // Those that whoever owns it can set (chattr(1)), and what is made in it has then, too. Not every file system knows them.
    let settable = IFlags::APPEND
        | IFlags::COMPRESSED
        | IFlags::DIRSYNC
        | IFlags::NOATIME
        | IFlags::NOCOW
        | IFlags::NODUMP
        | IFlags::SYNC
        | IFlags::TOPDIR;
    if rustix::fs::ioctl_getflags(directory).is_ok_and(|flags| flags.intersects(settable)) {
        return true;
    }
    let mut names = [0; 256];
    match rustix::fs::flistxattr(directory, &mut names) {
        Ok(length) => names[..length].split_inclusive(|byte| *byte == 0).any(|name| name != b"user.overlay.uuid\0"),
        // On a file system without any there are none.
        Err(errno) => errno != Errno::NOTSUP,
    }
}

/// Takes away what the container's first process has put aside, an overlay's work directory of before.
pub fn forget_old(dir: &Path) -> Result<()> {
    let own = crate::sys::mount::place(&dir.join("0"))?;
    storage::remove::entry(own.as_fd(), OsStr::new(overlay::OLD))
}

/// Takes away what the kernel has left in the work directory of a mounted overlay so that the next mount is refused (kernel,
/// overlayfs.rst, "Volatile mount"): it looks for it only then. While the container runs there is time for that. False if there is
/// anything else.
pub fn forget_marks(dir: &Path) -> Result<bool> {
    let work = crate::sys::mount::place(&dir.join("0/work"))?;
    let inner = storage::remove::open_to_empty(work.as_fd(), OsStr::new("work"))?;
    storage::remove::entry(inner.as_fd(), OsStr::new("incompat"))?;
    Ok(path::is_empty(&inner)?)
}

/// Takes away the directory of a container that is kept, whose lock is held: first its name, in one step, then what is in
/// it. Whoever dies meanwhile leaves the rest to the next sweep.
pub fn discard(dir: &Path, place: &Path) -> Result<()> {
    let aside = place.join(super::record::random_id()?);
    let renamed = || Ok(rustix::fs::rename(dir, &aside).named(|| format!("rename({})", dir.display()))?);
    match base(place).and_then(|()| renamed()) {
        // There is not even room for a name.
        Err(error) if crate::sys::is_full(&error) => return remove(dir),
        result => result?,
    }
    // So that it is taken neither for a container nor for one that is left for the next.
    match rustix::fs::unlink(aside.join(ABOUT)) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno).named(|| format!("remove({})", aside.display())).map_err(Into::into),
    }
    remove(&aside)
}

/// Takes away a directory without a record that nobody makes one of any more.
pub fn discard_unborn(dir: &Path, place: &Path) -> Result<()> {
    match hold(dir)? {
        Some(_held) if !dir.join(ABOUT).exists() => discard(dir, place),
        _ => Ok(()),
    }
}

/// Removes directories of containers that are kept and whose maker died before their record was written.
pub fn sweep_unwritten(base: &Path) -> Result<()> {
    for id in ids_in(base)? {
        let dir = base.join(&id);
        let is_unwritten = || !dir.join(ABOUT).exists();
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
    if storage::remove::tree(dir).is_ok() {
        return Ok(());
    }
    let remove = |id_mode| -> Result<()> {
        let maps = ids::ids(&Options { id_mode, ..Options::default() }, Caller::this())?.maps;
        crate::userns::run::run(&Alone::check()?, &maps, || {
            storage::remove::tree(dir)?;
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
