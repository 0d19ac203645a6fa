//! Signals for rbox are signals for the payload.

use crate::sys::clone::Child;
use crate::sys::process;
use anyhow::Result;
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd};

/// Passes signals on to the container's first process.
pub struct Forward<'a> {
    pid: i32,
    pidfd: BorrowedFd<'a>,
    /// It is pid 1 of a pid namespace.
    first_of_namespace: bool,
    /// The signal whose default action was carried out for it.
    ended_by: Option<i32>,
}

impl<'a> Forward<'a> {
    /// For this process.
    pub fn new(init: &'a Child, first_of_namespace: bool) -> Forward<'a> {
        Forward { pid: init.pid, pidfd: init.pidfd.as_fd(), first_of_namespace, ended_by: None }
    }

    /// Passes one signal on. Those that concern rbox itself alone stay: a child's end, its terminal, its own pipes.
    ///
    /// The kernel drops a signal for a pid 1 that has no handler for it (pid_namespaces(7)), so that Ctrl-C would do
    /// nothing for most programs. The default action is then carried out here: the container is killed and its status
    /// tells of the signal.
    pub fn pass(&mut self, signal: i32) -> Result<()> {
        if matches!(signal, libc::SIGCHLD | libc::SIGURG | libc::SIGWINCH | libc::SIGCONT | libc::SIGPIPE) {
            return Ok(());
        }
        let deadly = matches!(signal, libc::SIGINT | libc::SIGTERM | libc::SIGHUP | libc::SIGQUIT);
        if deadly && self.first_of_namespace && self.would_be_dropped(signal) {
            self.ended_by = Some(signal);
            return self.send(libc::SIGKILL);
        }
        self.send(signal)
    }

    fn send(&self, signal: i32) -> Result<()> {
        match process::send_signal(self.pidfd, signal) {
            // It has ended, which the loop will see.
            Err(error) if error.errno == Errno::SRCH => Ok(()),
            result => Ok(result?),
        }
    }

    /// True if the process neither handles, ignores, blocks nor waits for the signal (proc_pid_status(5), SigBlk,
    /// SigIgn, SigCgt). While it waits in sigwait(3) the kernel shows what it waits for as not blocked.
    fn would_be_dropped(&self, signal: i32) -> bool {
        let file = |name: &str| fs_err::read_to_string(format!("/proc/{}/{name}", self.pid));
        let Ok(status) = file("status") else { return false };
        let bit = 1u64 << (signal - 1);
        let waits = match file("syscall") {
            Ok(call) => call.split(' ').next() == Some(&libc::SYS_rt_sigtimedwait.to_string()),
            // Another user's may be read only by that user; where a process sleeps in the kernel, by whoever owns its
            // user namespace, too.
            Err(_) => file("wchan").is_ok_and(|place| place.contains("sigtimedwait")),
        };
        !waits
            && !status
                .lines()
                .filter_map(|line| {
                    let (name, mask) = line.split_once(":\t")?;
                    matches!(name, "SigBlk" | "SigIgn" | "SigCgt").then(|| u64::from_str_radix(mask, 16).ok())?
                })
                .any(|mask| mask & bit != 0)
    }

    /// The status to report, given the one that the kernel reports.
    pub fn status(&self, status: u8) -> u8 {
        match self.ended_by {
            Some(signal) if status == 128 + libc::SIGKILL as u8 => 128 + signal as u8,
            _ => status,
        }
    }
}
