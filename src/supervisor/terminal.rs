//! The streams of whoever is connected to a supervisor: typed there, printed here.
//!
//! Runs in: the host's namespaces, the process of the command.

use crate::engine::log::Stream;
use crate::spec::keys::Keys;
use crate::sys::mount;
use crate::sys::pty::Raw;
use crate::sys::signal::{Blocked, asks_to_end};
use anyhow::Result;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// As much is read and written at once, bytes.
const CHUNK: usize = 4096;

/// Ctrl-D.
const END_OF_FILE: u8 = 4;

/// What there was to read.
#[derive(Debug, PartialEq, Eq)]
pub enum Typed {
    /// Bytes for the process; none if they are held back.
    Bytes(Vec<u8>),
    /// These, and then nothing more.
    End(Vec<u8>),
    /// These, and then the keys to leave it.
    Leave(Vec<u8>),
}

/// Standard input, output and error.
pub struct Terminal {
    /// In raw mode; none if standard input is no terminal, or the process has none, or nothing is wanted of it.
    raw: Option<Raw<BorrowedFd<'static>>>,
    /// The process has one.
    is_terminal: bool,
    input_open: bool,
    keys: Keys,
    /// To be printed, of each stream.
    outward: [Vec<u8>; 2],
    /// Nobody reads them any more.
    closed: [bool; 2],
    /// The same terminals, where they are some, opened so that nobody waits for whoever does not read: a terminal that takes
    /// something may take less than what is written to it at once.
    open: [Option<OwnedFd>; 2],
}

impl Terminal {
    /// Takes over standard input, if `input`.
    pub fn take(is_terminal: bool, input: bool, keys: Keys) -> Result<Terminal> {
        let stdin = rustix::stdio::stdin();
        let raw = (is_terminal && input && rustix::termios::isatty(stdin)).then(|| Raw::set(stdin)).transpose()?;
        // What is not typed has no keys: it may be anything.
        let keys = if raw.is_some() { keys } else { Keys::new(Vec::new()) };
        let (outward, closed) = Default::default();
        let open = [rustix::stdio::stdout(), rustix::stdio::stderr()].map(open_again);
        Ok(Terminal { raw, is_terminal, input_open: input, keys, outward, closed, open })
    }

    /// rbox was stopped and continued; a shell has set its own mode meanwhile.
    pub fn continued(&self) {
        if let Some(raw) = &self.raw {
            // The terminal may be gone: its hang-up sends SIGCONT, too.
            let _ = raw.again();
        }
    }

    /// True if something is still to be printed.
    pub fn is_behind(&self) -> bool {
        self.outward.iter().any(|bytes| !bytes.is_empty())
    }

    /// True if what is typed comes as it is typed.
    pub fn is_raw(&self) -> bool {
        self.raw.is_some()
    }

    /// Where something is typed, if that is wanted still.
    pub fn input(&self) -> Option<BorrowedFd<'static>> {
        self.input_open.then(rustix::stdio::stdin)
    }

    /// Where something is still to be printed.
    pub fn wanted(&self) -> impl Iterator<Item = (Stream, BorrowedFd<'_>)> + '_ {
        let behind = |stream: &Stream| !self.outward[*stream as usize].is_empty();
        [Stream::Out, Stream::Err].into_iter().filter(behind).map(|stream| (stream, self.to(stream)))
    }

    fn to(&self, stream: Stream) -> BorrowedFd<'_> {
        match (&self.open[stream as usize], stream) {
            (Some(terminal), _) => terminal.as_fd(),
            (None, Stream::Out) => rustix::stdio::stdout(),
            (None, Stream::Err) => rustix::stdio::stderr(),
        }
    }

    /// Reads what is typed.
    pub fn read(&mut self) -> Typed {
        let mut buffer = [0; CHUNK];
        match rustix::io::retry_on_intr(|| rustix::io::read(rustix::stdio::stdin(), &mut buffer)) {
            Ok(length) if length > 0 => match self.keys.pass(&buffer[..length]) {
                (bytes, false) => Typed::Bytes(bytes),
                (bytes, true) => Typed::Leave(bytes),
            },
            Err(Errno::AGAIN) => Typed::Bytes(Vec::new()),
            _ => {
                self.input_open = false;
                // What a pipe has to say ends; a terminal says so with a character (termios(3), VEOF).
                let is_told = self.is_terminal && self.raw.is_none();
                Typed::End(if is_told { vec![END_OF_FILE] } else { Vec::new() })
            }
        }
    }

    /// Something is to be printed.
    pub fn print(&mut self, stream: Stream, bytes: &[u8]) {
        if !self.closed[stream as usize] {
            self.outward[stream as usize].extend_from_slice(bytes);
        }
    }

    /// Prints what can be printed.
    pub fn write(&mut self, stream: Stream) {
        let bytes = &self.outward[stream as usize];
        let chunk = bytes.len().min(CHUNK);
        let written = rustix::io::retry_on_intr(|| rustix::io::write(self.to(stream), &bytes[..chunk]));
        let bytes = &mut self.outward[stream as usize];
        match written {
            Ok(length) => drop(bytes.drain(..length)),
            Err(Errno::AGAIN) => {}
            Err(_) => {
                self.closed[stream as usize] = true;
                bytes.clear();
            }
        }
    }

    /// The process has ended: prints the rest. The caller's terminal gets its mode back when the value goes. A signal ends the
    /// waiting for somebody who does not read.
    pub fn finish(mut self, signals: &Blocked) {
        while self.is_behind() {
            let wanted: Vec<_> = self.wanted().collect();
            let mut fds = vec![PollFd::new(&signals.queue, PollFlags::IN)];
            fds.extend(wanted.iter().map(|(_, fd)| PollFd::new(fd, PollFlags::OUT)));
            let polled = rustix::io::retry_on_intr(|| poll(&mut fds, None));
            if polled.is_err() || (!fds[0].revents().is_empty() && told_to_end(signals)) {
                return;
            }
            let ready: Vec<_> =
                wanted.iter().zip(&fds[1..]).filter(|(_, fd)| !fd.revents().is_empty()).map(|((s, _), _)| *s).collect();
            ready.into_iter().for_each(|stream| self.write(stream));
        }
    }
}

fn open_again(terminal: BorrowedFd<'_>) -> Option<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    // It may be another user's by now, after su(1).
    rustix::termios::isatty(terminal).then(|| rustix::fs::open(mount::path_of(terminal), flags, Mode::empty()).ok())?
}

fn told_to_end(signals: &Blocked) -> bool {
    while let Ok(Some((signal, _))) = signals.next() {
        if asks_to_end(signal) {
            return true;
        }
    }
    false
}
