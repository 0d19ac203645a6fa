//! New processes in new namespaces.

use super::signal::{self, Mask};
use super::{Alone, Named, Result, check, fd, process};
use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use std::mem::ManuallyDrop;
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

/// Bytes of stack for a process in between, and for whoever comes from it.
const STACK: usize = 1 << 20;

/// Runs `between` in a new process that has this one's memory itself, not a copy, and so costs no page tables. This one waits until
/// that has ended, which it does when `between` comes back at the latest (vfork(2)). Further processes that it makes have copies.
///
/// What it does to memory is done to this process's: it must take nothing out of what `between` borrows, and end without dropping
/// any of it. The kernel makes the memory undumpable when it enters a user namespace; afterwards it is here what it was before.
/// All signals are blocked in it: stopped by a terminal it would hold up this one, which cannot be stopped while it waits.
/// `between` gets the signals that were blocked before.
pub fn share(_alone: &Alone, between: &mut dyn FnMut(&Mask)) -> Result<Child> {
    struct Argument<'a> {
        between: &'a mut dyn FnMut(&Mask),
        blocked: Mask,
    }
    extern "C" fn begin(argument: *mut libc::c_void) -> libc::c_int {
        // SAFETY: it is the one below, whose owner waits.
        let Argument { between, blocked } = unsafe { &mut *argument.cast::<Argument>() };
        between(blocked);
        process::exit_now(crate::error::FAILED)
    }
    let dumpable = rustix::process::dumpable_behavior();
    let mut pidfd: i32 = -1;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    let stack = Stack::new(STACK)?;
    let made = (|| {
        let mut argument = Argument { between, blocked: signal::block_all()? };
        // SAFETY: the new process has a stack of its own, and this one does not run while that one does. `_alone` proves that no other
        // thread does either.
        let result = unsafe {
            let argument: *mut libc::c_void = (&raw mut argument).cast();
            libc::clone(begin, stack.top(), flags, argument, &raw mut pidfd)
        };
        let made = check(result.into()).named(|| "clone(VM|VFORK)".to_owned());
        argument.blocked.set()?;
        made
    })();
    // SAFETY: nobody runs on it any more; whoever came from there has a copy, or a stack of its own.
    unsafe { stack.free() };
    if let Ok(dumpable) = dumpable {
        // That of another program is not looked at: it has memory of its own.
        let _ = rustix::process::set_dumpable_behavior(dumpable);
    }
    // SAFETY: the kernel wrote a new descriptor, which is nobody else's.
    made.map(|pid| Child { pid: pid as i32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
}

/// A stack of a process that has this one's memory.
#[derive(Debug)]
struct Stack {
    start: *mut libc::c_void,
    size: usize,
}

impl Stack {
    /// With a page below that nobody may touch.
    fn new(size: usize) -> Result<Stack> {
        let page = page_size();
        let size = size + page;
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::STACK);
        // SAFETY: a mapping of its own, wherever the kernel has room.
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), size, protection, flags) }
            .named(|| "mmap(stack)".to_owned())?;
        let stack = Stack { start, size };
        // SAFETY: the lowest page of it, below which the new process must not get unnoticed.
        match unsafe { mprotect(start, page, MprotectFlags::empty()) }.named(|| "mprotect(stack)".to_owned()) {
            Ok(()) => Ok(stack),
            Err(error) => {
                // SAFETY: nobody has been on it.
                unsafe { stack.free() };
                Err(error)
            }
        }
    }

    /// Where it begins: it goes down from there.
    fn top(&self) -> *mut libc::c_void {
        // SAFETY: the end of the mapping.
        unsafe { self.start.byte_add(self.size) }
    }

    /// # Safety
    /// Nobody runs on it.
    unsafe fn free(self) {
        // SAFETY: the mapping that was made for it.
        let _ = unsafe { munmap(self.start, self.size) };
    }
}

/// Of memory, in bytes: 4096 on most machines, up to 65536 on some.
fn page_size() -> usize {
    // SAFETY: no memory arguments.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// What a process beside this one has of this one's memory: a stack, and what it has to do. It is given back
/// when that one has ended ([`Room::give_back`]); dropped, it stays.
#[derive(Debug)]
pub struct Room {
    stack: Stack,
    begin: extern "C" fn(*mut libc::c_void) -> libc::c_int,
    /// Of a type that `begin` and `free` know.
    plan: *mut libc::c_void,
    free: unsafe fn(*mut libc::c_void),
    socket: i32,
}

/// Bytes of stack for a process that does little.
const SMALL_STACK: usize = 64 * 1024;

struct Plan<T> {
    /// Never dropped: it is closed by its number.
    socket: ManuallyDrop<OwnedFd>,
    what: T,
    work: fn(&Alone, &OwnedFd, &T),
}

impl Room {
    /// For a process that does `work` with a socket of its own.
    ///
    /// Thread-local variables are those of this process, and so are the locks of the heap: killed while it holds one it would stop this
    /// one for ever. So as long as all goes well `work` must use neither; on its way to an error it may.
    pub fn new<T: 'static>(socket: OwnedFd, what: T, work: fn(&Alone, &OwnedFd, &T)) -> Result<Room> {
        extern "C" fn begin<T>(plan: *mut libc::c_void) -> libc::c_int {
            // SAFETY: it is the one below, which stays as long as this process is there, and which nobody changes.
            let Plan { socket, what, work } = unsafe { &*plan.cast::<Plan<T>>() };
            // It has one thread.
            work(&Alone(std::marker::PhantomData), socket, what);
            process::exit_now(0)
        }
        /// # Safety
        /// `plan` is the one below, and nobody uses it any more.
        unsafe fn free<T>(plan: *mut libc::c_void) {
            // SAFETY: it was made by Box.
            drop(unsafe { Box::from_raw(plan.cast::<Plan<T>>()) });
        }
        let (stack, number) = (Stack::new(SMALL_STACK)?, socket.as_raw_fd());
        let plan = Box::into_raw(Box::new(Plan { socket: ManuallyDrop::new(socket), what, work })).cast();
        Ok(Room { stack, begin: begin::<T>, plan, free: free::<T>, socket: number })
    }

    /// Makes the process, in the namespaces that `flags` name (CLONE_NEW*, CLONE_PARENT): it has this one's memory itself, not a copy,
    /// and is at work while this one is. All signals are blocked in it. Called once; allocates nothing unless it fails.
    pub fn begin(&self, _alone: &Alone, flags: u32) -> Result<Child> {
        let mut pidfd: i32 = -1;
        let signal = if flags & CLONE_PARENT == 0 { libc::SIGCHLD } else { 0 };
        let all = flags as i32 | libc::CLONE_VM | libc::CLONE_PIDFD | signal;
        let blocked = signal::block_all()?;
        // SAFETY: the new process has a stack of its own and only reads the plan, and neither goes before it. `_alone` proves that no
        // other thread holds a lock.
        let result = unsafe { libc::clone(self.begin, self.stack.top(), all, self.plan, &raw mut pidfd) };
        let made = check(result.into()).named(|| format!("clone(VM|{})", names(flags)));
        blocked.set()?;
        // SAFETY: the kernel wrote a new descriptor, which is nobody else's.
        made.map(|pid| Child { pid: pid as i32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
    }

    /// Closes the socket here: it is the other one's. Called once.
    pub fn close_socket(&self) -> Result<()> {
        // By its number: what the plan says of it the other one reads.
        fd::close_range(self.socket as u32, self.socket as u32)
    }

    /// Called when the process is known to have ended.
    pub fn give_back(self) {
        // SAFETY: its caller knows.
        unsafe {
            (self.free)(self.plan);
            self.stack.free();
        }
    }

    /// Called when the process was never made: its socket.
    pub fn undo(self) -> OwnedFd {
        // SAFETY: it was given to `new`, and closed nowhere.
        let socket = unsafe { OwnedFd::from_raw_fd(self.socket) };
        self.give_back();
        socket
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
    let flags_of = rustix::thread::UnshareFlags::from_bits_retain(flags);
    // SAFETY: CLONE_NEW* flags do not touch memory or descriptors.
    unsafe { rustix::thread::unshare_unsafe(flags_of) }.named(|| format!("unshare({})", names(flags)))
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
