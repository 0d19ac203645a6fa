//! One more process in a container that runs.
//!
//! ```text
//! supervisor                      joiner                          the process
//! spawns ───────────────────────▶ not executed from a read-only mount of itself?
//!                 ◀── Sealed ──── makes one, hands it over, ends; it is spawned again, from there
//! Task ─────────────────────────▶ joins the namespaces; clones with CLONE_PARENT ─▶ (the supervisor's child)
//!                                 ends
//!                                 ◀── Made ────────────────────────
//!                                 ◀── Terminal ──────────────────── only with a terminal
//!                                 ◀── Failed, or closed by execve ─
//! ```
//!
//! Whoever is in the container may be hostile. The joiner is not dumpable, so that nobody there reads its descriptors or memory
//! (CVE-2016-9962). A program there that is a link to `/proc/self/exe` would execute rbox itself, whose file could then be
//! opened by way of /proc, and written to once nobody executes it any more (CVE-2019-5736): it is a file on a mount that
//! nobody can write to.
//!
//! The process says itself that it exists, and is in the joiner's process group until then: one or the other tells the
//! supervisor of it, whoever is killed meanwhile. As long as a child of its own that has ended is not collected the container's
//! pid namespace cannot end (pid_namespaces(7)).
//!
//! Runs in: a program of its own (`rbox exec-joiner`), the host's namespaces, then the container's.

use super::extra::Extra;
use super::namespaces::Namespaces;
use super::payload::Payload;
use crate::cgroup::group::Group;
use crate::cgroup::place;
use crate::error::{FAILED, Failure};
use crate::sys::clone::{self, CLONE_NEWCGROUP, CLONE_NEWNS, CLONE_NEWUSER, CLONE_PARENT, Side};
use crate::sys::fd::Brought;
use crate::sys::mount::{self, Attr};
use crate::sys::{Alone, Named, fd, ids, path, process, pty, signal};
use anyhow::{Context, Result, ensure};
use oci_spec::runtime::{Process, Spec};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// The first argument of a joiner. Not a verb of the command line: nobody types it.
pub const ROLE: &str = "exec-joiner";
/// The second one, of a joiner that was executed from a read-only mount.
const SEALED: &str = "sealed";
/// Longer than any message: arguments and environment of a process among them.
const MAX_MESSAGE: usize = 512 * 1024;

/// What is to run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Task {
    /// The namespaces to join, CLONE_NEW*.
    namespaces: u32,
    /// The container's Spec, with this process instead of its own.
    spec: Spec,
    /// It gets a terminal of this size, rows and columns.
    terminal: Option<(u16, u16)>,
    /// setgroups(2) is not denied.
    can_set_groups: bool,
    /// The namespaces come one by one, of these kinds; otherwise as those of a process.
    by_each: Vec<u32>,
    /// The directory of its cgroup comes behind them.
    has_cgroup: bool,
}

/// What comes back.
#[derive(Debug, Serialize, Deserialize)]
enum Said {
    /// A read-only mount of rbox's own program comes along.
    Sealed,
    /// I exist. The kernel says who that is (unix(7), SCM_CREDENTIALS).
    Made,
    /// The master side of its terminal comes along.
    Terminal,
    /// What went wrong.
    Failed(Failure),
}

/// A process that was made.
#[derive(Debug)]
pub struct Made {
    /// The process, a child of this one.
    pub child: clone::Child,
    /// The master side of its terminal, if it has one.
    pub terminal: Option<OwnedFd>,
}

/// rbox's own program on a mount that nobody can write to, once somebody has made one.
#[derive(Debug, Default)]
pub struct Program(Option<OwnedFd>);

impl Task {
    /// A process in the container of this Spec.
    pub fn new(spec: &Spec, process: Process, terminal: Option<(u16, u16)>) -> Result<Task> {
        let namespaces = Namespaces::of(spec)?;
        let joined = namespaces.join.iter().fold(namespaces.new, |all, (flag, _)| all | flag);
        let maps = spec.linux().as_ref().and_then(|linux| linux.gid_mappings().as_ref());
        let can_set_groups = !maps.is_some_and(|maps| matches!(maps.as_slice(), [only] if only.size() == 1));
        let mut spec = spec.clone();
        spec.set_process(Some(process)).set_mounts(None).set_hooks(None);
        Ok(Task { namespaces: joined, spec, terminal, can_set_groups, by_each: Vec::new(), has_cgroup: false })
    }
}

/// The way into a container.
#[derive(Debug)]
pub struct Door {
    /// Its first process.
    pub init: OwnedFd,
    /// Its namespaces, with CLONE_NEW* of each, if the kernel does not show those of its first process.
    pub namespaces: Vec<(u32, OwnedFd)>,
    /// Its cgroup, if it has one.
    pub cgroup: Option<Group>,
    /// The number of its first process.
    pub pid: i32,
}

impl Door {
    fn fds(&self) -> Vec<BorrowedFd<'_>> {
        match self.namespaces.as_slice() {
            [] => vec![self.init.as_fd()],
            all => all.iter().map(|(_, namespace)| namespace.as_fd()).collect(),
        }
    }

    /// Where another process goes: to the first one, if its cgroup is divided by now and nobody may be in it.
    fn group(&self) -> Result<Option<Group>> {
        let Some(group) = &self.cgroup else { return Ok(None) };
        if group.is_divided() {
            let below = place::of(self.pid).filter(|path| path.starts_with(group.path()));
            if let Some(below) = below.and_then(|path| Group::open(&path).ok()) {
                return Ok(Some(below));
            }
        }
        Ok(Some(group.again()?))
    }
}

/// A process on its way. Dropped, it and its joiner are killed.
#[derive(Debug)]
pub struct Starting {
    task: Vec<u8>,
    door: Vec<OwnedFd>,
    streams: Vec<OwnedFd>,
    joiner: process::Leader,
    socket: OwnedFd,
    /// The number of the process, a child of this one, as soon as it has said that it exists: nobody else's before it is collected.
    child: Option<i32>,
    terminal: Option<OwnedFd>,
    failed: Option<Failure>,
    /// It was tried from a mount that was made for it.
    is_sealed: bool,
}

impl Starting {
    /// Begins with a process in a container. Its descriptors are `streams`: the standard ones, unless it gets a terminal, then those
    /// from 3 on.
    ///
    /// Runs in: the host's namespaces, the supervisor.
    pub fn new(task: &Task, door: &Door, streams: Vec<OwnedFd>, program: &Program) -> Result<Starting> {
        let by_each = door.namespaces.iter().map(|(flag, _)| *flag).collect();
        let group = door.group()?;
        let task = Task { by_each, has_cgroup: group.is_some(), ..task.clone() };
        let task = serde_json::to_vec(&task)?;
        ensure!(task.len() <= MAX_MESSAGE, "arguments and environment are too long");
        let fds = door.fds().into_iter().chain(group.as_ref().map(Group::dir));
        let door = fds.map(|fd| fd.try_clone_to_owned()).collect::<Result<Vec<_>, _>>().context("exec")?;
        let (joiner, socket) = join_with(&task, &door, &streams, program)?;
        let is_sealed = program.0.is_some();
        Ok(Starting { task, door, streams, joiner, socket, child: None, terminal: None, failed: None, is_sealed })
    }

    /// Readable when there is something to hear.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Hears what there is. The process comes back when it has executed its program; the error, when it has not.
    pub fn hear(&mut self, program: &mut Program) -> Result<Option<Made>> {
        let (bytes, Brought { mut fds, sender }) = fd::receive_whole_now(self.socket.as_fd(), 64 * 1024)?;
        if bytes.is_empty() {
            return self.end().map(Some);
        }
        let mut fd = || fds.pop().context("exec: a descriptor is missing");
        match serde_json::from_slice(&bytes)? {
            Said::Sealed => {
                ensure!(!self.is_sealed, "exec: no read-only mount of rbox's own program");
                *program = Program(Some(fd()?));
                self.is_sealed = true;
                (self.joiner, self.socket) = join_with(&self.task, &self.door, &self.streams, program)?;
            }
            Said::Made => self.child = Some(sender.context("exec: nobody has said that")?),
            Said::Terminal => self.terminal = Some(fd()?),
            // That it exists may be heard later.
            Said::Failed(failure) => self.failed = Some(failure),
        }
        Ok(None)
    }

    /// Everything has been said.
    fn end(&mut self) -> Result<Made> {
        if let Some(failure) = self.failed.take() {
            return Err(failure.into());
        }
        let pid = self.child.context("exec: ended before there was a process")?;
        let pidfd = process::open_pidfd(pid)?;
        // Whoever gets it collects it.
        self.joiner.leave_others();
        self.child = None;
        Ok(Made { child: clone::Child { pid, pidfd }, terminal: self.terminal.take() })
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.joiner.end();
        // The process may have said of itself what nobody has heard yet. It is collected as it is known, or with the group.
        while let Ok((bytes, Brought { sender, .. })) = fd::receive_whole_now(self.socket.as_fd(), 64 * 1024) {
            match serde_json::from_slice(&bytes) {
                Ok(Said::Made) => self.child = sender,
                Ok(_) => {}
                Err(_) => break,
            }
        }
        if let Some(pid) = self.child.take() {
            self.joiner.leave_others();
            process::end_child(pid);
        }
    }
}

/// A joiner that has got its task, and the socket on which it will say something.
fn join_with(
    task: &[u8],
    door: &[OwnedFd],
    streams: &[OwnedFd],
    program: &Program,
) -> Result<(process::Leader, OwnedFd)> {
    let (ours, theirs) = fd::seqpacket_pair()?;
    fd::learn_senders(&ours)?;
    let sealed = program.0.as_ref().map(|program| mount::path_of(program.as_fd()));
    let mut command = Command::new(sealed.as_deref().unwrap_or(Path::new("/proc/self/exe")));
    command.arg0(ROLE).arg(ROLE).args(sealed.is_some().then_some(SEALED)).env_clear();
    command.stdin(theirs).stdout(Stdio::null()).stderr(Stdio::null());
    let joiner = process::Leader::spawn(&mut command).context("exec: start of a joiner")?;
    // It holds the other end, too.
    drop(command);
    rustix::net::sockopt::set_socket_send_buffer_size(&ours, MAX_MESSAGE).named(|| "setsockopt".to_owned())?;
    let fds: Vec<_> = door.iter().chain(streams).map(AsFd::as_fd).collect();
    fd::send(ours.as_fd(), task, &fds)?;
    Ok((joiner, ours))
}

/// What a joiner does.
pub fn main(arguments: &[String]) -> Result<u8> {
    process::set_dumpable(false)?;
    let socket = fd::inherited(0).context("exec: no socket")?;
    let done = join(&socket, arguments.first().is_some_and(|word| word == SEALED));
    if let Err(error) = done {
        let _ = say(&socket, &Said::Failed(short(&error)), None);
        return Ok(FAILED);
    }
    Ok(0)
}

fn say(socket: &OwnedFd, said: &Said, fd: Option<BorrowedFd<'_>>) -> Result<()> {
    Ok(fd::send(socket.as_fd(), &serde_json::to_vec(said)?, fd.as_slice())?)
}

fn short(error: &anyhow::Error) -> Failure {
    let failure = Failure::from(error);
    serde_json::from_slice(&failure.within(32 * 1024)).unwrap_or(failure)
}

fn join(socket: &OwnedFd, is_sealed: bool) -> Result<()> {
    let alone = Alone::check()?;
    let (task, fds) = fd::receive_whole(socket.as_fd(), MAX_MESSAGE)?;
    let task: Task = serde_json::from_slice(&task).context("exec: the task")?;
    let mut fds = fds.into_iter();
    let whole = [task.namespaces];
    let flags = if task.by_each.is_empty() { &whole[..] } else { &task.by_each };
    let door: Vec<(u32, OwnedFd)> = flags.iter().copied().zip(fds.by_ref()).collect();
    ensure!(door.len() == flags.len(), "exec: no way into the container");
    if !is_sealed && task.namespaces & CLONE_NEWUSER != 0 {
        let program = seal(&alone, &door[0].1)?;
        return say(socket, &Said::Sealed, Some(program.as_fd()));
    }
    let cgroup = if task.has_cgroup { Some(fds.next().context("exec: no cgroup")?) } else { None };
    let mut streams: Vec<OwnedFd> = fds.collect();
    let more = streams.split_off(if task.terminal.is_some() { 0 } else { streams.len().min(3) });
    let extra = Extra { descriptors: more.len() as u32, ..Extra::default() };
    // Away from the numbers that are the process's.
    let socket = &fd::at_least(socket.as_fd(), 3 + extra.descriptors)?;
    let payload = Payload::of(&task.spec, task.can_set_groups, extra)?;
    // Whoever is in a cgroup namespace may be moved inside of that only (cgroup_namespaces(7), "nsdelegate").
    let last = if cgroup.is_some() { CLONE_NEWCGROUP } else { 0 };
    let enter = |kinds: u32| -> Result<()> {
        for (flag, namespace) in door.iter().filter(|(flag, _)| flag & kinds != 0) {
            clone::setns(&alone, namespace, flag & kinds, Path::new("container"))?;
        }
        Ok(())
    };
    enter(!last)?;
    match clone::clone_into(&alone, CLONE_PARENT, cgroup.as_ref().map(OwnedFd::as_fd))? {
        Side::Parent(_) => Ok(()),
        Side::Child => {
            let error = match enter(last) {
                Ok(()) => become_process(&task, &payload, streams, more, socket),
                Err(error) => error,
            };
            let failure = short(&error);
            let _ = say(socket, &Said::Failed(failure.clone()), None);
            process::exit_now(if failure.exit == 0 { FAILED } else { failure.exit });
        }
    }
}

/// A mount of rbox's own program that nobody can write to. It takes the right to mount, which comes with the container's user
/// namespace; it belongs to no mount namespace.
fn seal(alone: &Alone, init: &OwnedFd) -> Result<OwnedFd> {
    let own = fs_err::read_link("/proc/self/exe")?;
    clone::setns(alone, init, CLONE_NEWUSER, Path::new("container's user namespace"))?;
    clone::unshare(alone, CLONE_NEWNS)?;
    let program = mount::clone_tree(&own, false)?;
    mount::set_attr(program.as_fd(), Attr::MOUNT_ATTR_RDONLY, Attr::empty(), false, &own)?;
    Ok(program)
}

/// Ends in the program, or with why not.
fn become_process(
    task: &Task,
    payload: &Payload,
    streams: Vec<OwnedFd>,
    more: Vec<OwnedFd>,
    socket: &OwnedFd,
) -> anyhow::Error {
    let steps = || -> Result<process::Never> {
        process::die_with_parent()?;
        ensure!(!fd::hung_up(socket), "exec: the supervisor has ended");
        // From here on the supervisor hears of it, and no longer by way of the group.
        say(socket, &Said::Made, None)?;
        // Root of the container's user namespace, if it has one.
        let _ = ids::set_gid(0).and_then(|()| ids::set_uid(0));
        process::set_dumpable(false)?;
        signal::default_all()?;
        process::new_session()?;
        if let Some((rows, columns)) = task.terminal {
            let terminal = open_terminal(socket, rows, columns)?;
            payload.give_streams(Some(terminal.as_fd()))?;
            pty::control(&terminal)?;
            for number in 0..3 {
                fd::place(terminal.as_fd(), number)?;
            }
        } else {
            ensure!(streams.len() == 3, "exec: three streams are wanted");
            // The socket is at 0 still; it goes on under another number.
            for (number, stream) in streams.iter().enumerate() {
                fd::place(stream.as_fd(), number as i32)?;
            }
            payload.give_streams(None)?;
        }
        place_from_three(streams, more)?;
        fd::close_on_exec_from(3)?;
        let program = payload.prepare()?;
        process::die_with_parent()?;
        payload.run(&program)
    };
    match steps() {
        Err(error) => error,
        Ok(never) => match never {},
    }
}

/// Gives descriptors the numbers from 3 on. Others have those, `done` among them: from here on nobody uses any but these and the
/// socket, and nobody closes one.
fn place_from_three(done: Vec<OwnedFd>, more: Vec<OwnedFd>) -> Result<()> {
    if more.is_empty() {
        return Ok(());
    }
    let free = 3 + more.len() as u32;
    let aside = more.iter().map(|fd| fd::at_least(fd.as_fd(), free)).collect::<Result<Vec<_>, _>>()?;
    std::mem::forget((done, more));
    for (number, fd) in (3..).zip(&aside) {
        fd::put(fd.as_fd(), number)?;
    }
    Ok(())
}

/// A pseudo-terminal of the container's own devpts, whose master side goes to the supervisor.
fn open_terminal(socket: &OwnedFd, rows: u16, columns: u16) -> Result<OwnedFd> {
    let root = mount::place(Path::new("/"))?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = path::open_in_without_links(root.as_fd(), Path::new("/dev/pts/ptmx"), flags).context("terminal")?;
    let terminal = pty::open_peer(&master)?;
    pty::set_size(&master, rows, columns)?;
    say(socket, &Said::Terminal, Some(master.as_fd()))?;
    Ok(terminal)
}
