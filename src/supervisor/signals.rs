//! Signals for rbox are signals for the payload.

use crate::runtime::signal::has_default;
use crate::sys::clone::Child;
use crate::sys::process;
use crate::sys::signal::asks_to_end;
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
        let deadly = asks_to_end(signal);
        if deadly && self.first_of_namespace && has_default(self.pid, signal) {
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

    /// The status to report, given the one that the kernel reports.
    pub fn status(&self, status: u8) -> u8 {
        match self.ended_by {
            Some(signal) if status == 128 + libc::SIGKILL as u8 => 128 + signal as u8,
            _ => status,
        }
    }
}
