//! What a service manager is told of a container (sd_notify(3)): that it runs, by the supervisor; or what the payload has to say,
//! which comes by way of the supervisor: the manager asks who has sent a message, and the payload's numbers mean nothing to it.

use super::event::{Source, Wanted};
use crate::engine::notify::Notify;
use crate::spec::sdnotify::{SOCKET, SdNotify, passed_on};
use crate::sys::{fd, named_socket, process};
use anyhow::Result;
use rustix::event::PollFlags;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};

/// A longer message is none (systemd, `src/core/manager.c`, `NOTIFY_BUFFER_MAX`).
const LONGEST: usize = 4096;

/// The supervisor's end.
pub struct Notifier {
    mode: SdNotify,
    manager: OwnedFd,
    /// Where the payload says something.
    door: Option<OwnedFd>,
    /// What the manager has not taken yet. As long as there is something, nothing is heard of the payload.
    waiting: VecDeque<Vec<u8>>,
    is_ready: bool,
}

impl Notifier {
    /// Makes the payload's socket, if it is to have one.
    pub fn new(notify: Notify) -> Result<Notifier> {
        let Notify { mode, manager, dir } = notify;
        let door = dir.map(|dir| named_socket::hear_datagrams(&dir, SOCKET)).transpose()?;
        Ok(Notifier { mode, manager, door, waiting: VecDeque::new(), is_ready: false })
    }

    /// The payload runs.
    pub fn started(&mut self) {
        let mut message = format!("MAINPID={}", process::pid());
        if self.mode == SdNotify::Conmon {
            message += "\nREADY=1";
        }
        self.say(message.into_bytes());
    }

    /// A check went well.
    pub fn healthy(&mut self) {
        if self.mode == SdNotify::Healthy && !std::mem::replace(&mut self.is_ready, true) {
            self.say(b"READY=1".to_vec());
        }
    }

    /// What to wait for.
    pub fn wanted<'a>(&'a self, all: &mut Wanted<'a>) {
        if !self.waiting.is_empty() {
            all.push((Source::Manager, self.manager.as_fd(), PollFlags::OUT));
        } else if let Some(door) = &self.door {
            all.push((Source::Notification, door.as_fd(), PollFlags::IN));
        }
    }

    /// The manager takes something, or the payload has said something.
    pub fn step(&mut self) {
        self.flush();
        if self.waiting.is_empty() {
            self.hear();
        }
    }

    /// The payload has ended: what it said last is still under way.
    pub fn finish(&mut self) {
        while self.waiting.is_empty() && self.hear() {}
    }

    /// True if there was something.
    fn hear(&mut self) -> bool {
        let Some(door) = &self.door else { return false };
        let mut buffer = [0; LONGEST + 1];
        // Descriptors that come along are closed (unix(7), SCM_RIGHTS): nobody keeps them for a container.
        match fd::receive_now(door.as_fd(), &mut buffer) {
            Ok((length, _)) => {
                let message = if length > LONGEST { Vec::new() } else { passed_on(&buffer[..length]) };
                if !message.is_empty() {
                    self.say(message);
                }
                true
            }
            Err(_) => false,
        }
    }

    fn say(&mut self, message: Vec<u8>) {
        self.waiting.push_back(message);
        self.flush();
    }

    fn flush(&mut self) {
        while let Some(message) = self.waiting.front() {
            match fd::send_now(self.manager.as_fd(), message) {
                Err(error) if error.errno == Errno::AGAIN => return,
                // Or there is nobody any more.
                _ => drop(self.waiting.pop_front()),
            }
        }
    }
}
