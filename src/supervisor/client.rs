//! Somebody who is connected to a supervisor and gets what a process says.

use super::message::{Packet, Reply, Request, WINDOW, Way, packed, receive};
use crate::sys::fd;
use anyhow::Result;
use rustix::event::PollFlags;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// As many bytes wait for those who look on and do not read, all together.
const PATIENCE: usize = 4 * 1024 * 1024;
/// What a packet that waits takes beside its bytes: it may have a single one.
const AROUND: usize = 64;
/// Nobody is told so much without reading any of it, bytes.
const DEAF: usize = 1024 * 1024;

/// One connection.
pub struct Client {
    socket: OwnedFd,
    /// What it has not taken yet.
    waiting: VecDeque<Vec<u8>>,
    bytes: usize,
    /// How many bytes it was not given.
    lost: u64,
    /// How many bytes it has sent that the process has not taken.
    owed: usize,
    /// It has asked for the process: that waits for it, and its input ends with this one's.
    is_first: bool,
    /// It has closed its end, or is to be let go.
    pub is_gone: bool,
}

impl Client {
    /// Somebody who looks on: whoever is slow loses something, and holds nobody up.
    pub fn new(socket: OwnedFd) -> Client {
        Client { socket, waiting: VecDeque::new(), bytes: 0, lost: 0, owed: 0, is_first: false, is_gone: false }
    }

    /// Whoever has started the process in the foreground: it writes no faster than this one reads, as on a terminal.
    pub fn first(socket: OwnedFd) -> Client {
        Client { is_first: true, ..Client::new(socket) }
    }

    /// True for whoever has asked for the process.
    pub fn is_first(&self) -> bool {
        self.is_first
    }

    /// True if something waits for it.
    pub fn is_behind(&self) -> bool {
        !self.waiting.is_empty() && !self.is_gone
    }

    /// What to wait for.
    pub fn wanted(&self, listen: bool) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, listen);
        flags.set(PollFlags::OUT, self.is_behind());
        (!self.is_gone && !flags.is_empty()).then(|| (self.socket.as_fd(), flags))
    }

    /// Gives it bytes: a packet with the mark before them. `others`: how many look on beside it.
    pub fn give(&mut self, packet: &[u8], others: usize) {
        if !self.is_first && self.bytes + packet.len() + AROUND > PATIENCE / (1 + others) {
            self.lost += packet.len() as u64 - 1;
            return;
        }
        self.send(packet);
    }

    /// Tells it something.
    pub fn tell(&mut self, reply: &Reply) {
        match packed(reply) {
            Ok(packet) if self.bytes < PATIENCE + DEAF || self.is_first => self.send(&packet),
            _ => self.is_gone = true,
        }
    }

    /// The process has taken so many bytes of it.
    pub fn taken(&mut self, count: usize) {
        self.owed = self.owed.saturating_sub(count);
        self.tell(&Reply::Taken(count));
    }

    fn send(&mut self, packet: &[u8]) {
        if self.is_gone {
            return;
        }
        if self.waiting.is_empty() {
            match fd::send_now(self.socket.as_fd(), packet) {
                Ok(()) => return,
                Err(error) if error.errno == Errno::AGAIN => {}
                Err(_) => {
                    self.is_gone = true;
                    return;
                }
            }
        }
        self.bytes += packet.len() + AROUND;
        self.waiting.push_back(packet.to_vec());
    }

    /// It takes something again.
    pub fn go_on(&mut self) {
        while let Some(packet) = self.waiting.front() {
            match fd::send_now(self.socket.as_fd(), packet) {
                Ok(()) => {
                    self.bytes -= packet.len() + AROUND;
                    self.waiting.pop_front();
                }
                Err(error) if error.errno == Errno::AGAIN => return,
                Err(_) => {
                    self.is_gone = true;
                    return;
                }
            }
        }
        self.waiting.shrink_to_fit();
        if self.lost > 0 {
            let lost = std::mem::take(&mut self.lost);
            self.tell(&Reply::Lost(lost));
        }
    }

    /// What it says. What cannot be understood is its end.
    pub fn hear(&mut self) -> Result<Packet<Request>> {
        let heard = receive(&self.socket);
        if let Ok(Packet::Bytes(Way::In, bytes)) = &heard {
            self.owed += bytes.len();
        }
        self.is_gone |= matches!(heard, Ok(Packet::Closed) | Err(_)) || self.owed > WINDOW;
        heard
    }
}
