//! `--init`: rbox's own pid 1, which passes signals on and reaps what was orphaned.
//!
//! Runs in: the container's namespaces and root, as pid 1. A program that is pid 1 itself gets no signal that it has
//! no handler for and must reap strangers (pid_namespaces(7)); most programs do not expect that.

use super::namespaces::Namespaces;
use super::sync::{Message, Sync};
use crate::seccomp::capability;
use crate::sys::clone::{
    self, CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWTIME, CLONE_NEWUSER,
    CLONE_NEWUTS, Child, Side,
};
use crate::sys::process::Never;
use crate::sys::{Alone, Named, caps, fd, process, signal};
use anyhow::Result;
use rustix::fs::{Mode, OFlags};
use std::os::fd::AsFd;

/// CAP_KILL: the payload may be of another user than pid 1.
const CAP_KILL: caps::Mask = capability::bits(["KILL"]);

/// Hands this process's namespaces out: whoever is to run one more process in them cannot ask the kernel for those of a reaper
/// (setns(2) asks whether it could trace it).
pub fn show_namespaces(namespaces: &Namespaces, outside: &Sync) -> Result<()> {
    let all = namespaces.join.iter().fold(namespaces.new, |all, (flag, _)| all | flag);
    let mut flags = Vec::new();
    let mut open = Vec::new();
    // The user namespace first, since the right to join the others comes with it.
    for (flag, name) in [
        (CLONE_NEWUSER, "user"),
        (CLONE_NEWPID, "pid"),
        (CLONE_NEWNET, "net"),
        (CLONE_NEWIPC, "ipc"),
        (CLONE_NEWUTS, "uts"),
        (CLONE_NEWCGROUP, "cgroup"),
        (CLONE_NEWTIME, "time"),
        (CLONE_NEWNS, "mnt"),
    ] {
        if all & flag != 0 {
            let path = format!("/proc/self/ns/{name}");
            let flags_of = OFlags::RDONLY | OFlags::CLOEXEC;
            open.push(rustix::fs::open(&path, flags_of, Mode::empty()).named(|| format!("open({path})"))?);
            flags.push(flag);
        }
    }
    let fds: Vec<_> = open.iter().map(AsFd::as_fd).collect();
    outside.send_with(&Message::Namespaces(flags), &fds)
}

/// Splits this process: the copy returns and becomes the payload, this one stays as the reaper and does not return.
///
/// The reaper is rbox's own program, owned by the caller. No process of the container may reach it through
/// /proc/1/exe or trace it: it is not dumpable, and its memory belongs to the host's user namespace, in which nobody
/// inside has a capability (ptrace(2); CVE-2019-5736).
///
/// `has_terminal`: what is open here is still the caller's, who may wait for its end. `arguments`: where this program's own ones lie, which anybody may read of pid 1.
pub fn split(
    alone: &Alone,
    outside: &Sync,
    has_terminal: bool,
    arguments: Option<std::ops::Range<usize>>,
) -> Result<()> {
    if let Some(place) = arguments {
        process::erase_arguments(place);
    }
    let signals = signal::Blocked::all()?;
    // Before there is a payload that could trace this process. The copy becomes dumpable again with execve.
    process::set_dumpable(false)?;
    match clone::clone(alone, 0)? {
        Side::Child => {
            signals.unblock()?;
            Ok(())
        }
        Side::Parent(payload) => match reap(&payload, &signals, outside, has_terminal) {
            Ok(never) => match never {},
            Err(_) => process::exit_now(crate::error::FAILED),
        },
    }
}

fn reap(payload: &Child, signals: &signal::Blocked, outside: &Sync, has_terminal: bool) -> Result<Never> {
    if has_terminal {
        let null = fd::null()?;
        (0..3).try_for_each(|number| fd::place(null.as_fd(), number))?;
    }
    // Out of the caller's process group: what its terminal sends comes by way of rbox, once.
    process::new_session()?;
    caps::limit_bounding(CAP_KILL)?;
    caps::set(&caps::Sets { effective: CAP_KILL, permitted: CAP_KILL, ..caps::Sets::default() })?;
    process::die_with_parent()?;
    outside.end_if_alone();
    // From here on the payload alone holds the way outside: when it executes, or dies, the outside sees the end.
    keep_only(&[payload.pidfd.as_fd(), signals.queue.as_fd()])?;
    loop {
        wait_readable(signals.queue.as_fd())?;
        while let Some((number, _)) = signals.next()? {
            if number == libc::SIGCHLD {
                continue;
            }
            // The payload may have ended; its end is seen below.
            let _ = process::send_signal(payload.pidfd.as_fd(), number);
        }
        while let Some((pid, status)) = process::reap_ended()? {
            if pid == payload.pid {
                // The kernel ends what is left in this pid namespace.
                process::exit_now(status);
            }
        }
    }
}

/// Closes all but standard input, output, error and these.
fn keep_only(kept: &[std::os::fd::BorrowedFd<'_>]) -> Result<()> {
    use std::os::fd::AsRawFd;
    let mut numbers: Vec<u32> = kept.iter().map(|fd| fd.as_raw_fd() as u32).collect();
    numbers.sort_unstable();
    let mut first = 3;
    for number in numbers {
        fd::close_range(first, number.saturating_sub(1))?;
        first = number + 1;
    }
    fd::close_range(first, u32::MAX)?;
    Ok(())
}

fn wait_readable(fd: std::os::fd::BorrowedFd<'_>) -> Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};
    rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(&fd, PollFlags::IN)], None))?;
    Ok(())
}
