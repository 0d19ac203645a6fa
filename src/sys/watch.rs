//! Descriptors in an event loop: waited for, and read by others.

use super::{Named, Result};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor that can be waited for.
#[derive(Debug)]
pub struct Watch(AsyncFd<OwnedFd>);

impl Watch {
    /// To be waited for until something can be read. Called within the event loop.
    pub fn readable(fd: OwnedFd) -> Result<Watch> {
        // SAFETY: the descriptor belongs to the value that watches it, which never gives it away, and is always the same.
        let watched = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
        Ok(Watch(watched.map_err(errno).named(|| "epoll".to_owned())?))
    }

    /// Waits until `read` finds something; it must not wait itself, and is asked again when there may be more.
    pub async fn next<T>(&self, read: impl Fn(BorrowedFd<'_>) -> Result<Option<T>>) -> Result<T> {
        loop {
            let mut ready = self.0.readable().await.map_err(errno).named(|| "epoll".to_owned())?;
            match read(self.0.get_ref().as_fd())? {
                Some(found) => return Ok(found),
                None => ready.clear_ready(),
            }
        }
    }
}

fn errno(error: impl Into<io::Error>) -> Errno {
    Errno::from_io_error(&error.into()).unwrap_or(Errno::IO)
}
