//! Locks of single objects, among the processes of one user: flock(2) on a file of its own, which says who holds it.
//!
//! The kernel gives a lock back when its holder dies, however it dies.

use crate::sys::Named;
use anyhow::Result;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// A lock that is held until this value goes.
#[derive(Debug)]
pub struct Lock {
    file: OwnedFd,
    /// Removed at the end, for locks of which there are many.
    path: Option<PathBuf>,
}

/// How a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// With others that want the same.
    Shared,
    /// By one alone.
    Exclusive,
}

impl Lock {
    /// Takes the lock, or `None` if somebody holds it otherwise.
    pub fn attempt(path: &Path, kind: Kind) -> Result<Option<Lock>> {
        loop {
            let file = open(path)?;
            let operation = match kind {
                Kind::Shared => FlockOperation::NonBlockingLockShared,
                Kind::Exclusive => FlockOperation::NonBlockingLockExclusive,
            };
            match rustix::fs::flock(&file, operation) {
                Ok(()) if is_there(&file)? => return Ok(Some(Lock::held(file, kind)?)),
                // The holder has removed it meanwhile: this one is nobody's.
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(errno) => return Err(errno).named(|| format!("flock({})", path.display())).map_err(Into::into),
            }
        }
    }

    /// Takes the lock, however long that takes. `waiting` is called once with the holder's process, if it is known, when
    /// it is not at hand at once.
    pub fn take(path: &Path, kind: Kind, waiting: impl FnOnce(Option<i32>)) -> Result<Lock> {
        if let Some(lock) = Lock::attempt(path, kind)? {
            return Ok(lock);
        }
        waiting(holder(path));
        loop {
            let file = open(path)?;
            let operation = match kind {
                Kind::Shared => FlockOperation::LockShared,
                Kind::Exclusive => FlockOperation::LockExclusive,
            };
            rustix::io::retry_on_intr(|| rustix::fs::flock(&file, operation))
                .named(|| format!("flock({})", path.display()))?;
            if is_there(&file)? {
                return Lock::held(file, kind);
            }
        }
    }

    fn held(file: OwnedFd, kind: Kind) -> Result<Lock> {
        if kind == Kind::Exclusive {
            // For whoever waits. On a full disk it is not known who that is.
            let _ = rustix::fs::ftruncate(&file, 0);
            let _ = rustix::io::pwrite(&file, crate::sys::process::pid().to_string().as_bytes(), 0);
        }
        Ok(Lock { file, path: None })
    }

    /// Removes the lock's file at its end.
    pub fn removed_at_end(mut self, path: &Path) -> Lock {
        self.path = Some(path.to_owned());
        self
    }

    /// Lets others share it.
    pub fn share(&self) -> Result<()> {
        rustix::fs::flock(&self.file, FlockOperation::LockShared).named(|| "flock(shared)".to_owned())?;
        Ok(())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Before the lock goes with the descriptor: whoever gets it afterwards sees that its file is gone.
            let _ = rustix::fs::unlink(path);
        }
    }
}

/// Closed on exec, so that no container keeps it. Where nothing can be written a lock that is there will do: whoever reads
/// shares it.
fn open(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let opened = match rustix::fs::open(path, flags | OFlags::RDWR | OFlags::CREATE, Mode::RUSR | Mode::WUSR) {
        Err(Errno::ROFS) => rustix::fs::open(path, flags | OFlags::RDONLY, Mode::empty()).map_err(|_| Errno::ROFS),
        opened => opened,
    };
    Ok(opened.named(|| format!("lock {}", path.display()))?)
}

fn is_there(file: &OwnedFd) -> Result<bool> {
    Ok(rustix::fs::fstat(file).named(|| "fstat(lock)".to_owned())?.st_nlink > 0)
}

/// Who holds it, as far as the file tells.
fn holder(path: &Path) -> Option<i32> {
    fs_err::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Programs that other tests start have the descriptor, too, until they are executed.
    fn soon(path: &Path) -> Lock {
        for _ in 0..5000 {
            if let Some(lock) = Lock::attempt(path, Kind::Exclusive).expect("works") {
                return lock;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        panic!("not free");
    }

    #[test]
    fn one_or_many() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("lock");
        let first = soon(&path);
        assert!(Lock::attempt(&path, Kind::Shared).expect("works").is_none());
        assert_eq!(holder(&path), Some(std::process::id() as i32));
        first.share().expect("works");
        let second = Lock::attempt(&path, Kind::Shared).expect("works").expect("shared");
        assert!(Lock::attempt(&path, Kind::Exclusive).expect("works").is_none());
        drop((first, second));
        drop(soon(&path).removed_at_end(&path));
        assert!(!path.exists());
    }

    #[test]
    fn waiting_tells_on_whom_and_ends() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("lock");
        let first = Lock::attempt(&path, Kind::Exclusive).expect("works").expect("free").removed_at_end(&path);
        let mut told = None;
        // The waiter gets a lock whose file was removed, and makes another one.
        std::thread::scope(|scope| {
            let (send, receive) = std::sync::mpsc::channel();
            let waiter = scope.spawn(|| {
                Lock::take(&path, Kind::Exclusive, move |holder| send.send(holder).expect("heard")).expect("works")
            });
            told = receive.recv().expect("told");
            drop(first);
            let lock = waiter.join().expect("ends");
            assert!(path.exists());
            drop(lock);
        });
        assert_eq!(told, Some(std::process::id() as i32));
    }
}
