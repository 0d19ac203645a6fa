//! A container that is started again by itself. The supervisor's program begins anew, as the same process, with the container's
//! locks: whoever has had an event loop makes no namespaces any more, and nobody else can come in between.

use super::{Outcome, detach};
use crate::engine::container;
use crate::engine::create;
use crate::engine::record::{CONTROL, Record, gone};
use crate::engine::restart;
use crate::error::{FAILED, Failure};
use crate::spec::restart::Restart;
use crate::sys::signal::{self, Blocked};
use crate::sys::{Named, fd, named_socket, process};
use anyhow::{Context, Result, anyhow};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::SocketFlags;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The first argument of a supervisor that starts its container again. Not a verb of the command line: nobody types it.
pub const ROLE: &str = "supervisor";

/// Called when a container has ended. Does not come back if it is started again.
pub fn unless_over(record: &Record, policy: Restart, outcome: &Outcome) -> Result<()> {
    let Some(disk) = record.kept() else { return Ok(()) };
    let policy = if outcome.again { Restart::Always } else { policy };
    let Some(delay) = restart::next(disk, policy, outcome.status, outcome.ran)? else { return Ok(()) };
    let failed = if wait(&record.dir, disk, delay)? { Err(begin(record)) } else { Ok(()) };
    restart::go_on(disk);
    failed
}

/// False if somebody stops it meanwhile, or this process is told to end.
fn wait(dir: &Path, disk: &Path, delay: Duration) -> Result<bool> {
    gone(rustix::fs::unlink(dir.join(CONTROL)), dir)?;
    let listener = named_socket::listen(dir, CONTROL, 16)?;
    let signals = Blocked::all()?;
    let end = Instant::now() + delay;
    loop {
        if restart::is_stopped(disk) {
            return Ok(false);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(true);
        }
        let limit = Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos().into() };
        let mut fds = [PollFd::new(&listener, PollFlags::IN), PollFd::new(&signals.queue, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut fds, Some(&limit))).named(|| "poll".to_owned())?;
        if !fds[0].revents().is_empty() {
            // There is nothing to be had here: whoever comes has a look taken, or learns that nothing runs.
            let _ = rustix::net::accept_with(&listener, SocketFlags::CLOEXEC);
        }
        while let Some((signal, _)) = signals.next()? {
            if signal::asks_to_end(signal) {
                return Ok(false);
            }
        }
    }
}

/// The program again. Comes back with an error only.
fn begin(record: &Record) -> anyhow::Error {
    let executed = || -> Result<()> {
        let locks = record.locks()?.context("not kept")?;
        signal::unblock_all()?;
        let mut command = Command::new("/proc/self/exe");
        command.arg0("rbox").arg(ROLE).arg(&record.id).args(locks.map(|lock| lock.to_string()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Err(command.exec()).context("start of a supervisor")
    };
    executed().err().unwrap_or_else(|| anyhow!("start of a supervisor"))
}

/// What such a supervisor does.
pub fn main(id: &str, locks: [&str; 2], tell: fn(anyhow::Error)) -> Result<u8> {
    process::set_plain_umask();
    let number = |text: &str| text.parse().context("descriptor of a lock");
    let locks = [fd::take_over(number(locks[0])?, 3)?, fd::take_over(number(locks[1])?, 3)?];
    let [kept, _] = container::places()?;
    let found = container::read(&kept.join(id))?.with_context(|| format!("no such container: {id}"))?;
    let again = [locks[0].try_clone()?, locks[1].try_clone()?];
    let started = create::once_more(&found, locks).and_then(|created| detach::supervise(created, None, tell));
    let Err(error) = started else { return Ok(0) };
    // It may go another time: a port is in use, a network is not there.
    let record = Record::adopt(&found, again)?;
    // On a full disk it goes on all the same.
    let _ = record.ended(FAILED, &Failure::from(&error).message, false);
    let outcome = Outcome { status: FAILED, ran: Duration::ZERO, again: false };
    unless_over(&record, found.container.restart, &outcome)?;
    Ok(FAILED)
}
