//! What each verb of the OCI runtime does.

use super::command::Create;
use super::container::{Container, SAID_FIFO, START_FIFO, Stored};
use crate::error::Failure;
use crate::runtime::bundle::Bundle;
use crate::runtime::create::{self, Leash, Start, Stdio};
use crate::runtime::extra::Extra;
use crate::runtime::hooks;
use crate::runtime::network::Connection;
use crate::sys::clone::CLONE_NEWPID;
use crate::sys::signal::Blocked;
use crate::sys::{Alone, Named, fd, process};
use anyhow::{Context, Result, bail, ensure};
use oci_spec::runtime::ContainerState;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// `create`: the first process waits for `start`.
pub fn create(root: &Path, options: &Create) -> Result<()> {
    let (container, bundle) = prepare(root, options)?;
    let made = make(&container, &bundle, options);
    if made.is_err() {
        // The error that made it fail is the one to report.
        let _ = container.remove();
    }
    made.map(|_| ())
}

/// `run`: create, start, wait, delete. The status is the payload's.
pub fn run(root: &Path, options: &Create) -> Result<u8> {
    let (container, bundle) = prepare(root, options)?;
    let result = run_made(&container, &bundle, options);
    container.remove()?;
    result
}

fn run_made(container: &Container, bundle: &Bundle, options: &Create) -> Result<u8> {
    let signals = Blocked::all()?;
    let made = make(container, bundle, options)?;
    let leash = Leash::on(&made.init);
    begin(container, bundle)?;
    let own_pids = bundle.namespaces.makes(CLONE_NEWPID);
    let mut forward = crate::supervisor::signals::Forward::new(&made.init, own_pids);
    loop {
        let mut fds = [PollFd::new(&made.init.pidfd, PollFlags::IN), PollFd::new(&signals.queue, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
        let ended = !fds[0].revents().is_empty();
        while let Some((signal, _)) = signals.next()? {
            forward.pass(signal)?;
        }
        if ended {
            break;
        }
    }
    let status = process::wait(made.init.pidfd.as_fd())?;
    drop(leash);
    run_poststop(container, bundle);
    Ok(forward.status(status))
}

fn prepare(root: &Path, options: &Create) -> Result<(Container, Bundle)> {
    let dir = fs_err::canonicalize(&options.bundle)?;
    let bundle = Bundle::load(&dir)?;
    let terminal = bundle.spec.process().as_ref().is_some_and(|process| process.terminal() == Some(true));
    ensure!(terminal == options.console_socket.is_some(), "process.terminal and --console-socket: one needs the other");
    Ok((Container::make(root, &options.id)?, bundle))
}

fn make(container: &Container, bundle: &Bundle, options: &Create) -> Result<create::Container> {
    let alone = Alone::check()?;
    let mut stored =
        Stored { process: None, bundle: bundle.dir.clone(), created: super::now(), spec: bundle.spec.clone() };
    container.store(&stored)?;
    let stdio = if options.console_socket.is_some() { Stdio::Terminal } else { Stdio::Inherit { stdin: true } };
    let made = create::create(
        &alone,
        &container.id,
        bundle,
        (&stdio, &Extra::default()),
        Start::OnGate(container.gate()?),
        Connection::None,
        || Ok(()),
    )?;
    let leash = Leash::on(&made.init);
    if let (Some(socket), Some(terminal)) = (&options.console_socket, &made.terminal) {
        send_terminal(socket, terminal.as_fd()).with_context(|| format!("--console-socket {}", socket.display()))?;
    }
    stored.process = Some(made.identity);
    container.store(&stored)?;
    if let Some(path) = &options.pid_file {
        fs_err::write(path, made.init.pid.to_string())?;
    }
    made.release()?;
    leash.slip();
    Ok(made)
}

/// As runc sends it: one message with the descriptor and a name.
fn send_terminal(path: &Path, terminal: BorrowedFd<'_>) -> Result<()> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .named(|| "socket".to_owned())?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?).named(|| "connect".to_owned())?;
    Ok(fd::send(socket.as_fd(), b"/dev/ptmx", &[terminal])?)
}

/// `start`.
pub fn start(root: &Path, id: &str) -> Result<()> {
    let container = Container::open(root, id)?;
    let stored = container.stored()?.with_context(|| format!("container is being created: {id}"))?;
    begin(&container, &Bundle::new(&stored.bundle, stored.spec)?)
}

/// Lets the first process go on: it waits for a reader of the FIFO. Returns when its program runs; what it says before is
/// why it does not.
fn begin(container: &Container, bundle: &Bundle) -> Result<()> {
    let process = container.process()?;
    let pidfd = process.open().context("container has ended")?;
    let not_created = || format!("container {} is not in the state created", container.id);
    let said_fifo = container.open_fifo(SAID_FIFO, OFlags::RDONLY | OFlags::NONBLOCK).with_context(not_created)?;
    let start = container.open_fifo(START_FIFO, OFlags::WRONLY | OFlags::NONBLOCK).with_context(not_created)?;
    rustix::io::write(&start, b"0").named(|| "write(start)".to_owned())?;
    let mut said = Vec::new();
    loop {
        let mut fds = [PollFd::new(&said_fifo, PollFlags::IN), PollFd::new(&pidfd, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
        if fds[0].revents().is_empty() {
            bail!("container {} ended before its start", container.id);
        }
        let mut buffer = [0; 4096];
        match rustix::io::read(&said_fifo, &mut buffer) {
            Ok(0) => break,
            Ok(length) => said.extend_from_slice(&buffer[..length]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Err(errno).named(|| format!("read({SAID_FIFO})")).map_err(Into::into),
        }
    }
    for name in [START_FIFO, SAID_FIFO] {
        fs_err::remove_file(container.dir.join(name))?;
    }
    if !said.is_empty() {
        return Err(serde_json::from_slice::<Failure>(&said)?.into());
    }
    let state = create::state(&container.id, bundle, ContainerState::Running, Some(process.pid));
    hooks::run("poststart", bundle.spec.hooks().as_ref().and_then(|all| all.poststart().as_ref()), &state)
}

/// `kill`.
pub fn kill(root: &Path, id: &str, signal: &str) -> Result<()> {
    let number = crate::spec::signal::parse(signal)?;
    let process = Container::open(root, id)?.process()?;
    let pidfd = process.open().with_context(|| format!("container not running: {id}"))?;
    Ok(process::send_signal(pidfd.as_fd(), number)?)
}

/// `delete`.
pub fn delete(root: &Path, id: &str, force: bool) -> Result<()> {
    let container = match Container::open(root, id) {
        Err(_) if force => return Ok(()),
        container => container?,
    };
    let status = match container.state() {
        Ok(state) => state.status,
        // Whatever is wrong with it.
        Err(_) if force => "stopped",
        Err(error) => return Err(error),
    };
    ensure!(force || status != "creating", "cannot delete container {id} that is not stopped: creating");
    if let Ok(process) = container.process() {
        // runc deletes a created container too: its payload never ran.
        ensure!(force || status == "created", "cannot delete container {id} that is not stopped: {status}");
        if let Some(pidfd) = process.open() {
            process::send_signal(pidfd.as_fd(), libc::SIGKILL)?;
            process::ends_within(pidfd.as_fd(), std::time::Duration::from_secs(10))?;
        }
    }
    match container.stored() {
        Ok(Some(stored)) => {
            if let Ok(bundle) = Bundle::new(&stored.bundle, stored.spec) {
                run_poststop(&container, &bundle);
            }
        }
        Ok(None) => {}
        Err(error) if !force => return Err(error),
        Err(_) => {}
    }
    container.remove()
}

fn run_poststop(container: &Container, bundle: &Bundle) {
    let state = create::state(&container.id, bundle, ContainerState::Stopped, None);
    for error in hooks::run_poststop(&bundle.spec, &state) {
        super::note(&error);
    }
}
