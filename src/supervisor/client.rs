//! Somebody who is connected to a supervisor and gets what a process says.

use super::message::{Packet, Reply, Request, packed, receive};
use crate::sys::fd;
use anyhow::Result;
use rustix::event::PollFlags;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// As many bytes wait for somebody who does not read.
const PATIENCE: usize = 4 * 1024 * 1024;

/// One connection.
pub struct Client {
    socket: OwnedFd,
    /// What it has not taken yet.
    waiting: VecDeque<Vec<u8>>,
    bytes: usize,
    /// How many bytes it was not given.
    lost: u64,
    /// It has asked for the process: that waits for it, and its input ends with this one's.
    is_first: bool,
    /// It has closed its end, or is to be let go.
    pub is_gone: bool,
}

impl Client {
    /// Somebody who looks on: whoever is slow loses something, and holds nobody up.
    pub fn new(socket: OwnedFd) -> Client {
        Client { socket, waiting: VecDeque::new(), bytes: 0, lost: 0, is_first: false, is_gone: false }
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

    /// Gives it bytes: a packet with the mark before them.
    pub fn give(&mut self, packet: &[u8]) {
        if !self.is_first && self.bytes + packet.len() > PATIENCE {
            self.lost += packet.len() as u64 - 1;
            return;
        }
        self.send(packet);
    }

    /// Tells it something.
    pub fn tell(&mut self, reply: &Reply) {
        match packed(reply) {
            Ok(packet) => self.send(&packet),
            Err(_) => self.is_gone = true,
        }
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
        self.bytes += packet.len();
        self.waiting.push_back(packet.to_vec());
    }

    /// It takes something again.
    pub fn go_on(&mut self) {
        while let Some(packet) = self.waiting.front() {
            match fd::send_now(self.socket.as_fd(), packet) {
                Ok(()) => {
                    self.bytes -= packet.len();
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
        self.is_gone |= matches!(heard, Ok(Packet::Closed) | Err(_));
        heard
    }
}
