//! One supervisor per container: it starts the container, passes signals and bytes, and knows how it ended.
//!
//! In the foreground the command line's own process is the supervisor. Everything here is in the host's namespaces.

pub mod signals;
pub mod terminal;

use crate::engine::create::Created;
use crate::runtime::create::{self, Container, Leash, Start, Stdio};
use crate::sys::clone::{CLONE_NEWPID, Child};
use crate::sys::signal::Blocked;
use crate::sys::{Alone, process};
use anyhow::Result;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signals::Forward;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};
use terminal::Relay;

/// Runs a created container to its end: the payload's exit status, or 128 and the number of the signal that ended it.
pub fn run(mut created: Created) -> Result<u8> {
    let signals = Blocked::all()?;
    let alone = Alone::check()?;
    let stdio = if created.tty { Stdio::Terminal } else { Stdio::Inherit { stdin: created.interactive } };
    let own_pids = created.bundle.namespaces.has(CLONE_NEWPID);
    if !own_pids {
        // No pid namespace ends what the payload leaves behind: it comes to this process.
        process::adopt_orphans()?;
    }
    let unwritten = created.unwritten();
    let (record, bundle) = (&created.record, &created.bundle);
    let write = || unwritten.write(record, &bundle.spec);
    let container = create::create(&alone, &record.id, bundle, &stdio, Start::AtOnce, write)?;
    let Container { init, identity, terminal, servers, .. } = container;
    let leash = Leash::on(&init);
    let pidfile = created.started(&identity)?;
    created.record.prepare_end();
    let status = until_end(&init, terminal, &created, &signals);
    drop(leash);
    if !own_pids {
        process::kill_children()?;
    }
    drop(pidfile);
    // Whatever they still write is written before anything is removed.
    drop(servers);
    let status = status?;
    // On a full disk it is not known afterwards how it ended; the status counts now.
    let _ = created.record.ended(status);
    Ok(status)
}

/// The loop: bytes, signals, the time limit, the end.
fn until_end(init: &Child, terminal: Option<OwnedFd>, created: &Created, signals: &Blocked) -> Result<u8> {
    let mut relay = terminal.map(|master| Relay::start(master, created.interactive)).transpose()?;
    let mut forward = Forward::new(init, created.bundle.namespaces.makes(CLONE_NEWPID));
    // One that is further away than time goes never comes.
    let deadline = Some(created.timeout).filter(|seconds| *seconds > 0);
    let deadline = deadline.and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds)));
    loop {
        let ended = wait(&init.pidfd, signals, relay.as_mut(), deadline)?;
        while let Some((signal, _)) = signals.next()? {
            match (signal, relay.as_mut()) {
                (libc::SIGWINCH, Some(relay)) => relay.resize(),
                (libc::SIGCONT, Some(relay)) => relay.continued(),
                _ => forward.pass(signal)?,
            }
        }
        if ended {
            break;
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            process::send_signal(init.pidfd.as_fd(), libc::SIGKILL)?;
        }
    }
    if let Some(relay) = relay {
        relay.finish(signals);
    }
    let status = process::wait(init.pidfd.as_fd())?;
    Ok(forward.status(status))
}

/// Waits for something to do and moves bytes of the terminal; true when the container has ended.
fn wait(pidfd: &impl AsFd, signals: &Blocked, relay: Option<&mut Relay>, deadline: Option<Instant>) -> Result<bool> {
    let left = deadline.map(|deadline| {
        let left = deadline.saturating_duration_since(Instant::now());
        // Never zero: a container that does not die at once must not make this a busy loop.
        let left = left.max(Duration::from_millis(20));
        Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos().into() }
    });
    let mut fds = vec![PollFd::new(pidfd, PollFlags::IN), PollFd::new(&signals.queue, PollFlags::IN)];
    let wanted = relay.as_ref().map(|relay| relay.wanted()).unwrap_or_default();
    fds.extend(wanted.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)));
    rustix::io::retry_on_intr(|| poll(&mut fds, left.as_ref()))?;
    let ended = !fds[0].revents().is_empty();
    let ready: Vec<_> = wanted.iter().zip(&fds[2..]).map(|((end, ..), fd)| (*end, fd.revents())).collect();
    drop(fds);
    drop(wanted);
    if let Some(relay) = relay {
        relay.step(&ready);
    }
    Ok(ended)
}
