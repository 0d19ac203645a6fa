//! The command's side of what a supervisor does for others.
//!
//! Runs in: the host's namespaces, the process of `rbox exec`.

use super::control::{self, Reply, Request};
use super::terminal::Relay;
use crate::sys::signal::Blocked;
use crate::sys::{Named, fd};
use anyhow::{Context, Result, bail};
use oci_spec::runtime::Process;
use rustix::event::{PollFd, PollFlags, poll};
use std::os::fd::OwnedFd;
use std::path::Path;

/// Runs one more process in the container of this directory: its exit status, or 0 if nobody waits for it.
pub fn exec(name: &str, dir: &Path, process: Process, tty: bool, interactive: bool, detach: bool) -> Result<u8> {
    let signals = Blocked::all()?;
    let socket = control::connect(dir)?.with_context(|| format!("container {name} is not running"))?;
    let streams = if tty { Vec::new() } else { own_streams(interactive && !detach, !detach)? };
    let request = Request::Exec { process: Box::new(process), tty, detach };
    control::send(&socket, &request, &streams.iter().collect::<Vec<_>>())?;
    drop(streams);
    let terminal = match control::receive::<Reply>(&socket)? {
        Some((Reply::Started, mut fds)) => fds.pop(),
        Some((Reply::Failed(failure), _)) => return Err(failure.into()),
        Some((Reply::Ended(status), _)) => return Ok(status),
        None => bail!("container {name}: its supervisor has ended"),
    };
    if detach {
        return Ok(0);
    }
    let mut relay = terminal.map(|master| Relay::start(master, interactive)).transpose()?;
    if let Some(relay) = &relay {
        relay.resize();
    }
    loop {
        let mut fds = vec![PollFd::new(&socket, PollFlags::IN), PollFd::new(&signals.queue, PollFlags::IN)];
        let wanted = relay.as_ref().map(Relay::wanted).unwrap_or_default();
        fds.extend(wanted.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)));
        rustix::io::retry_on_intr(|| poll(&mut fds, None)).named(|| "poll".to_owned())?;
        let has_said = !fds[0].revents().is_empty();
        let ready: Vec<_> = wanted.iter().zip(&fds[2..]).map(|((end, ..), fd)| (*end, fd.revents())).collect();
        drop(fds);
        drop(wanted);
        if let Some(relay) = &mut relay {
            relay.step(&ready);
        }
        while let Some((signal, _)) = signals.next()? {
            match (signal, &relay) {
                (libc::SIGWINCH, Some(relay)) => relay.resize(),
                (libc::SIGCONT, Some(relay)) => relay.continued(),
                (libc::SIGCHLD | libc::SIGURG | libc::SIGWINCH | libc::SIGCONT | libc::SIGPIPE, _) => {}
                _ => control::send(&socket, &Request::Signal(signal), &[])?,
            }
        }
        if has_said {
            let status = match control::receive::<Reply>(&socket)? {
                Some((Reply::Ended(status), _)) => status,
                Some((reply, _)) => bail!("container {name}: {reply:?}"),
                // The container has ended, and the process with it.
                None => 128 + libc::SIGKILL as u8,
            };
            if let Some(relay) = relay {
                relay.finish(&signals);
            }
            return Ok(status);
        }
    }
}

/// Standard input (if it is wanted), output and error, or what takes their place.
fn own_streams(input: bool, output: bool) -> Result<Vec<OwnedFd>> {
    let own = |number: i32, wanted: bool| -> Result<OwnedFd> {
        match wanted.then(|| fd::inherited(number)).flatten() {
            Some(stream) => Ok(stream),
            None => Ok(fd::null()?),
        }
    };
    Ok(vec![own(0, input)?, own(1, output)?, own(2, output)?])
}
