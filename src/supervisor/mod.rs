//! One supervisor per container: it starts the container, passes signals and bytes, and knows how it ended.
//!
//! In the foreground the command line's own process is the supervisor, otherwise a copy of it (`detach.rs`). Everything here is
//! in the host's namespaces.

pub mod again;
pub mod attach;
pub mod client;
pub mod control;
pub mod detach;
pub mod event;
pub mod execution;
pub mod health;
pub mod inward;
pub mod message;
pub mod network;
pub mod notify;
pub mod session;
pub mod signals;
pub mod terminal;

use crate::cgroup::group::Group;
use crate::engine::cgroup::Cgroup;
use crate::engine::created::Created;
use crate::engine::network::Outside;
use crate::engine::networks::membership::Shared;
use crate::engine::wait;
use crate::net::carrier::First;
use crate::net::service::{Carried, Task};
use crate::runtime::create::{self, Container, Leash, Start, Stdio};
use crate::runtime::exec::Door;
use crate::runtime::network::{Connection, Neighbours};
use crate::spec::health::OnFailure;
use crate::sys::clone::{CLONE_NEWPID, Child};
use crate::sys::signal::Blocked;
use crate::sys::{Alone, fd, process};
use anyhow::{Result, anyhow};
use control::Control;
use event::{Owner, Source, Wanted};
use health::Monitor;
use message::Request;
use network::Network;
use notify::Notifier;
use rustix::event::PollFlags;
use session::Session;
use signals::Forward;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// Runs a created container to its end: the payload's exit status, or 128 and the number of the signal that ended it. It has
/// rbox's own standard streams. `tell` gets what goes wrong meanwhile and does not end it.
pub fn run(mut created: Created, tell: fn(anyhow::Error)) -> Result<u8> {
    let outcome = attend(&mut created, &mut None, |_| Ok(()), tell)?;
    if created.cgroup.as_ref().is_some_and(Cgroup::ever_killed) {
        tell(anyhow!("container {}: {}", created.shown(), wait::OUT_OF_MEMORY));
    }
    created.let_go();
    Ok(outcome.status)
}

/// How a run has ended.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// The payload's exit status, or 128 and the number of the signal.
    pub status: u8,
    /// How long it ran.
    pub ran: Duration,
    /// It is to be started again, whatever its policy: it was unhealthy.
    pub again: bool,
}

/// From the start of a container to its end. `session`: its standard streams, if they are not rbox's own. `started` is called
/// when the payload runs.
fn attend(
    created: &mut Created,
    session: &mut Option<Session>,
    started: impl FnOnce(&mut Option<Session>) -> Result<()>,
    tell: fn(anyhow::Error),
) -> Result<Outcome> {
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
        control = Some(Control::open(&record.dir, &created.actor)?);
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
    let mut notifier = created.notify.take().map(Notifier::new).transpose()?;
    created.unheard.take().into_iter().for_each(tell);
    let container =
        create::create(&alone, &record.id, bundle, (&stdio, &created.extra), Start::AtOnce, connection, write)?;
    let Container { init, identity, terminal, network, servers, namespaces, .. } = container;
    let cgroup = created.bundle.cgroup.as_ref().map(Group::again).transpose()?;
    let door = Door { init: init.pidfd.try_clone()?, namespaces, cgroup, pid: init.pid };
    let leash = Leash::on(&init);
    let pidfile = created.started(&identity)?;
    // They are the payload's alone. Whoever sees it let them go finds it written down.
    fd::close_range(3, 2 + created.extra.descriptors)?;
    if let Some((session, master)) = session.as_mut().zip(terminal) {
        session.take_terminal(master)?;
    }
    // Before a command that is waited for may end.
    notifier.iter_mut().for_each(Notifier::started);
    started(session)?;
    let begin = Instant::now();
    // Nobody waits for any of that.
    created.settle(&alone);
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
    let around = (&mut network, &mut notifier);
    let ended = until_end((&init, &door), session.as_mut(), control, created, &signals, around, tell);
    network.end(tell);
    let status = ended.and_then(|Ended { forward, again }| {
        let status = process::wait(init.pidfd.as_fd())?;
        Ok((forward.status(status), again))
    });
    drop(leash);
    if !own_pids {
        process::kill_children()?;
    }
    drop(pidfile);
    // Whatever they still write is written before anything is removed.
    drop(servers);
    let (status, again) = status?;
    created.ended(status);
    Ok(Outcome { status, ran: begin.elapsed(), again })
}

/// The loop: bytes, signals, the network, requests, checks, time limits, the end. The first process is still to be waited for.
fn until_end<'a>(
    (init, door): (&'a Child, &Door),
    mut session: Option<&mut Session>,
    mut control: Option<Control>,
    created: &mut Created,
    signals: &Blocked,
    (network, notifier): (&mut Network, &mut Option<Notifier>),
    tell: fn(anyhow::Error),
) -> Result<Ended<'a>> {
    let mut forward = Forward::new(init, created.bundle.namespaces.makes(CLONE_NEWPID));
    let known = created.record.disk().unwrap_or(&created.record.dir);
    let mut health = created.health.clone().map(|check| Monitor::start(check, known, &created.actor)).transpose()?;
    // One that is further away than time goes never comes.
    let limit = Some(created.timeout).filter(|seconds| *seconds > 0);
    let mut limit = limit.and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds)));
    let mut again = false;
    let mut has_ended = false;
    while !has_ended {
        let mut wanted: Wanted<'_> = vec![
            (Source::Init, init.pidfd.as_fd(), PollFlags::IN),
            (Source::Signal, signals.queue.as_fd(), PollFlags::IN),
        ];
        // kernfs tells of a change with both.
        let memory = created.cgroup.as_ref().and_then(Cgroup::watch_memory);
        wanted.extend(memory.map(|events| (Source::Memory, events, PollFlags::PRI)));
        wanted.extend(network.wanted().into_iter().map(|(fd, flags)| (Source::Network, fd, flags)));
        session.iter().for_each(|session| session.wanted(Owner::Container, &mut wanted));
        health.iter().for_each(|health| health.wanted(&mut wanted));
        let attached = session.as_ref().map_or(0, |session| session.clients());
        control.iter().for_each(|control| control.wanted(attached, &mut wanted));
        notifier.iter().for_each(|notifier| notifier.wanted(&mut wanted));
        let checks = health.as_ref().and_then(Monitor::deadline);
        let due = limit.into_iter().chain(checks).chain(control.as_ref().and_then(Control::deadline)).min();
        for (source, flags) in event::wait(&wanted, due)? {
            match source {
                Source::Init => has_ended = true,
                Source::Memory => created.tell_of_memory(),
                Source::Network => network.go_on(tell),
                Source::Notification | Source::Manager => notifier.iter_mut().for_each(Notifier::step),
                Source::Signal => {
                    while let Some((signal, _)) = signals.next()? {
                        forward.pass(signal)?;
                    }
                }
                Source::Session(Owner::Container, end) => {
                    let Some(session) = session.as_deref_mut() else { continue };
                    match session.step(end, flags) {
                        // What is no signal is no reason to end.
                        Some(Request::Signal(signal @ 1..=64)) => forward.pass(signal)?,
                        Some(Request::Resize(rows, columns)) => session.resize(rows, columns),
                        _ => {}
                    }
                }
                other => {
                    let Some(control) = &mut control else { continue };
                    match &mut health {
                        Some(health) if health::is_of(other) => health.step(other, flags, &mut control.program),
                        _ => {
                            let guest = control.step(other, flags, &created.bundle.spec, door);
                            guest.into_iter().for_each(|socket| control::attach(socket, session.as_deref_mut()));
                        }
                    }
                }
            }
        }
        session.iter_mut().for_each(|session| session.tidy());
        control.iter_mut().for_each(Control::tidy);
        if let Some((health, control)) = health.as_mut().zip(control.as_ref()).filter(|_| !has_ended) {
            if health.go_on(&created.bundle.spec, door, &control.program)? {
                again |= health.action() == OnFailure::Restart;
                let patience = health::end(health.action(), created, &mut forward)?;
                limit = patience.and_then(|patience| Instant::now().checked_add(patience)).or(limit);
            }
            notifier.iter_mut().filter(|_| health.is_healthy()).for_each(Notifier::healthy);
        }
        if limit.is_some_and(|limit| Instant::now() >= limit) {
            process::send_signal(init.pidfd.as_fd(), libc::SIGKILL)?;
            limit = None;
        }
    }
    session.into_iter().for_each(Session::finish);
    notifier.iter_mut().for_each(Notifier::finish);
    Ok(Ended { forward, again })
}

/// How the loop has ended.
struct Ended<'a> {
    forward: Forward<'a>,
    /// The container is to be started again, whatever its policy.
    again: bool,
}
