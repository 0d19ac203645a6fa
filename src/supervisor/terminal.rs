//! Bytes between the caller's terminal and the container's.

use super::streams::End;
use crate::sys::pty::{self, Raw};
use crate::sys::signal::Blocked;
use anyhow::Result;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// As much as a terminal takes at once without blocking when it says that it is writable.
const CHUNK: usize = 4096;

/// Ctrl-D.
const END_OF_FILE: u8 = 4;

/// A container's terminal and rbox's own standard streams.
pub struct Relay {
    master: OwnedFd,
    /// The caller's terminal in raw mode; none if standard input is not one or not wanted.
    raw: Option<Raw<BorrowedFd<'static>>>,
    input_open: bool,
    /// Held open so that the terminal is never hung up while the container lives: a payload may close and open it.
    _peer: OwnedFd,
    /// Typed, on its way in.
    inward: Vec<u8>,
    /// Printed, on its way out.
    outward: Vec<u8>,
    /// Nobody reads rbox's output any more.
    output_closed: bool,
}

impl Relay {
    /// Takes over standard input (if `interactive`) and output.
    pub fn start(master: OwnedFd, interactive: bool) -> Result<Relay> {
        let stdin = rustix::stdio::stdin();
        let is_terminal = rustix::termios::isatty(stdin);
        let raw = if interactive && is_terminal { Some(Raw::set(stdin)?) } else { None };
        Ok(Relay {
            _peer: pty::open_peer(&master)?,
            master,
            raw,
            input_open: interactive,
            inward: Vec::new(),
            outward: Vec::new(),
            output_closed: false,
        })
    }

    /// The container's window is as large as the caller's.
    pub fn resize(&self) {
        pty::copy_size_of_stdio(&self.master);
    }

    /// rbox was stopped and continued; a shell has set its own mode meanwhile.
    pub fn continued(&self) {
        self.resize();
        if let Some(raw) = &self.raw {
            // The terminal may be gone: its hang-up sends SIGCONT, too.
            let _ = raw.again();
        }
    }

    /// What to wait for at present; nothing that needs no attention, since its hang-up would be reported for ever.
    pub fn wanted(&self) -> Vec<(End, BorrowedFd<'_>, PollFlags)> {
        let mut wanted = Vec::with_capacity(3);
        let mut master = PollFlags::empty();
        if self.outward.is_empty() {
            master |= PollFlags::IN;
        } else {
            wanted.push((End::Output, rustix::stdio::stdout(), PollFlags::OUT));
        }
        if !self.inward.is_empty() {
            master |= PollFlags::OUT;
        } else if self.input_open {
            wanted.push((End::Input, rustix::stdio::stdin(), PollFlags::IN));
        }
        if !master.is_empty() {
            wanted.push((End::Master, self.master.as_fd(), master));
        }
        wanted
    }

    /// Moves what can be moved.
    pub fn step(&mut self, ready: &[(End, PollFlags)]) {
        for (end, flags) in ready.iter().filter(|(_, flags)| !flags.is_empty()) {
            match end {
                End::Input => self.read_input(),
                End::Output => self.write_output(),
                End::Master => {
                    if flags.contains(PollFlags::OUT) {
                        self.write_master();
                    }
                    if self.outward.is_empty() && !(*flags - PollFlags::OUT).is_empty() {
                        self.read_master();
                    }
                }
                End::Pipe(_) => {}
            }
        }
    }

    fn read_master(&mut self) {
        let mut buffer = [0; CHUNK];
        let read = rustix::io::retry_on_intr(|| rustix::io::read(&self.master, &mut buffer));
        if !self.output_closed {
            self.outward.extend_from_slice(&buffer[..read.unwrap_or(0)]);
        }
    }

    fn write_master(&mut self) {
        match rustix::io::retry_on_intr(|| rustix::io::write(&self.master, &self.inward)) {
            Ok(length) => {
                self.inward.drain(..length);
            }
            Err(Errno::AGAIN) => {}
            Err(_) => self.inward.clear(),
        }
    }

    fn read_input(&mut self) {
        let mut buffer = [0; CHUNK];
        match rustix::io::retry_on_intr(|| rustix::io::read(rustix::stdio::stdin(), &mut buffer)) {
            Ok(length) if length > 0 => self.inward.extend_from_slice(&buffer[..length]),
            Err(Errno::AGAIN) => {}
            _ => {
                self.input_open = false;
                if self.raw.is_none() {
                    // What a pipe has to say ends; a terminal says so with a character (termios(3), VEOF).
                    self.inward.push(END_OF_FILE);
                }
            }
        }
    }

    fn write_output(&mut self) {
        match rustix::io::retry_on_intr(|| rustix::io::write(rustix::stdio::stdout(), &self.outward)) {
            Ok(length) => {
                self.outward.drain(..length);
            }
            Err(Errno::AGAIN) => {}
            Err(_) => {
                self.output_closed = true;
                self.outward.clear();
            }
        }
    }

    /// The container has ended: what it printed last is still in the terminal. The caller's terminal gets its mode
    /// back when the value goes. A signal ends the waiting for somebody who does not read.
    pub fn finish(mut self, signals: &Blocked) {
        loop {
            while !self.outward.is_empty() {
                let stdout = rustix::stdio::stdout();
                let mut fds = [PollFd::new(&stdout, PollFlags::OUT), PollFd::new(&signals.queue, PollFlags::IN)];
                let polled = rustix::io::retry_on_intr(|| poll(&mut fds, None));
                if polled.is_err() || (!fds[1].revents().is_empty() && told_to_end(signals)) {
                    return;
                }
                if !fds[0].revents().is_empty() {
                    self.write_output();
                }
            }
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
            match rustix::io::retry_on_intr(|| poll(&mut fds, Some(&now))) {
                Ok(ready) if ready > 0 => self.read_master(),
                _ => return,
            }
        }
    }
}

fn told_to_end(signals: &Blocked) -> bool {
    while let Ok(Some((signal, _))) = signals.next() {
        if matches!(signal, libc::SIGINT | libc::SIGTERM | libc::SIGHUP | libc::SIGQUIT) {
            return true;
        }
    }
    false
}
