//! What is on its way from somebody who is connected to the process: what was typed, and messages, which do not wait for that.
//!
//! Runs in: the host's namespaces, the process of the command.

use super::message::{CHUNK, WINDOW, Way};
use crate::sys::fd;
use anyhow::Result;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};

/// As many bytes wait for a process that does not read them; what is typed beyond that goes nowhere, as on a terminal whose
/// program hangs.
const MOST_BYTES: usize = 64 * 1024;
/// As many messages wait for a supervisor that is stopped.
const MOST_MESSAGES: usize = 64;

/// It.
#[derive(Debug, Default)]
pub struct Inward {
    messages: VecDeque<Vec<u8>>,
    bytes: VecDeque<u8>,
    /// After the bytes, their end.
    ends: bool,
    /// So many are on their way that the process has not taken yet.
    sent: usize,
}

impl Inward {
    /// A message, packed.
    pub fn message(&mut self, packet: Vec<u8>) {
        if self.messages.len() < MOST_MESSAGES {
            self.messages.push_back(packet);
        }
    }

    /// Bytes for its standard input.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let room = MOST_BYTES - self.bytes.len();
        self.bytes.extend(bytes.iter().take(room));
    }

    /// That ends with those.
    pub fn end(&mut self) {
        self.ends = true;
    }

    /// The process has taken so many of those that were sent.
    pub fn taken(&mut self, count: usize) {
        self.sent = self.sent.saturating_sub(count);
    }

    /// True if none of what is typed would get lost.
    pub fn has_room(&self) -> bool {
        self.bytes.len() + CHUNK <= MOST_BYTES
    }

    /// The next packet, if one may be sent, and how many bytes for the process are in it.
    fn next(&self) -> Option<(Vec<u8>, usize)> {
        let room = (WINDOW - self.sent).min(CHUNK);
        match (self.messages.front(), self.bytes.is_empty()) {
            (Some(message), _) => Some((message.clone(), 0)),
            (None, false) if room > 0 => {
                let bytes = self.bytes.iter().copied().take(room);
                let packet: Vec<u8> = std::iter::once(Way::In.mark()).chain(bytes).collect();
                let length = packet.len() - 1;
                Some((packet, length))
            }
            (None, true) if self.ends => Some((vec![Way::In.mark()], 0)),
            _ => None,
        }
    }

    /// True if something may be sent.
    pub fn is_ready(&self) -> bool {
        !self.messages.is_empty()
            || (!self.bytes.is_empty() && self.sent < WINDOW)
            || (self.bytes.is_empty() && self.ends)
    }

    /// Sends what can be sent.
    pub fn flush(&mut self, socket: &OwnedFd) -> Result<()> {
        while let Some((packet, length)) = self.next() {
            match fd::send_now(socket.as_fd(), &packet) {
                Ok(()) if length > 0 => {
                    self.bytes.drain(..length);
                    self.sent += length;
                }
                Ok(()) if self.messages.pop_front().is_some() => {}
                Ok(()) => self.ends = false,
                Err(error) if error.errno == Errno::AGAIN => return Ok(()),
                // Why is heard next.
                Err(error) if matches!(error.errno, Errno::PIPE | Errno::CONNRESET) => {
                    *self = Inward::default();
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_pass_what_nobody_reads() {
        let (ours, theirs) = fd::seqpacket_pair().expect("sockets");
        let mut inward = Inward::default();
        for _ in 0..4 {
            inward.bytes(&[b'x'; CHUNK]);
            inward.flush(&ours).expect("sent");
        }
        assert!(!inward.has_room() && !inward.is_ready());
        inward.message(b"{}".to_vec());
        inward.end();
        inward.flush(&ours).expect("sent");
        let mut buffer = vec![0; 2 * CHUNK];
        let mut next = || fd::receive_now(theirs.as_fd(), &mut buffer).map(|(length, _)| length);
        for expected in [1 + CHUNK, 1 + CHUNK, 2] {
            assert_eq!(next().expect("a packet"), expected);
        }
        assert!(next().is_err());
        // All of it goes when it is taken, and then the end.
        inward.taken(CHUNK);
        inward.flush(&ours).expect("sent");
        inward.taken(2 * CHUNK);
        inward.flush(&ours).expect("sent");
        for expected in [1 + CHUNK, 1 + CHUNK, 1] {
            assert_eq!(next().expect("a packet"), expected);
        }
        assert!(next().is_err() && !inward.is_ready());
    }
}
