//! The command's side of what a supervisor does for others.
//!
//! Runs in: the host's namespaces, the process of the command.

use super::control;
use super::inward::Inward;
use super::message::{self, Packet, Reply, Request, Way, packed};
use super::terminal::{Terminal, Typed};
use crate::spec::keys::Keys;
use crate::sys::signal::{Blocked, asks_to_end};
use crate::sys::{Named, fd, pty};
use anyhow::{Context, Result, bail};
use oci_spec::runtime::Process;
use rustix::event::{PollFd, PollFlags, poll};
use std::os::fd::OwnedFd;
use std::path::Path;

/// How somebody is connected.
#[derive(Debug, Clone)]
pub struct How {
    /// The process has a terminal.
    pub tty: bool,
    /// What is typed is for it.
    pub input: bool,
    /// What it says is printed: on standard output, on standard error.
    pub prints: [bool; 2],
    /// What is typed to leave it.
    pub keys: Vec<u8>,
    /// Signals for this process are for that one.
    pub proxy: bool,
}

/// Why one is no longer connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The process has ended with this status.
    Ended(u8),
    /// The keys were typed, or a signal came that is not passed on: the process goes on.
    Left,
}

impl Ending {
    /// The command's own exit status.
    pub fn status(self) -> u8 {
        match self {
            Ending::Ended(status) => status,
            Ending::Left => 0,
        }
    }
}

/// Runs one more process in the container of this directory: its exit status, or 0 if nobody waits for it. `more`: its descriptors
/// from 3 on.
pub fn exec(name: &str, dir: &Path, process: Process, how: &How, more: Vec<OwnedFd>, detach: bool) -> Result<Ending> {
    let signals = Blocked::all()?;
    let socket = control::connect(dir)?.with_context(|| format!("container {name} is not running"))?;
    let terminal = how.tty.then(|| pty::size_of_stdio().unwrap_or((0, 0)));
    let mut streams = if how.tty { Vec::new() } else { own_streams(how.input && !detach, !detach)? };
    streams.extend(more);
    let request = Request::Exec { process: Box::new(process), terminal, detach };
    message::send(&socket, &request, &streams.iter().collect::<Vec<_>>())?;
    drop(streams);
    if let Some(ending) = expect_start(name, &socket, &signals)? {
        return Ok(ending);
    }
    if detach {
        return Ok(Ending::Ended(0));
    }
    // Without a terminal the process has this one's own streams.
    follow(name, socket, &signals, &How { input: how.input && how.tty, ..how.clone() })
}

/// What a container says from now on, until it ends.
pub fn attach(name: &str, dir: &Path, how: &How) -> Result<Ending> {
    let signals = Blocked::all()?;
    let socket = control::connect(dir)?.with_context(|| format!("container {name} is not running"))?;
    message::send(&socket, &Request::Attach, &[])?;
    if let Some(ending) = expect_start(name, &socket, &signals)? {
        return Ok(ending);
    }
    follow(name, socket, &signals, how)
}

/// Waits until the supervisor has done it. It may hang, or its container: a signal that is to end this process ends the waiting,
/// and what it has begun with the connection.
fn expect_start(name: &str, socket: &OwnedFd, signals: &Blocked) -> Result<Option<Ending>> {
    loop {
        let mut fds = [PollFd::new(socket, PollFlags::IN), PollFd::new(&signals.queue, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut fds, None)).named(|| "poll".to_owned())?;
        if !fds[0].revents().is_empty() {
            break;
        }
        while let Some((signal, _)) = signals.next()? {
            if asks_to_end(signal) {
                return Ok(Some(Ending::Ended(128 + signal as u8)));
            }
        }
    }
    match message::receive_message::<Reply>(socket)? {
        Some((Reply::Started, _)) => Ok(None),
        Some((Reply::Failed(failure), _)) => Err(anyhow::Error::from(failure)),
        Some((reply, _)) => bail!("container {name}: {reply:?}"),
        None => bail!("container {name}: its supervisor has ended"),
    }
}

/// Passes bytes and signals on until the process ends, or one leaves it.
pub fn follow(name: &str, socket: OwnedFd, signals: &Blocked, how: &How) -> Result<Ending> {
    let mut terminal = Terminal::take(how.tty, how.input, Keys::new(how.keys.clone()))?;
    let mut inward = Inward::default();
    resized(how)?.into_iter().for_each(|packet| inward.message(packet));
    let ending = loop {
        inward.flush(&socket)?;
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, !terminal.is_behind());
        flags.set(PollFlags::OUT, inward.is_ready());
        // The keys to leave it are heard also if the process reads nothing.
        let input = terminal.input().filter(|_| terminal.is_raw() || inward.has_room());
        let printing: Vec<_> = terminal.wanted().collect();
        let mut fds = vec![PollFd::new(&socket, flags), PollFd::new(&signals.queue, PollFlags::IN)];
        fds.extend(printing.iter().map(|(_, fd)| PollFd::new(fd, PollFlags::OUT)));
        fds.extend(input.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
        rustix::io::retry_on_intr(|| poll(&mut fds, None)).named(|| "poll".to_owned())?;
        let is_ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        let has_said = (fds[0].revents() - PollFlags::OUT).intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR);
        let streams: Vec<_> = printing.into_iter().map(|(stream, _)| stream).collect();
        for (stream, _) in streams.iter().zip(&is_ready[2..]).filter(|(_, ready)| **ready) {
            terminal.write(*stream);
        }
        if input.is_some() && is_ready[2 + streams.len()] {
            let (bytes, end) = match terminal.read() {
                Typed::Bytes(bytes) => (bytes, None),
                Typed::End(bytes) => (bytes, Some(false)),
                Typed::Leave(bytes) => (bytes, Some(true)),
            };
            inward.bytes(&bytes);
            match end {
                Some(true) => {
                    inward.flush(&socket)?;
                    break Ending::Left;
                }
                Some(false) if bytes.is_empty() => inward.end(),
                _ => {}
            }
        }
        if is_ready[1] {
            if let Some(ending) = hear_signals(signals, &terminal, how, &mut inward)? {
                break ending;
            }
        }
        if has_said && !terminal.is_behind() {
            match message::receive::<Reply>(&socket)? {
                Packet::Bytes(Way::Out(stream), bytes) if how.prints[stream as usize] => terminal.print(stream, &bytes),
                Packet::Bytes(Way::Out(_), _) => {}
                Packet::Message(Reply::Ended(status), _) => break Ending::Ended(status),
                Packet::Message(Reply::Taken(count), _) => inward.taken(count),
                Packet::Message(Reply::Lost(count), _) => {
                    let text = format!("rbox: {count} bytes were not read in time: the log may have them\r\n");
                    terminal.print(crate::engine::log::Stream::Err, text.as_bytes());
                }
                Packet::Message(Reply::Failed(failure), _) => return Err(failure.into()),
                Packet::Message(Reply::Started, _) | Packet::Bytes(Way::In, _) => {
                    bail!("container {name}: its supervisor says something else")
                }
                // The supervisor has been killed, and everything with it.
                Packet::Closed => break Ending::Ended(128 + libc::SIGKILL as u8),
            }
        }
    };
    if ending != Ending::Left {
        terminal.finish(signals);
    }
    Ok(ending)
}

/// Signals that came: for the process, or for this one.
fn hear_signals(signals: &Blocked, terminal: &Terminal, how: &How, inward: &mut Inward) -> Result<Option<Ending>> {
    while let Some((signal, _)) = signals.next()? {
        match signal {
            libc::SIGWINCH => resized(how)?.into_iter().for_each(|packet| inward.message(packet)),
            libc::SIGCONT => {
                terminal.continued();
                resized(how)?.into_iter().for_each(|packet| inward.message(packet));
            }
            libc::SIGCHLD | libc::SIGURG | libc::SIGPIPE => {}
            // As in docker: a container with a terminal outlives the one that it was started from.
            libc::SIGHUP if how.tty => return Ok(Some(Ending::Left)),
            _ if !how.proxy => return Ok(Some(Ending::Left)),
            signal => inward.message(packed(&Request::Signal(signal))?),
        }
    }
    Ok(None)
}

/// The size of the caller's terminal, for the process's.
fn resized(how: &How) -> Result<Option<Vec<u8>>> {
    let size = pty::size_of_stdio().filter(|_| how.tty);
    size.map(|(rows, columns)| packed(&Request::Resize(rows, columns))).transpose()
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
