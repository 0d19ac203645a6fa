//! Outside: makes the container's first process and leads it to the point where it starts the payload.
//!
//! Runs in: the host's namespaces, with the caller's own ids and no privilege.

use super::bundle::Bundle;
use super::extra::Extra;
use super::fence::Fence;
use super::fuse::{self, Server};
use super::init::{self, Inside};
use super::joiner::Further;
use super::made::{Made, refused};
use super::network::{self, Connection, Neighbours};
use super::overlay::Refused;
use super::prepared::{Held, Prepared};
use super::state::Identity;
use super::sync::{self, Message, Sync};
use super::{hooks, joiner};
use crate::cgroup::group::Group;
use crate::error::{Advise, FAILED, Failure};
use crate::net::link::Ends;
use crate::sys::clone::{self, CLONE_NEWCGROUP, CLONE_NEWPID, CLONE_NEWUSER, Child, Side};
use crate::sys::signal::Mask;
use crate::sys::{Alone, fd, ids, process};
use crate::userns::idmap::IdMaps;
use crate::userns::write::{self, Writer};
use anyhow::{Context, Result, bail, ensure};
use oci_spec::runtime::{ContainerState, PosixRlimitType, State};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// How the container's standard streams are made.
#[derive(Debug)]
pub enum Stdio {
    /// As the caller has them; standard input empty unless it is wanted.
    Inherit {
        /// Keep standard input.
        stdin: bool,
    },
    /// A new pseudo-terminal, whose master side comes back to the caller.
    Terminal,
}

/// When the payload starts.
#[derive(Debug)]
pub enum Start {
    /// At once: create and start are one flow, and the container dies with the process that makes it.
    AtOnce,
    /// When somebody says so. The maker may end before.
    OnGate(Gate),
    /// Never: its root and its mounts are wanted, for others to enter. The first process waits until it is killed, or its
    /// maker ends.
    Never,
}

/// Where a container waits for its start: two FIFOs that are open for reading and writing. Whoever starts it writes a
/// byte into the one and reads the other, until that is closed, which execve does; what comes before is why there will be
/// none. Opened before the first process becomes somebody who may not.
#[derive(Debug)]
pub struct Gate {
    /// The byte comes here.
    pub start: OwnedFd,
    /// An error goes here.
    pub said: OwnedFd,
}

/// A container whose first process exists.
#[derive(Debug)]
pub struct Container {
    /// The first process, pid 1 of its pid namespace if it has one.
    pub init: Child,
    /// The same, to be written down.
    pub identity: Identity,
    /// The way to a first process that waits for its start.
    waiting: Option<Sync>,
    /// The master side of the terminal, if one was asked for.
    pub terminal: Option<OwnedFd>,
    /// The outer ends of its network, if it was to have an interface.
    pub network: Option<Ends>,
    /// Who serves its overlays. To be dropped when the first process has ended.
    pub servers: Vec<Server>,
    /// Its namespaces, with CLONE_NEW* of each, if the kernel does not show those of its first process.
    pub namespaces: Vec<(u32, OwnedFd)>,
}

/// Kills a process and collects it at the end of this value: for the time in which an error must not leave it running.
/// One that has ended before is no matter.
pub struct Leash<'a>(BorrowedFd<'a>);

impl<'a> Leash<'a> {
    /// On this process, a child of this one.
    pub fn on(child: &'a Child) -> Leash<'a> {
        Leash(child.pidfd.as_fd())
    }

    /// Lets it live.
    pub fn slip(self) {
        std::mem::forget(self);
    }
}

impl Drop for Leash<'_> {
    fn drop(&mut self) {
        let _ = process::send_signal(self.0, libc::SIGKILL);
        let _ = process::wait(self.0);
    }
}

impl Container {
    /// Called when the container is written down: from here on its first process waits for its start whatever becomes
    /// of this one.
    pub fn release(&self) -> Result<()> {
        let Some(waiting) = &self.waiting else { return Ok(()) };
        waiting.send(&Message::Recorded, None)?;
        match waiting.receive()? {
            Some((Message::Released, _)) => Ok(()),
            _ => bail!("handshake: ended before its start"),
        }
    }
}

/// Starts the container of a bundle. On an error nothing of it is left. `connection`: what a network
/// namespace that is made is connected to. `meanwhile`: what the maker has to do before the payload starts, and may do
/// while the first process is at work.
pub fn create(
    alone: &Alone,
    id: &str,
    bundle: &Bundle,
    (stdio, extra): (&Stdio, &Extra),
    start: Start,
    connection: Connection<'_>,
    meanwhile: impl FnOnce() -> Result<()>,
) -> Result<Container> {
    let (uid, gid) = (ids::uid(), ids::gid());
    let maps = bundle.maps.as_ref().map(|maps| (maps, write::writer(maps, uid, gid)));
    let (link, neighbours) = (connection.link(), connection.neighbours());
    let fence = fence(bundle, (uid, gid));
    let prepared = bundle.prepared.as_ref();
    ensure!(fence.is_none() || prepared.is_none(), "namespaces that were made ahead have no fence around them");
    let held = prepared.map(Prepared::held).transpose()?;
    let by_joiner = bundle.namespaces.need_joiner() || neighbours.is_some() || fence.is_some() || held.is_some();
    let flags = match maps {
        _ if by_joiner => 0,
        // A network namespace costs as much as all else together. The helpers start sooner if the first process makes
        // it, and the others, while they run.
        Some((_, Writer::Helpers)) => bundle.namespaces.new & (CLONE_NEWUSER | CLONE_NEWPID),
        _ => bundle.namespaces.new,
    };
    let later = if by_joiner { 0 } else { bundle.namespaces.new & !flags };
    let (by_gate, at_once) = (matches!(start, Start::OnGate(_)), matches!(start, Start::AtOnce));
    let mut inside = Some(Inside::plan(id, bundle, maps, later, (stdio, extra), start, connection)?);
    let (outside_end, inside_end) = sync::pair()?;
    let mut outside_end = Some(outside_end);
    // Whoever is in a cgroup namespace already may be moved inside of that only (cgroup_namespaces(7), "nsdelegate").
    let joins_cgroup = bundle.namespaces.join.iter().any(|(flag, _)| *flag == CLONE_NEWCGROUP);
    let cgroup = bundle.cgroup.as_ref().map(Group::dir);
    let mut begin = |cgroup, blocked: Option<&Mask>| -> ! {
        // By its number: memory may be the maker's, descriptors are not.
        let number = outside_end.as_ref().map(|end| end.as_fd().as_raw_fd() as u32);
        let closed = number.map_or(Ok(()), |number| fd::close_range(number, number));
        let around = Around { maps, neighbours, held: held.as_ref(), fence, cgroup };
        become_container(alone, bundle, around, &inside_end, || {
            closed?;
            std::mem::forget(outside_end.take());
            blocked.map_or(Ok(()), Mask::set)?;
            prepared.iter().for_each(|prepared| prepared.close_opened());
            inside.take().context("handshake: nothing to do")
        })
    };
    let own = cgroup.filter(|_| !joins_cgroup);
    let shared = held.is_some().then(|| clone::share(alone, &mut |blocked| begin(own, Some(blocked))));
    let made = match shared {
        Some(Ok(joiner)) => Ok(Side::Parent(joiner)),
        // No room for another stack, or somebody's filter does not know such a process: a copy can do the same.
        _ => clone::clone_into(alone, flags, cgroup.filter(|_| !by_joiner || joins_cgroup)),
    };
    let first = match made.map_err(|error| (error.errno, error)) {
        Ok(Side::Parent(child)) => child,
        Ok(Side::Child) => begin(own, None),
        Err((errno, error)) => return Err(error).maybe_hint(|| write::clone_refused(errno)),
    };
    let outside_end = outside_end.context("handshake: no connection")?;
    drop((inside, inside_end));
    // Ends after the first process does.
    let mut servers: Vec<Server> = Vec::new();
    let mut made = Made { joiner: None, init: None };
    let mut identity = None;
    if by_joiner {
        made.joiner = Some(first);
    } else {
        // While everybody may still look at it.
        identity = Some(Identity::of(first.pid));
        made.init = Some(first)
    }
    let writer = maps.filter(|(_, writer)| *writer != Writer::Itself);
    let mut network = None;
    if let (false, Some(init)) = (by_joiner, &made.init) {
        let writing = writer.map(|(maps, writer)| write::begin(init.pid, maps, writer)).transpose();
        let writing = writing.or_else(|error| prefer_theirs(&outside_end, error).map(|()| None))?;
        if let Some(writing) = writing {
            writing.finish().or_else(|error| prefer_theirs(&outside_end, error))?;
            outside_end.send(&Message::Mapped, None).or_else(|error| prefer_theirs(&outside_end, error))?;
        }
    }
    // Other processes are at work.
    let others = || -> Result<()> {
        if let Some(prepared) = prepared {
            // First what the first process waits for.
            prepared.mapped()?;
            writer.map_or(Ok(()), |_| outside_end.send(&Message::Mapped, None))?;
            network = link.map(|link| network::set_up(link, prepared.opened()?)).transpose()?;
        }
        meanwhile()
    };
    if let Err(error) = others() {
        // It is a child of this process as soon as the joiner has made it, which waits for nothing then.
        if prepared.is_some() || neighbours.is_some() {
            made.learn(&outside_end)?;
        }
        prefer_theirs(&outside_end, error)?;
    }
    // Where the container's processes are counted, whoever holds its namespaces is not to be one of them; and who may be seen in there
    // and has this process's memory is to be gone.
    let is_in_the_way = prepared.is_some() && (counts_processes(bundle) || !bundle.namespaces.makes(CLONE_NEWPID));
    if at_once && !is_in_the_way {
        // If it has given up, the reason comes next.
        outside_end.send(&Message::Start, None).or_else(|error| prefer_theirs(&outside_end, error))?;
    }
    let mut terminal = None;
    let mut namespaces = Vec::new();
    let (mut namespace, mut unconnected) = (None, None);
    loop {
        made.wait_for_word(&outside_end)?;
        let said = || servers.last().and_then(Server::last_words);
        let Some((message, mut fds)) = outside_end.receive().maybe_hint(said)? else { break };
        let fd = fds.pop();
        match message {
            Message::Namespace => namespace = fd,
            Message::Serve(target) => {
                ensure!(!by_gate, "fuse-overlayfs ends with its maker, which this container is to outlive");
                let namespace = namespace.take().context("handshake: no user namespace")?;
                let device = fd.context("handshake: no connection")?;
                let mut mounts = bundle.spec.mounts().iter().flatten();
                let mount = mounts.find(|mount| *mount.destination() == target).context("handshake: no such mount")?;
                servers.push(fuse::serve(alone, &namespace, device, mount)?);
                outside_end.send(&Message::Serving, None)?;
            }
            Message::Map => {
                let ids = fence.map(|fence| (fence.ids, fence.writer)).or(writer);
                let (Some((ids, writer)), Some(joiner)) = (ids, &made.joiner) else {
                    bail!("handshake: nothing to map")
                };
                write::for_child(joiner.pid, ids, writer)?;
                outside_end.send(&Message::Mapped, None)?;
            }
            Message::Made(pid) => {
                let pidfd = fd.context("handshake: no pidfd")?;
                identity = Some(Identity::of(pid));
                made.init = Some(Child { pid, pidfd });
                prepared.iter().for_each(|prepared| prepared.let_go());
                if let Some(joiner) = made.joiner.take() {
                    process::wait(joiner.pidfd.as_fd())?;
                }
                if let Some(prepared) = prepared.filter(|_| is_in_the_way && at_once) {
                    prepared.wait();
                    outside_end.send(&Message::Start, None).or_else(|error| prefer_theirs(&outside_end, error))?;
                }
                if neighbours.is_some() || fence.is_some() {
                    outside_end.send(&Message::Mapped, None)?;
                }
            }
            Message::Mounted => {
                let pid = made.init.as_ref().map(|init| init.pid);
                run_runtime_hooks(id, bundle, pid)?;
                outside_end.send(&Message::Hooked, None)?;
            }
            Message::Connected(tap) => {
                fds.extend(fd);
                network = Some(Ends::received(tap, fds)?);
            }
            Message::Neighbour => {
                unconnected = Some(fd.context("handshake: no network namespace")?);
            }
            Message::Namespaces(flags) => {
                fds.extend(fd);
                ensure!(flags.len() == fds.len(), "handshake: namespaces are missing");
                namespaces = flags.into_iter().zip(fds).collect();
            }
            Message::Terminal => terminal = Some(fd.context("handshake: no terminal")?),
            Message::Refused { call, errno } => return Err(refused(call, errno)),
            Message::Ready => break,
            message => bail!("handshake: {message:?} from inside"),
        }
        // The first process waits for its ids sooner than for this.
        if let (Some(neighbours), Some(namespace)) = (neighbours, unconnected.take_if(|_| made.init.is_some())) {
            (neighbours.attach)(namespace)?;
            // If it has given up, the reason comes next.
            outside_end.send(&Message::Attached, None).or_else(|error| prefer_theirs(&outside_end, error))?;
        }
    }
    let identity = identity.context("handshake: ended before there was a first process")??;
    let init = made.init.take().context("handshake: ended before there was a first process")?;
    let waiting = (!at_once).then_some(outside_end);
    ensure!(network.is_some() == link.is_some(), "handshake: no network");
    Ok(Container { init, identity, waiting, terminal, network, servers, namespaces })
}

/// The one that is to be around it.
fn fence(bundle: &Bundle, (uid, gid): (u32, u32)) -> Option<Fence<'_>> {
    let (ids, group) = bundle.fence.as_ref().zip(bundle.cgroup.as_ref())?;
    Some(Fence { ids, writer: write::writer(ids, uid, gid), own: group.path() })
}

/// True if a limit of the payload counts processes of its user namespace (getrlimit(2), RLIMIT_NPROC).
fn counts_processes(bundle: &Bundle) -> bool {
    let limits = bundle.spec.process().as_ref().and_then(|process| process.rlimits().as_ref());
    limits.is_some_and(|limits| limits.iter().any(|limit| limit.typ() == PosixRlimitType::RlimitNproc))
}

/// The state that hooks and callers see (runtime-spec runtime.md, "State").
pub fn state(id: &str, bundle: &Bundle, status: ContainerState, pid: Option<i32>) -> State {
    let mut state = State::default();
    state
        .set_version(bundle.spec.version().clone())
        .set_id(id.to_owned())
        .set_status(status)
        .set_pid(pid)
        .set_bundle(bundle.dir.clone())
        .set_annotations(bundle.spec.annotations().clone());
    state
}

fn run_runtime_hooks(id: &str, bundle: &Bundle, pid: Option<i32>) -> Result<()> {
    let Some(all) = bundle.spec.hooks() else { return Ok(()) };
    let state = state(id, bundle, ContainerState::Creating, pid);
    hooks::run("prestart", all.prestart().as_ref(), &state)?;
    hooks::run("createRuntime", all.create_runtime().as_ref(), &state)
}

/// Where the first process begins.
struct Around<'a> {
    /// The ids of its user namespace.
    maps: Option<(&'a IdMaps, Writer)>,
    /// That is inside another one.
    neighbours: Option<&'a Neighbours<'a>>,
    /// Namespaces that were made before.
    held: Option<&'a Held>,
    /// What is to be around it.
    fence: Option<Fence<'a>>,
    cgroup: Option<BorrowedFd<'a>>,
}

/// The process that becomes the container. Ends in the payload, or says why not and ends. `take`: called in the container's first
/// process, which leaves to its maker what is the maker's.
fn become_container<'a>(
    alone: &Alone,
    bundle: &'a Bundle,
    Around { maps, neighbours, held, fence, cgroup }: Around<'_>,
    outside: &Sync,
    take: impl FnOnce() -> Result<Inside<'a>>,
) -> ! {
    let linux = bundle.spec.linux().as_ref();
    let joined = || {
        // Of this process alone, also where another one waits that has the same memory.
        init::set_oom_score(&bundle.spec)?;
        if let Some(held) = held {
            return joiner::run_prepared(alone, &bundle.namespaces, held, cgroup, outside);
        }
        if !bundle.namespaces.need_joiner() && neighbours.is_none() && fence.is_none() {
            return Ok(());
        }
        let time_offsets = linux.and_then(|linux| linux.time_offsets().as_ref());
        let further = Further { time_offsets, cgroup, fence };
        match neighbours {
            Some(around) => joiner::run_inside(alone, &bundle.namespaces, maps, around, further, outside),
            None => joiner::run(alone, &bundle.namespaces, maps, further, outside),
        }
    };
    let Err(error) = joined().and_then(|()| init::run(alone, take()?, outside));
    let failure = Failure::from(&error);
    // If nobody listens any more there is nobody to tell.
    let exit = if failure.exit == 0 { FAILED } else { failure.exit };
    let is_overlay = error.chain().any(|cause| cause.is::<Refused>());
    let message = if is_overlay { Message::NoOverlay(failure) } else { Message::Failed(failure) };
    let _ = outside.send(&message, None);
    process::exit_now(exit);
}

/// If a step failed because the first process gave up before, its own reason is the better one.
fn prefer_theirs(outside: &Sync, ours: anyhow::Error) -> Result<()> {
    if fd::hung_up(outside) {
        // What was said before is of no use any more.
        while let Some((message, _)) = outside.receive()? {
            if let Message::Refused { call, errno } = message {
                return Err(refused(call, errno));
            }
        }
    }
    Err(ours)
}
