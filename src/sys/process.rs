//! This process: its end, its parent's end, its limits, its next program.

use super::{Named, Result, check};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid, Signal, WaitId, WaitIdOptions};
use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::OnceLock;

/// Ends this process at once, without running anything that is registered for its end: a copy must not run what the
/// original registered.
pub fn exit_now(status: u8) -> ! {
    // SAFETY: _exit has no requirements.
    unsafe { libc::_exit(status.into()) }
}

/// The kernel kills this process when its parent's thread ends (prctl(2), PR_SET_PDEATHSIG). Any change of ids or
/// capabilities and any set-user-id program clears it, so it is set again after those; a parent that ended before is
/// not noticed, so whoever sets it looks at the parent's socket afterwards.
pub fn die_with_parent() -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).named(|| "prctl(PDEATHSIG)".to_owned())
}

/// Undoes [`die_with_parent`].
pub fn outlive_parent() -> Result<()> {
    rustix::process::set_parent_process_death_signal(None).named(|| "prctl(PDEATHSIG, 0)".to_owned())
}

/// Whether other processes of the same ids may trace this one and read its /proc files.
pub fn set_dumpable(dumpable: bool) -> Result<()> {
    let behavior = if dumpable { DumpableBehavior::Dumpable } else { DumpableBehavior::NotDumpable };
    rustix::process::set_dumpable_behavior(behavior).named(|| "prctl(DUMPABLE)".to_owned())
}

/// Files and directories get the modes that they are made with, less what others may write.
pub fn set_plain_umask() {
    rustix::process::umask(rustix::fs::Mode::WGRP | rustix::fs::Mode::WOTH);
}

/// Descendants whose parent ends become children of this process (prctl(2), PR_SET_CHILD_SUBREAPER).
pub fn adopt_orphans() -> Result<()> {
    // Any process number but 0 stands for yes.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).named(|| "prctl(CHILD_SUBREAPER)".to_owned())
}

/// Kills all children, and those that come when they end, and collects them.
pub fn kill_children() -> Result<()> {
    loop {
        let list = format!("/proc/self/task/{}/children", pid());
        // CONFIG_PROC_CHILDREN; without it nothing can be done here.
        let Ok(text) = fs_err::read_to_string(list) else { return Ok(()) };
        let children: Vec<i32> = text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
        if children.is_empty() {
            return Ok(());
        }
        children.into_iter().for_each(end_child);
    }
}

/// From here on no program gains privileges on exec; cannot be undone.
pub fn set_no_new_privileges() -> Result<()> {
    rustix::thread::set_no_new_privs(true).named(|| "prctl(NO_NEW_PRIVS)".to_owned())
}

/// Where this process's arguments lie in its memory: what /proc/PID/cmdline shows (proc_pid_stat(5), fields 48, 49).
/// To be read while /proc is the host's.
pub fn arguments() -> Option<std::ops::Range<usize>> {
    let text = fs_err::read_to_string("/proc/self/stat").ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(45);
    let (start, end) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    (0 < start && start < end).then_some(start..end)
}

/// Fills them with zeros, so that nobody reads what rbox was called with.
pub fn erase_arguments(place: std::ops::Range<usize>) {
    let start = std::ptr::with_exposed_provenance_mut::<u8>(place.start);
    // SAFETY: the kernel put the arguments there when it started this program, below the stack and writable, and says
    // so itself; Rust copies them when it is asked for them and keeps no reference.
    unsafe { start.write_bytes(0, place.end - place.start) };
}

/// Has the kernel give the heap its first pages at once, and not one by one as they are touched, each with a fault. Where it
/// does not know the word (before Linux 5.14) all is as it would be without.
pub fn warm_heap() {
    const SIZE: usize = 144 * 1024;
    let mut memory: Vec<u8> = Vec::with_capacity(SIZE);
    let page = memory.as_mut_ptr().map_addr(|address| address.next_multiple_of(4096));
    // SAFETY: a page less than was allocated, from the first whole page on: all of it belongs to `memory`, and nothing that
    // is in it changes.
    unsafe { libc::madvise(page.cast(), SIZE - 4096, libc::MADV_POPULATE_WRITE) };
}

/// Keeps a block of the C library's own heap, which it takes for each descriptor that a program is started with: musl gives the pages of the
/// last one back and maps them again for the next, and all processors that have this memory are told of it each time.
pub fn keep_c_heap() {
    static KEPT: OnceLock<usize> = OnceLock::new();
    /// What musl needs for one (`src/process/fdop.h`).
    const SIZE: usize = 40;
    // SAFETY: nobody uses it or gives it back.
    KEPT.get_or_init(|| unsafe { libc::malloc(SIZE) }.addr());
}

/// Has a process that was just made begin on another processor than this one, if there is one: the kernel lets it wait for this
/// one's next pause otherwise, while others idle (sched_setaffinity(2)). From there it may go wherever there is room: somebody
/// else may need that one.
pub fn send_elsewhere(pid: i32) {
    use rustix::thread::{sched_getaffinity, sched_getcpu, sched_setaffinity};
    let Ok(all) = sched_getaffinity(None) else { return };
    if all.count() > 1 {
        let mut others = all;
        others.unset(sched_getcpu());
        for processors in [&others, &all] {
            // It is only later without.
            let _ = sched_setaffinity(Pid::from_raw(pid), processors);
        }
    }
}

/// A program that is killed and collected when nobody needs it any more.
#[derive(Debug)]
pub struct Spawned(pub std::process::Child);

impl Drop for Spawned {
    fn drop(&mut self) {
        // It may have ended by itself; it is collected in any case, and without waiting: somebody may have stopped it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A program that leads a process group of its own. At the end of this value it and all children of this process that are in that
/// group are killed and collected: also those that nobody has heard of, for whoever made them was killed before he said so.
#[derive(Debug)]
pub struct Leader {
    program: std::process::Child,
    is_over: bool,
    collects: bool,
}

impl Leader {
    /// Starts it.
    pub fn spawn(command: &mut Command) -> std::io::Result<Leader> {
        command.process_group(0).spawn().map(|program| Leader { program, is_over: false, collects: true })
    }

    /// Kills all of them, and collects the leader.
    pub fn end(&mut self) {
        let Some(group) = self.group().filter(|_| !self.is_over) else { return };
        // It may have ended by itself. As long as it is not collected its number is no other group's.
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
        let _ = self.program.wait();
        self.is_over = true;
    }

    /// The others are collected by somebody else, who knows them.
    pub fn leave_others(&mut self) {
        self.collects = false;
    }

    fn group(&self) -> Option<Pid> {
        Pid::from_raw(self.program.id() as i32)
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.end();
        let next = || rustix::process::waitid(WaitId::Pgid(self.group()), WaitIdOptions::EXITED);
        while self.collects && matches!(rustix::io::retry_on_intr(next), Ok(Some(_))) {}
    }
}

/// Kills and collects a child by its number, which is nobody else's until then.
pub fn end_child(pid: i32) {
    let Some(pid) = Pid::from_raw(pid) else { return };
    // It may have ended by itself.
    let _ = rustix::process::kill_process(pid, Signal::KILL);
    let _ = rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED));
}

/// A new session, without a controlling terminal: the payload cannot push input into the caller's terminal
/// (CVE-2017-5226).
pub fn new_session() -> Result<()> {
    match rustix::process::setsid() {
        // Already the leader of a session or group of its own.
        Ok(_) | Err(Errno::PERM) => Ok(()),
        Err(errno) => Err(errno).named(|| "setsid".to_owned()),
    }
}

/// Sets a resource limit by its number (`RLIMIT_*`); `u64::MAX` is unlimited.
pub fn set_rlimit(resource: u32, soft: u64, hard: u64, name: &str) -> Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: `limit` outlives the call, the old value is not asked for.
    check(unsafe {
        libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const limit, std::ptr::null_mut::<libc::rlimit64>())
    })
    .named(|| format!("prlimit({name}, {soft}:{hard})"))?;
    Ok(())
}

/// Sets this process's priority with disks (ioprio_set(2)). `class`: 1 is real time, 2 best effort, 3 idle; `level`: 0 to 7.
pub fn set_io_priority(class: u32, level: i64) -> Result<()> {
    const WHO_PROCESS: i32 = 1;
    let call = || format!("ioprio_set(class {class}, {level})");
    let level = u32::try_from(level).ok().filter(|level| *level < 8).ok_or(Errno::INVAL).named(call)?;
    // SAFETY: no memory arguments.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, class << 13 | level) }).named(call)?;
    Ok(())
}

/// The hard limit now in force.
pub fn hard_limit(resource: u32) -> Result<u64> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: no new value is given; the kernel writes one rlimit64 into `limit`.
    check(unsafe {
        libc::syscall(libc::SYS_prlimit64, 0, resource, std::ptr::null::<libc::rlimit64>(), &raw mut limit)
    })
    .named(|| format!("prlimit({resource})"))?;
    Ok(limit.rlim_max)
}

/// This process may have as many open files as its hard limit says.
pub fn raise_open_files() -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).named(|| "setrlimit(NOFILE)".to_owned())
}

/// As many open files this process may have.
pub fn open_files() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Replaces this program; returns only an error.
pub fn exec(path: &CStr, args: &[CString], env: &[CString]) -> Errno {
    let Err(errno) = nix::unistd::execve(path, args, env);
    Errno::from_raw_os_error(errno as i32)
}

/// Never returns: the type of a step that ends in execve or in an error.
pub type Never = Infallible;

/// Sends a signal by number to the process behind a pidfd.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    use std::os::fd::AsRawFd;
    // SAFETY: a null siginfo is allowed; no other memory arguments (pidfd_send_signal(2), 5.1).
    check(unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, std::ptr::null::<libc::siginfo_t>(), 0)
    })
    .named(|| format!("pidfd_send_signal({signal})"))?;
    Ok(())
}

/// How a process ended, as a shell says it: its status, or 128 and the signal's number.
pub fn wait(pidfd: BorrowedFd<'_>) -> Result<u8> {
    let status = rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED))
        .named(|| "waitid".to_owned())?;
    Ok(match status {
        Some(status) => match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => code as u8,
            (_, Some(signal)) => 128u8.wrapping_add(signal as u8),
            _ => u8::MAX,
        },
        None => u8::MAX,
    })
}

/// True if a child that has ended was killed. It is still to be waited for.
pub fn was_killed(pidfd: BorrowedFd<'_>) -> Result<bool> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    let status = rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::PidFd(pidfd), options));
    Ok(status.named(|| "waitid".to_owned())?.is_some_and(|status| status.terminating_signal().is_some()))
}

/// A descriptor for a process by number.
pub fn open_pidfd(pid: i32) -> Result<OwnedFd> {
    let call = || format!("pidfd_open({pid})");
    let pid = Pid::from_raw(pid).ok_or(Errno::SRCH).named(call)?;
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).named(call)
}

/// Waits until the process behind the pidfd has ended, at most so long; true if it has.
pub fn ends_within(pidfd: BorrowedFd<'_>, time: std::time::Duration) -> Result<bool> {
    poll_end(pidfd, Some(time))
}

/// The same without a limit.
pub fn ends(pidfd: BorrowedFd<'_>) -> Result<()> {
    poll_end(pidfd, None).map(drop)
}

fn poll_end(pidfd: BorrowedFd<'_>, time: Option<std::time::Duration>) -> Result<bool> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let limit = time.map(|time| Timespec { tv_sec: time.as_secs() as _, tv_nsec: time.subsec_nanos().into() });
    let ready = rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], limit.as_ref()))
        .named(|| "poll(pidfd)".to_owned())?;
    Ok(ready > 0)
}

/// Waits until `fd` can be read or its other end is closed, or the process behind the pidfd has ended; true for the first.
pub fn ready_or_ended(fd: BorrowedFd<'_>, pidfd: BorrowedFd<'_>) -> Result<bool> {
    use rustix::event::{PollFd, PollFlags, poll};
    let mut fds = [PollFd::new(&fd, PollFlags::IN), PollFd::new(&pidfd, PollFlags::IN)];
    rustix::io::retry_on_intr(|| poll(&mut fds, None)).named(|| "poll(pidfd)".to_owned())?;
    Ok(!fds[0].revents().is_empty())
}

/// The number of this process in its own pid namespace.
pub fn pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

/// The number of this process's parent; `None` if it is in another pid namespace.
pub fn parent() -> Option<i32> {
    rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get())
}

/// Reaps a child that has ended: its number and status; `None` when there is none at present.
pub fn reap_ended() -> Result<Option<(i32, u8)>> {
    use rustix::process::WaitOptions;
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                let code = match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => code as u8,
                    (_, Some(signal)) => 128u8.wrapping_add(signal as u8),
                    _ => continue,
                };
                return Ok(Some((pid.as_raw_nonzero().get(), code)));
            }
            Ok(None) | Err(Errno::CHILD) => return Ok(None),
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno).named(|| "wait4".to_owned()),
        }
    }
}
