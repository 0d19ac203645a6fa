//! One supervisor per container: it starts the container, passes signals and bytes, and knows how it ended.
//!
//! In the foreground the command line's own process is the supervisor, otherwise a copy of it (`detach.rs`). Everything here is
//! in the host's namespaces.

pub mod attach;
pub mod control;
pub mod detach;
pub mod logged;
pub mod network;
pub mod signals;
pub mod streams;
pub mod terminal;

use crate::engine::create::Created;
use crate::engine::network::Outside;
use crate::engine::networks::membership::Shared;
use crate::net::carrier::First;
use crate::net::service::{Carried, Task};
use crate::runtime::create::{self, Container, Leash, Start, Stdio};
use crate::runtime::network::{Connection, Neighbours};
use crate::sys::clone::{CLONE_NEWPID, Child};
use crate::sys::signal::Blocked;
use crate::sys::{Alone, process};
use anyhow::Result;
use control::Control;
use network::Network;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signals::Forward;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};
use streams::Streams;

/// Runs a created container to its end: the payload's exit status, or 128 and the number of the signal that ended it.
/// `tell` gets what goes wrong meanwhile and does not end it.
pub fn run(created: Created, tell: fn(anyhow::Error)) -> Result<u8> {
    attend(created, Streams::Straight, || Ok(()), tell)
}

/// From the start of a container to its end. `started` is called when the payload runs.
fn attend(
    mut created: Created,
    streams: Streams,
    started: impl FnOnce() -> Result<()>,
    tell: fn(anyhow::Error),
) -> Result<u8> {
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
    let shared = created.shared.take();
    let (mut doors, mut control) = (None, None);
    let publish = match (&created.network, &shared) {
        (Some(network), _) => network.publish.as_slice(),
        (None, Some(shared)) => shared.publish.as_slice(),
        (None, None) => &[],
    };
    let write = || {
        doors = network::open(publish, record)?;
        control = Some(Control::open(&record.dir)?);
        unwritten.write(record, &bundle.spec)
    };
    let attach = |namespace: OwnedFd| shared.as_ref().map_or(Ok(()), |shared| shared.attach(&namespace));
    let neighbours = shared.as_ref().map(|Shared { keeper, .. }| {
        let attach: &dyn Fn(OwnedFd) -> Result<()> = &attach;
        Neighbours { around: &keeper.around, ids: &keeper.ids, attach }
    });
    let connection = match (&created.network, &neighbours) {
        (Some(network), _) => Connection::Own(&network.link),
        (None, Some(neighbours)) => Connection::Neighbours(neighbours),
        (None, None) => Connection::None,
    };
    let container = create::create(&alone, &record.id, bundle, &stdio, Start::AtOnce, connection, write)?;
    let Container { init, identity, terminal, network, servers, .. } = container;
    let leash = Leash::on(&init);
    let pidfile = created.started(&identity)?;
    created.record.prepare_end();
    let streams = streams.started(terminal, created.interactive)?;
    started()?;
    let task = match (network.zip(created.network.take()), &shared) {
        (Some((ends, Outside { uplink, .. })), _) => {
            let doors = doors.map(|doors| (doors, uplink.places()));
            Some(Task {
                carried: Some(Carried { ends, uplink, names: None, first: First::Nothing }),
                doors,
                pid: init.pid,
            })
        }
        (None, Some(shared)) => doors.map(|doors| {
            let doors = Some((doors, shared.places()));
            Task { carried: None, doors, pid: init.pid }
        }),
        (None, None) => None,
    };
    let mut network = Network::new(task, shared.map(|shared| shared.keeper), init.pid, alone);
    let ended = until_end(&init, streams, control, &created, &signals, &mut network, tell);
    network.end(tell);
    let status = ended.and_then(|forward| Ok(forward.status(process::wait(init.pidfd.as_fd())?)));
    drop(leash);
    if !own_pids {
        process::kill_children()?;
    }
    drop(pidfile);
    // Whatever they still write is written before anything is removed.
    drop(servers);
    let status = status?;
    // On a full disk it is not known afterwards how it ended; the status counts now.
    let _ = created.record.ended(status, "");
    Ok(status)
}

/// The loop: bytes, signals, the network, the time limit, the end. The first process is still to be waited for.
fn until_end<'a>(
    init: &'a Child,
    mut streams: Streams,
    mut control: Option<Control>,
    created: &Created,
    signals: &Blocked,
    network: &mut Network,
    tell: fn(anyhow::Error),
) -> Result<Forward<'a>> {
    let mut forward = Forward::new(init, created.bundle.namespaces.makes(CLONE_NEWPID));
    // One that is further away than time goes never comes.
    let deadline = Some(created.timeout).filter(|seconds| *seconds > 0);
    let deadline = deadline.and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds)));
    loop {
        let Happened { ended, sent, asked } =
            wait(&init.pidfd, signals, &mut streams, control.as_ref(), network, deadline)?;
        if let Some(control) = control.as_mut().filter(|_| asked) {
            control.step(&created.bundle.spec, &init.pidfd);
        }
        if sent {
            network.go_on(tell);
        }
        while let Some((signal, _)) = signals.next()? {
            match (signal, streams.relay()) {
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
    streams.finish(signals);
    Ok(forward)
}

/// What there is to do.
struct Happened {
    /// The container has ended.
    ended: bool,
    /// It needs its network.
    sent: bool,
    /// Somebody asks for something, or what was done for somebody has ended.
    asked: bool,
}

/// Waits for something to do, and moves bytes of the container's streams.
fn wait(
    pidfd: &impl AsFd,
    signals: &Blocked,
    streams: &mut Streams,
    control: Option<&Control>,
    network: &Network,
    deadline: Option<Instant>,
) -> Result<Happened> {
    let left = deadline.map(|deadline| {
        let left = deadline.saturating_duration_since(Instant::now());
        // Never zero: a container that does not die at once must not make this a busy loop.
        let left = left.max(Duration::from_millis(20));
        Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos().into() }
    });
    let mut fds = vec![PollFd::new(pidfd, PollFlags::IN), PollFd::new(&signals.queue, PollFlags::IN)];
    let wanted = streams.wanted();
    let first = fds.len();
    fds.extend(wanted.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)));
    let first_of_network = fds.len();
    fds.extend(network.wanted());
    let first_of_control = fds.len();
    fds.extend(control.map(Control::wanted).unwrap_or_default());
    rustix::io::retry_on_intr(|| poll(&mut fds, left.as_ref()))?;
    let ended = !fds[0].revents().is_empty();
    let any = |fds: &[PollFd<'_>]| fds.iter().any(|fd| !fd.revents().is_empty());
    let (sent, asked) = (any(&fds[first_of_network..first_of_control]), any(&fds[first_of_control..]));
    let ready: Vec<_> = wanted.iter().zip(&fds[first..]).map(|((end, ..), fd)| (*end, fd.revents())).collect();
    drop(fds);
    drop(wanted);
    streams.step(&ready);
    Ok(Happened { ended, sent, asked })
}
