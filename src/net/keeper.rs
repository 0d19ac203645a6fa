//! The process that starts a helper and ends it when rbox is gone, however it went.
//!
//! A helper changes its ids or namespaces, and with that the kernel forgets that it was to die with its parent
//! (prctl(2), PR_SET_PDEATHSIG); Debian 12's pasta does not end with the container's namespaces, either. So its parent is
//! this process, which waits for the end of a pipe that only rbox holds.
//!
//! Runs in: the host's namespaces, as a program of its own (`rbox net-keeper PROGRAM ARGUMENT…`).

use crate::sys::{Named, fd, process, signal};
use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, poll};
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};

/// The first argument of a keeper. Not a verb of the command line: nobody types it.
pub const ROLE: &str = "net-keeper";

/// The command that has a helper kept: its standard input is the pipe, and its end comes with the helper's, with the
/// same status, or 128 and the number of the signal.
pub fn command(program: &OsStr) -> Command {
    let mut command = Command::new("/proc/self/exe");
    // Whoever ends everything called rbox ends its helpers, too.
    command.arg0(ROLE).arg(ROLE).arg(program);
    command
}

/// What such a process does.
pub fn main(program: &str, arguments: &[String]) -> Result<u8> {
    rustix::thread::set_name(c"net-keeper").named(|| "prctl(NAME)".to_owned())?;
    // What a terminal sends is for the container.
    process::new_session()?;
    // Only rbox's end ends it. The helper starts with none blocked, as every Command does.
    let _signals = signal::Blocked::all()?;
    let mut helper = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("start {program}"))?;
    let pidfd = process::open_pidfd(helper.id() as i32)?;
    let rbox = rustix::stdio::stdin();
    // For the case that somebody kills this process. If rbox is gone, it is seen next.
    let _ = fd::send(rbox, b"helper", &[pidfd.as_fd()]);
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN), PollFd::from_borrowed_fd(rbox, PollFlags::IN)];
    rustix::io::retry_on_intr(|| poll(&mut fds, None)).named(|| "poll".to_owned())?;
    if fds[0].revents().is_empty() {
        helper.kill().context("kill")?;
    }
    let status = helper.wait()?;
    Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)) as u8)
}
