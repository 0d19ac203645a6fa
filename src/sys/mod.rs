//! System calls: one wrapper, one call. The only place with `unsafe`.
//!
//! What rustix or nix offers safely is used from there; wrappers exist for what they lack, and where an error should
//! say which call failed on what. A failed call is a [`CallError`]: `mount(proc, /proc): Operation not permitted`.

#![allow(unsafe_code)]

pub mod caps;
pub mod clone;
pub mod fd;
pub mod heap;
pub mod ids;
pub mod loopback;
pub mod mount;
pub mod named_socket;
pub mod netlink;
pub mod path;
pub mod process;
pub mod pty;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod tap;
pub mod watch;

use rustix::io::Errno;
use std::fmt;
use std::io::ErrorKind;

/// A system call that failed: its name with the arguments that matter, and why.
#[derive(Debug)]
pub struct CallError {
    /// For instance `move_mount(/dev/pts)`.
    pub call: String,
    /// The kernel's reason.
    pub errno: Errno,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, reason(self.errno))
    }
}

impl std::error::Error for CallError {}

/// What the wrappers return.
pub type Result<T> = std::result::Result<T, CallError>;

/// Names the call of a failed result; the name is made only then.
pub trait Named<T> {
    /// `call` is evaluated only on failure.
    fn named(self, call: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Errno>> Named<T> for std::result::Result<T, E> {
    fn named(self, call: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|errno| CallError { call: call(), errno: errno.into() })
    }
}

/// The text of an errno, without the number.
pub fn reason(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// The errno of the system call that an error comes from, if it comes from one.
pub fn errno(error: &anyhow::Error) -> Option<Errno> {
    error.chain().find_map(|cause| {
        cause
            .downcast_ref::<CallError>()
            .map(|call| call.errno)
            .or_else(|| cause.downcast_ref::<std::io::Error>().and_then(Errno::from_io_error))
    })
}

/// True if an error comes from a disk that is full, or from a user's share of it that is.
pub fn is_full(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| match (cause.downcast_ref::<CallError>(), cause.downcast_ref::<std::io::Error>()) {
        (Some(call), _) => matches!(call.errno, Errno::NOSPC | Errno::DQUOT),
        (_, Some(error)) => matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded),
        _ => false,
    })
}

/// The result of a raw system call: -1 is an error in the calling thread's errno.
fn check(result: libc::c_long) -> std::result::Result<libc::c_long, Errno> {
    if result == -1 { Err(last_errno()) } else { Ok(result) }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// How often is asked whether there is one thread, in tenths of a millisecond.
const PATIENCE: u32 = 1000;

/// Proof that this process has one thread: whoever makes or joins namespaces borrows it, whoever starts an event loop
/// consumes it.
///
/// A second thread would keep the old namespaces, and `setns(2)` and `unshare(2)` refuse to change the user namespace
/// of a process with threads. A child made beside other threads may find any lock taken for ever.
pub struct Alone(std::marker::PhantomData<*const ()>);

impl Alone {
    /// Asks the kernel: `unshare(CLONE_THREAD)` does nothing in a process with one thread and fails in any other
    /// (unshare(2)).
    ///
    /// A thread that was joined is a moment away from its end: the one who joins is woken before the kernel has counted
    /// it out, and nothing tells when it has.
    pub fn check() -> Result<Alone> {
        for _ in 0..PATIENCE {
            if Alone::ask() {
                return Ok(Alone(std::marker::PhantomData));
            }
            std::thread::sleep(std::time::Duration::from_micros(100));
        }
        Err(Errno::INVAL).named(|| "unshare(CLONE_THREAD): rbox has more than one thread".to_owned())
    }

    fn ask() -> bool {
        // SAFETY: with CLONE_THREAD alone the call changes nothing; it has no memory arguments.
        let answer = check(unsafe { libc::syscall(libc::SYS_unshare, libc::CLONE_THREAD) });
        match answer {
            Ok(_) => true,
            Err(Errno::INVAL) => false,
            // A seccomp filter, such as docker's, denies the question. A directory has two links and one for each
            // directory in it.
            Err(_) => rustix::fs::stat("/proc/self/task").is_ok_and(|stat| stat.st_nlink == 3),
        }
    }
}
