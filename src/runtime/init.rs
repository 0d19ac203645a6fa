//! Inside: the container's first process, from clone to execve.
//!
//! Runs in: new user, pid, mount, network, ipc, uts and cgroup namespaces, or those that the Spec asks for; one thread;
//! a copy of the maker's memory. Ends in the payload or in an error, which goes outside.

use super::bundle::Bundle;
use super::create::{Gate, Start, Stdio};
use super::extra::Extra;
use super::network::Connection;
use super::payload::Payload;
use super::sync::{Message, Sync};
use super::{create, hooks, mounts, network, overlay, reaper, rootfs, sysctl};
use crate::error::Failure;
use crate::sys::clone::{self, CLONE_NEWNET, CLONE_NEWUTS};
use crate::sys::process::Never;
use crate::sys::{Alone, Named, fd, ids, loopback, process, pty, signal};
use crate::userns::idmap::IdMaps;
use crate::userns::write::{self, Writer};
use anyhow::{Context, Result};
use oci_spec::runtime::{ContainerState, Hooks, Spec};
use rustix::fs::{CWD, Mode, OFlags};
use std::os::fd::{AsFd, OwnedFd};

/// The annotation that asks for rbox's own pid 1 before the payload (`--init`).
pub const INIT_ANNOTATION: &str = "rbox.init";

/// What the first process needs, made while an error still costs nothing.
pub struct Inside<'a> {
    id: &'a str,
    bundle: &'a Bundle,
    maps: Option<(&'a IdMaps, Writer)>,
    /// Namespaces (CLONE_NEW*) that the clone has left to the first process.
    later: u32,
    payload: Payload,
    stdio: &'a Stdio,
    start: Start,
    connection: Connection<'a>,
    /// The caller's own ids are those of the container's root.
    as_root: bool,
    /// Where rbox's own arguments lie.
    arguments: Option<std::ops::Range<usize>>,
}

impl<'a> Inside<'a> {
    /// Runs in: the host's namespaces.
    pub fn plan(
        id: &'a str,
        bundle: &'a Bundle,
        maps: Option<(&'a IdMaps, Writer)>,
        later: u32,
        (stdio, extra): (&'a Stdio, &Extra),
        start: Start,
        connection: Connection<'a>,
    ) -> Result<Inside<'a>> {
        // Inside another namespace it would be a matter of that; one id is treated alike everywhere.
        let has_one = |maps: &IdMaps| matches!(maps.gid.ranges(), [range] if range.count == 1);
        let is_inside = is_inside(bundle, connection);
        let is_alone = |maps| is_inside && has_one(maps);
        let can_set_groups = !maps.is_some_and(|(maps, writer)| writer == Writer::Itself || is_alone(maps));
        let payload = Payload::of(&bundle.spec, can_set_groups, extra.clone())?;
        let as_root = maps.is_some_and(|(maps, _)| {
            maps.uid.outside(0) == Some(ids::uid()) && maps.gid.outside(0) == Some(ids::gid())
        });
        let arguments = if wants_reaper(&bundle.spec) { process::arguments() } else { None };
        Ok(Inside { id, bundle, maps, later, payload, stdio, start, connection, as_root, arguments })
    }
}

/// The list.
pub fn run(alone: &Alone, inside: Inside<'_>, outside: &Sync) -> Result<Never> {
    let Inside { id, bundle, maps, later, payload, stdio, start, connection, as_root, arguments } = inside;
    let spec = &bundle.spec;
    process::die_with_parent()?;
    outside.end_if_alone();
    make_rest(alone, later, outside)?;
    connect(bundle, connection, outside)?;
    if wants_reaper(spec) {
        reaper::show_namespaces(&bundle.namespaces, outside)?;
    }
    rootfs::separate(spec)?;
    let root = rootfs::find(spec, &bundle.dir)?;
    let mut mounts = mounts::prepare(own_mounts(spec), as_root)?;
    set_names(bundle)?;
    if let Some(overlay) = rootfs::overlay(spec) {
        overlay::clear_work(overlay);
    }
    become_root(bundle, maps, connection, outside)?;
    let root = root.attach(spec, outside)?;
    mounts::fill(root.as_fd(), &mut mounts)?;
    sysctl::write(spec, mounts::new_proc(&mounts))?;
    mounts::attach(root.as_fd(), mounts, outside)?;
    let terminal = open_terminal(spec, root.as_fd(), stdio)?;
    let hooks = spec.hooks().as_ref();
    run_runtime_hooks(hooks, outside)?;
    let state = create::state(id, bundle, ContainerState::Creating, Some(process::pid()));
    hooks::run("createContainer", hooks.and_then(|all| all.create_container().as_ref()), &state)?;
    rootfs::seal(spec, root.as_fd())?;
    rootfs::pivot(spec, root.as_fd())?;
    drop(root);
    if matches!(start, Start::Never) {
        return wait_for_visitors(outside);
    }
    if let Some((master, _)) = &terminal {
        outside.send(&Message::Terminal, Some(master.as_fd()))?;
    }
    if wants_reaper(spec) {
        reaper::split(alone, outside, matches!(stdio, Stdio::Terminal), arguments)?;
    }
    if matches!(start, Start::OnGate(_)) {
        // Nobody queues signals for it, as the supervisor does: what the caller ignores, the payload would.
        signal::default_all()?;
    }
    process::new_session()?;
    payload.give_streams(terminal.as_ref().map(|(_, terminal)| terminal.as_fd()))?;
    place_stdio(stdio, terminal)?;
    fd::close_on_exec_from(3)?;
    let program = payload.prepare()?;
    network::connected(connection, outside)?;
    let gate = wait_for_start(&start, outside)?;
    let last_steps = || -> Result<Never> {
        if hooks.is_some_and(|all| all.start_container().is_some()) {
            // These hooks are the image's programs: they must not reach this process's descriptors and program through
            // /proc (CVE-2024-21626, CVE-2019-5736). execve makes it dumpable again.
            process::set_dumpable(false)?;
        }
        let state = create::state(id, bundle, ContainerState::Created, Some(process::pid()));
        hooks::run("startContainer", hooks.and_then(|all| all.start_container().as_ref()), &state)?;
        if matches!(start, Start::AtOnce) {
            // The last thing before execve: each change of ids or capabilities clears it.
            process::die_with_parent()?;
            outside.end_if_alone();
        }
        payload.run(&program)
    };
    last_steps().inspect_err(|error| tell_starter(gate, error))
}

/// The first thing in a new network namespace, since others go on with it meanwhile.
fn connect(bundle: &Bundle, connection: Connection<'_>, outside: &Sync) -> Result<()> {
    match connection {
        _ if !bundle.namespaces.makes(CLONE_NEWNET) => Ok(()),
        // It is up already, or made with what was opened before.
        Connection::None | Connection::Own(_) if bundle.prepared.is_some() => Ok(()),
        Connection::None => Ok(loopback::set_up()?),
        Connection::Own(link) => network::connect(link, outside),
        Connection::Neighbours(_) => {
            loopback::set_up()?;
            network::ask(outside)
        }
    }
}

/// Makes the namespaces that are still missing, which belong to the user namespace that this process is in.
fn make_rest(alone: &Alone, later: u32, outside: &Sync) -> Result<()> {
    if later == 0 {
        return Ok(());
    }
    clone::unshare(alone, later).or_else(|error| {
        outside.send(&Message::Refused { call: error.call, errno: error.errno.raw_os_error() }, None)?;
        process::exit_now(crate::error::FAILED)
    })
}

/// `--init`.
fn wants_reaper(spec: &Spec) -> bool {
    spec.annotations().as_ref().is_some_and(|all| all.get(INIT_ANNOTATION).is_some_and(|value| value == "1"))
}

/// All mounts but the one on "/", which is the root itself.
fn own_mounts(spec: &Spec) -> &[oci_spec::runtime::Mount] {
    let all = spec.mounts().as_deref().unwrap_or_default();
    if rootfs::overlay(spec).is_some() { &all[1..] } else { all }
}

/// True if its user namespace is inside another one, whose root writes its ids.
fn is_inside(bundle: &Bundle, connection: Connection<'_>) -> bool {
    connection.neighbours().is_some() || bundle.fence.is_some()
}

/// Waits until the ids are mapped and becomes root of the user namespace, if it has one; the kernel gave all
/// capabilities in it already. Files made from here on belong to that root.
fn become_root(
    bundle: &Bundle,
    maps: Option<(&IdMaps, Writer)>,
    connection: Connection<'_>,
    outside: &Sync,
) -> Result<()> {
    let Some((maps, writer)) = maps else {
        // In a joined namespace the root of it, if it has one; otherwise whoever the caller is there.
        let _ = ids::set_gid(0).and_then(|()| ids::set_uid(0));
        return Ok(());
    };
    let is_inside = is_inside(bundle, connection);
    if is_inside {
        outside.expect(&Message::Mapped)?;
    } else if bundle.namespaces.need_joiner() || (bundle.prepared.is_some() && writer == Writer::Itself) {
        // The namespace was mapped before this process was made.
    } else if writer == Writer::Itself {
        write::own(maps)?;
    } else {
        outside.expect(&Message::Mapped)?;
    }
    if writer != Writer::Itself || is_inside {
        if maps.gid.outside(0).is_some() {
            ids::set_gid(0)?;
        }
        if maps.uid.outside(0).is_some() {
            ids::set_uid(0)?;
        }
        // The change of ids cleared it.
        process::die_with_parent()?;
        outside.end_if_alone();
    }
    Ok(())
}

fn set_names(bundle: &Bundle) -> Result<()> {
    if !bundle.namespaces.has(CLONE_NEWUTS) {
        return Ok(());
    }
    if let Some(name) = bundle.spec.hostname() {
        rustix::system::sethostname(name.as_bytes()).named(|| format!("sethostname({name})"))?;
    }
    if let Some(name) = bundle.spec.domainname() {
        rustix::system::setdomainname(name.as_bytes()).named(|| format!("setdomainname({name})"))?;
    }
    Ok(())
}

/// Without root the score can only go up (proc_pid_oom_score_adj(5)). Done before anything is joined, since a process
/// that has joined a user namespace does not own its /proc files.
pub fn set_oom_score(spec: &Spec) -> Result<()> {
    let Some(score) = spec.process().as_ref().and_then(|process| process.oom_score_adj()) else { return Ok(()) };
    fs_err::write("/proc/self/oom_score_adj", score.to_string()).context("oom score")
}

/// A pseudo-terminal of the container's own devpts, and the same as /dev/console.
fn open_terminal(spec: &Spec, root: std::os::fd::BorrowedFd<'_>, stdio: &Stdio) -> Result<Option<(OwnedFd, OwnedFd)>> {
    if !matches!(stdio, Stdio::Terminal) {
        return Ok(None);
    }
    let path = std::path::Path::new("/dev/pts/ptmx");
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let master = crate::sys::path::open_in_without_links(root, path, flags).context("terminal")?;
    let terminal = pty::open_peer(&master)?;
    // As large as the caller's from the start, while that is still at hand.
    pty::copy_size_of_stdio(&master);
    if let Some(size) = spec.process().as_ref().and_then(|process| process.console_size()) {
        pty::set_size(&master, size.height() as u16, size.width() as u16)?;
    }
    let console = std::path::Path::new("/dev/console");
    let place = crate::sys::path::place_in(root, console, crate::sys::path::Missing::File).context("terminal")?;
    let copy = crate::sys::mount::clone_tree_of(terminal.as_fd(), false).context("terminal")?;
    crate::sys::mount::attach(copy.as_fd(), place.as_fd(), console).context("terminal")?;
    Ok(Some((master, terminal)))
}

fn run_runtime_hooks(hooks: Option<&Hooks>, outside: &Sync) -> Result<()> {
    let Some(hooks) = hooks else { return Ok(()) };
    let prestart = hooks.prestart().is_some();
    if prestart || hooks.create_runtime().is_some() {
        outside.send(&Message::Mounted, None)?;
        outside.expect(&Message::Hooked)?;
    }
    Ok(())
}

/// The container's own null device serves as an empty standard input.
fn place_stdio(stdio: &Stdio, terminal: Option<(OwnedFd, OwnedFd)>) -> Result<()> {
    match (stdio, terminal) {
        (_, Some((_, terminal))) => {
            pty::control(&terminal)?;
            for number in 0..3 {
                fd::place(terminal.as_fd(), number)?;
            }
        }
        (Stdio::Inherit { stdin: false }, None) => {
            let null = rustix::fs::openat(CWD, "/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .named(|| "open(/dev/null)".to_owned())?;
            fd::place(null.as_fd(), 0)?;
        }
        _ => {}
    }
    Ok(())
}

/// The start is a step of its own, for which somebody else may open the gate. The maker may have ended by then, so its
/// death is no longer this process's.
fn wait_for_start<'a>(start: &'a Start, outside: &Sync) -> Result<Option<&'a Gate>> {
    let Start::OnGate(gate) = start else {
        outside.expect(&Message::Start)?;
        return Ok(None);
    };
    outside.send(&Message::Ready, None)?;
    // Until the container is written down nobody else knows of this process.
    outside.expect(&Message::Recorded)?;
    process::outlive_parent()?;
    outside.send(&Message::Released, None)?;
    rustix::io::retry_on_intr(|| rustix::io::read(&gate.start, &mut [0])).named(|| "read(start)".to_owned())?;
    Ok(Some(gate))
}

/// Its mounts are all that is wanted. Nobody is here but those whom the maker sends.
fn wait_for_visitors(outside: &Sync) -> Result<Never> {
    // setns(2) asks whether it may be traced; a change of ids has taken that away, and no program that is executed gives it
    // back.
    process::set_dumpable(true)?;
    outside.send(&Message::Ready, None)?;
    loop {
        // Ends this process when the other end is closed.
        outside.expect(&Message::Start)?;
    }
}

/// Says why there will be no execve.
fn tell_starter(gate: Option<&Gate>, error: &anyhow::Error) {
    if let Some(gate) = gate {
        // No more than a FIFO takes without a reader (pipe(7)).
        let _ = rustix::io::write(&gate.said, &Failure::from(error).within(32 * 1024));
    }
}
