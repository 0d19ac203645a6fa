//! Files and directories in the making. Their lock says whether somebody is at it: what a killed one left behind goes with
//! the next that looks.
//!
//! Whoever works on one shares its lock: its maker, and the worker in its sandbox (`storage/sandbox.rs`), which may live a
//! moment longer. Whoever sweeps has it alone for as long as it takes to give the thing another name; then it is shared
//! with the worker that removes. A maker that finds its name gone begins again.

use super::store::Store;
use super::worker::{self, Task};
use crate::sys::Named;
use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// A file or a directory that is removed at the end, unless it was kept.
#[derive(Debug)]
pub struct Temporary<'a> {
    store: &'a Store,
    path: PathBuf,
    /// The file, or the directory; it carries the lock.
    fd: OwnedFd,
    kept: bool,
}

impl<'a> Temporary<'a> {
    /// A new empty file, open for writing.
    pub fn file(store: &'a Store) -> Result<Temporary<'a>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        Temporary::make(store, |path| rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::from_raw_mode(0o644)))
    }

    /// A new empty directory.
    pub fn directory(store: &'a Store) -> Result<Temporary<'a>> {
        Temporary::make(store, |path| {
            rustix::fs::mkdir(path, Mode::RWXU)?;
            rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        })
    }

    fn make(store: &'a Store, make: impl Fn(&Path) -> std::result::Result<OwnedFd, Errno>) -> Result<Temporary<'a>> {
        loop {
            let path = store.tmp().join(name()?);
            let fd = match make(&path) {
                // A directory is made first and opened then: it was swept in between.
                Err(Errno::NOENT) if store.tmp().is_dir() => continue,
                made => made.named(|| format!("create {}", path.display()))?,
            };
            let temporary = Temporary { store, path, fd, kept: false };
            // Somebody who sweeps may have been faster: then it has another name.
            if share(&temporary.fd)? && rustix::fs::stat(&temporary.path).is_ok() {
                return Ok(temporary);
            }
        }
    }

    /// Adds bytes to a file.
    pub fn write(&self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::write(&self.fd, bytes))
                .named(|| format!("write({})", self.path.display()))?;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// Makes a file's bytes durable.
    pub fn sync(&self) -> Result<()> {
        Ok(rustix::fs::fsync(&self.fd).named(|| format!("fsync({})", self.path.display()))?)
    }

    /// Where it is now.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives a directory its name, which it keeps. If there is one of that name already, that one is as good, and this
    /// one goes: false.
    pub fn keep_as(&mut self, path: &Path) -> Result<bool> {
        let renamed = rustix::fs::renameat_with(CWD, &self.path, CWD, path, rustix::fs::RenameFlags::NOREPLACE);
        match renamed {
            // File systems without the flag (NFS) replace, which only loses what is as good.
            Err(Errno::INVAL | Errno::NOSYS) => {
                rustix::fs::rename(&self.path, path).named(|| format!("rename({})", path.display()))?;
            }
            Err(Errno::EXIST) => return Ok(false),
            result => result.named(|| format!("rename({})", path.display()))?,
        }
        self.kept = true;
        sync_directory(path.parent().unwrap_or(Path::new("/")))?;
        Ok(true)
    }
}

impl Temporary<'_> {
    /// Gives it its name, in the place of whatever has it.
    pub fn replace(mut self, path: &Path) -> Result<()> {
        rustix::fs::rename(&self.path, path).named(|| format!("rename({})", path.display()))?;
        self.kept = true;
        sync_directory(path.parent().unwrap_or(Path::new("/")))
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.kept {
            // What stays is swept by the next one.
            let _ = remove(self.store, &self.path);
        }
    }
}

/// Makes the names in a directory durable.
pub fn sync_directory(path: &Path) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty()).named(|| format!("open({})", path.display()))?;
    match rustix::fs::fsync(&directory) {
        // Some network file systems cannot.
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(errno) => Err(errno).named(|| format!("fsync({})", path.display())).map_err(Into::into),
    }
}

/// Removes what nobody is making any more, as far as that can be done. The error is that of the first that stays: files
/// of ids that this store does not map, for instance. It is no reason not to go on.
pub fn sweep(store: &Store) -> Result<()> {
    let mut swept = store.sweep_locks();
    for entry in fs_err::read_dir(store.tmp())? {
        let path = entry?.path();
        let one = sweep_one(store, &path).with_context(|| path.display().to_string());
        swept = swept.and(one);
    }
    swept
}

fn sweep_one(store: &Store, path: &Path) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) if flock(&fd, FlockOperation::NonBlockingLockExclusive)? => fd,
        // In the making, or just gone.
        Ok(_) | Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno).named(|| "open".to_owned()).map_err(Into::into),
    };
    let claimed = store.tmp().join(name()?);
    match rustix::fs::rename(path, &claimed) {
        // Somebody else sweeps.
        Err(Errno::NOENT) => return Ok(()),
        renamed => renamed.named(|| "rename".to_owned())?,
    }
    if share(&fd)? { remove(store, &claimed) } else { Ok(()) }
}

/// A tree that has lost its name and is still to be removed.
#[derive(Debug)]
pub struct Condemned {
    path: PathBuf,
    /// Locked, so that nobody else begins to remove it.
    _fd: OwnedFd,
}

/// Takes a directory's name away: whoever looks for it does not find it from now on.
pub fn condemn(store: &Store, dir: &Path) -> Result<Condemned> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::open(dir, flags, Mode::empty()).named(|| format!("open({})", dir.display()))?;
    share(&fd)?;
    let path = store.tmp().join(name()?);
    rustix::fs::rename(dir, &path).named(|| format!("rename({})", dir.display()))?;
    Ok(Condemned { path, _fd: fd })
}

impl Condemned {
    /// Removes it.
    pub fn remove(self, store: &Store) -> Result<()> {
        remove(store, &self.path)
    }
}

/// Removes a file or a tree of the store, files of all of the caller's ids among it.
pub fn remove(store: &Store, path: &Path) -> Result<()> {
    let stat = match rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        stat => stat.named(|| format!("stat({})", path.display()))?,
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Ok(fs_err::remove_file(path)?);
    }
    if fs_err::remove_dir(path).is_ok() {
        return Ok(());
    }
    let mut child = worker::start(&Task::Remove { dir: path.to_owned(), maps: store.maps().clone() })?;
    drop(child.stdin.take());
    worker::result::<()>(child)?;
    Ok(fs_err::remove_dir(path)?)
}

/// Takes part in the lock of something in the making; false if somebody sweeps it away.
pub fn share(fd: &OwnedFd) -> Result<bool> {
    flock(fd, FlockOperation::NonBlockingLockShared)
}

/// False if somebody else holds it.
fn flock(fd: &OwnedFd, operation: FlockOperation) -> Result<bool> {
    match rustix::fs::flock(fd, operation) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno).named(|| "flock".to_owned()).map_err(Into::into),
    }
}

fn name() -> Result<String> {
    let mut bytes = [0u8; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).named(|| "getrandom".to_owned())?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}
