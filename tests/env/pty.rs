//! A terminal, as a user's shell has one.

use super::LONG;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::OpenptFlags;
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// A terminal as a user's shell has it.
pub struct Terminal {
    pub master: OwnedFd,
    pub slave: OwnedFd,
    pub seen: String,
}

impl Terminal {
    pub fn new() -> Terminal {
        let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
        let slave = rustix::fs::open(name.as_c_str(), flags, rustix::fs::Mode::empty()).unwrap();
        Terminal { master, slave, seen: String::new() }
    }

    pub fn size(&self, rows: u16, columns: u16) {
        tcsetwinsize(&self.master, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    }

    pub fn spawn(&self, mut command: Command) -> Child {
        let end = || Stdio::from(self.slave.try_clone().unwrap());
        command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("rbox starts")
    }

    pub fn type_in(&self, bytes: &[u8]) {
        assert_eq!(rustix::io::write(&self.master, bytes).unwrap(), bytes.len());
    }

    /// Reads until `text` is there.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) {
        let start = Instant::now();
        while !self.seen.contains(text) {
            assert!(start.elapsed() < LONG, "no {text:?} in {:?}", self.seen);
            self.read(500);
        }
    }

    /// Reads on until the child has ended: its status.
    #[track_caller]
    pub fn end_of(&mut self, child: &mut Child) -> Option<i32> {
        let start = Instant::now();
        loop {
            assert!(start.elapsed() < LONG, "no end; {:?}", self.seen);
            self.read(20);
            if let Some(status) = child.try_wait().unwrap() {
                while self.read(0) {}
                return status.code();
            }
        }
    }

    /// Reads what is there, after waiting so many milliseconds for it; false if there was nothing.
    fn read(&mut self, milliseconds: i64) -> bool {
        let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
        let limit = Timespec { tv_sec: 0, tv_nsec: milliseconds * 1_000_000 };
        if poll(&mut fds, Some(&limit)).unwrap() == 0 {
            return false;
        }
        let mut buffer = [0; 4096];
        let length = rustix::io::read(&self.master, &mut buffer).unwrap_or(0);
        self.seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
        length > 0
    }

    pub fn is_raw(&self) -> bool {
        !tcgetattr(&self.slave).unwrap().local_modes.contains(LocalModes::ICANON)
    }
}
