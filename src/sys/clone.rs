//! New processes in new namespaces.

use super::{Alone, Named, Result, check};
use rustix::io::Errno;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use linux_raw_sys::general::{CLONE_INTO_CGROUP, CLONE_PIDFD, clone_args};
pub use linux_raw_sys::general::{
    CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWTIME, CLONE_NEWUSER, CLONE_NEWUTS,
    CLONE_PARENT,
};

/// A process that was just made.
#[derive(Debug)]
pub struct Child {
    /// Its number in the maker's pid namespace.
    pub pid: i32,
    /// Refers to it even after its number was given to another.
    pub pidfd: OwnedFd,
}

/// Who returns from [`clone`].
#[derive(Debug)]
pub enum Side {
    /// The maker.
    Parent(Child),
    /// The new process, a copy of the maker.
    Child,
}

/// Makes a copy of this process in the namespaces that `flags` (CLONE_NEW*, CLONE_PARENT) name; the user namespace
/// comes first and owns the others (user_namespaces(7)).
///
/// Uses clone3 (5.3); where a seccomp filter hides it with ENOSYS, as docker's does, clone(2).
pub fn clone(alone: &Alone, flags: u32) -> Result<Side> {
    clone_into(alone, flags, None)
}

/// The same, with the new process in another cgroup from its first moment (CLONE_INTO_CGROUP, Linux 5.7): the one with this
/// directory, if there is one.
pub fn clone_into(_alone: &Alone, flags: u32, cgroup: Option<BorrowedFd<'_>>) -> Result<Side> {
    let mut pidfd: i32 = -1;
    let args = clone_args {
        flags: u64::from(flags | CLONE_PIDFD) | if cgroup.is_some() { CLONE_INTO_CGROUP } else { 0 },
        pidfd: &raw mut pidfd as u64,
        child_tid: 0,
        parent_tid: 0,
        // With CLONE_PARENT the kernel takes the maker's own exit signal and wants none here.
        exit_signal: if flags & CLONE_PARENT == 0 { libc::SIGCHLD as u64 } else { 0 },
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: cgroup.map_or(0, |dir| dir.as_raw_fd() as u64),
    };
    // SAFETY: without CLONE_VM the child gets a copy of the memory, so it may go on with this stack. `_alone` proves
    // that no other thread holds a lock in the copy. `args` and `pidfd` outlive the call.
    let mut result = check(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<clone_args>()) });
    if result == Err(Errno::NOSYS) && cgroup.is_none() {
        let old_flags = libc::c_long::from(flags | CLONE_PIDFD) | args.exit_signal as libc::c_long;
        // SAFETY: as above; a null stack means the copy goes on with its copy of this one. With CLONE_PIDFD the third
        // argument is where the descriptor goes (clone(2)).
        result = check(unsafe { libc::syscall(libc::SYS_clone, old_flags, 0, &raw mut pidfd, 0, 0) });
    }
    match result.named(|| format!("clone3({})", names(flags)))? {
        0 => Ok(Side::Child),
        // SAFETY: the kernel wrote a new descriptor, which is nobody else's.
        pid => Ok(Side::Parent(Child { pid: pid as i32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })),
    }
}

/// True if a process can be made in another cgroup: a seccomp filter may hide the call that does it.
pub fn can_choose_cgroup() -> bool {
    // SAFETY: without arguments it does nothing (EINVAL).
    check(unsafe { libc::syscall(libc::SYS_clone3, 0, 0) }) != Err(Errno::NOSYS)
}

/// `NEWUSER|NEWPID`, for messages.
pub fn names(flags: u32) -> String {
    const NAMES: [(u32, &str); 9] = [
        (CLONE_NEWUSER, "NEWUSER"),
        (CLONE_NEWNS, "NEWNS"),
        (CLONE_NEWPID, "NEWPID"),
        (CLONE_NEWNET, "NEWNET"),
        (CLONE_NEWIPC, "NEWIPC"),
        (CLONE_NEWUTS, "NEWUTS"),
        (CLONE_NEWCGROUP, "NEWCGROUP"),
        (CLONE_NEWTIME, "NEWTIME"),
        (CLONE_PARENT, "PARENT"),
    ];
    NAMES.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, name)| *name).collect::<Vec<_>>().join("|")
}

/// Moves this process into the namespaces that `flags` name, new ones.
pub fn unshare(_alone: &Alone, flags: u32) -> Result<()> {
    // SAFETY: CLONE_NEW* flags do not touch memory or descriptors.
    check(unsafe { libc::syscall(libc::SYS_unshare, flags) }).named(|| format!("unshare({})", names(flags)))?;
    Ok(())
}

/// The user namespace around this one (ioctl_ns(2), NS_GET_PARENT), if it is not outside of this process's own.
pub fn user_namespace_around(fd: &OwnedFd) -> Result<OwnedFd> {
    // From linux/nsfs.h: _IO(0xb7, 2).
    const NS_GET_PARENT: libc::c_ulong = 0xb702;
    // SAFETY: no memory arguments.
    let around = check(unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_PARENT as _) }.into())
        .named(|| "ioctl(NS_GET_PARENT)".to_owned())?;
    // SAFETY: the kernel has made a new descriptor, which is nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(around as i32) })
}

/// Moves this thread, and no other one, into a network namespace: these are each thread's own (setns(2)).
pub fn enter_network(fd: &OwnedFd) -> Result<()> {
    // SAFETY: no memory arguments.
    check(unsafe { libc::syscall(libc::SYS_setns, fd.as_raw_fd(), CLONE_NEWNET) })
        .named(|| "setns(thread, NEWNET)".to_owned())?;
    Ok(())
}

/// Moves this process into the namespace behind `fd`, which must be of the kind `flag`.
pub fn setns(_alone: &Alone, fd: &OwnedFd, flag: u32, path: &std::path::Path) -> Result<()> {
    // SAFETY: no memory arguments.
    check(unsafe { libc::syscall(libc::SYS_setns, fd.as_raw_fd(), flag) })
        .named(|| format!("setns({}, {})", path.display(), names(flag)))?;
    Ok(())
}
