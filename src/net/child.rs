//! A program that works for the network, from its start to its end.
//!
//! std::process starts it, and the event loop waits for its pidfd: tokio::process wants the loop first, and its own means of
//! hearing of children, which together took 2 ms of a container's first connection.
//!
//! Runs in: the host's namespaces, in a thread with an event loop.

use crate::sys::watch::Watch;
use crate::sys::{Named, Result as Called, fd, process};
use anyhow::{Context, Result, anyhow};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::time::timeout;

/// As much of what a program says is kept.
const WORDS: usize = 4096;

/// How long a program may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long one that was killed may take to end.
const MOMENT: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// A program that was just started, by whoever has no event loop yet: to begin one takes longer than to start a program.
///
/// Its standard input is a socket: it ends when the other end, which is in here, is closed. If it has started another one it
/// sends a descriptor for that, which is killed at the end, should it still be there.
#[derive(Debug)]
pub struct Started {
    process: std::process::Child,
    pidfd: OwnedFd,
    said: OwnedFd,
    lifeline: OwnedFd,
    name: &'static str,
}

impl Started {
    /// Starts it. `name` is what errors call it.
    pub fn new(mut command: Command, name: &'static str) -> Result<Started> {
        let (lifeline, stdin) = fd::seqpacket_pair()?;
        command.stdin(stdin).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().with_context(|| format!("start {name}"))?;
        // Nobody waits for it meanwhile: the number is still its own.
        let pidfd = process::open_pidfd(process.id() as i32)?;
        let said = process.stderr.take().context("no standard error")?.into();
        Ok(Started { process, pidfd, said, lifeline, name })
    }
}

/// The same in an event loop.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    end: Watch,
    said: Watch,
    words: Vec<u8>,
    lifeline: OwnedFd,
    name: &'static str,
}

impl Child {
    /// Starts it. `name` is what errors call it.
    pub fn start(command: Command, name: &'static str) -> Result<Child> {
        Child::attend(Started::new(command, name)?)
    }

    /// Takes over one that was started before.
    pub fn attend(started: Started) -> Result<Child> {
        let Started { process, pidfd, said, lifeline, name } = started;
        rustix::io::ioctl_fionbio(&said, true).named(|| "ioctl(FIONBIO)".to_owned())?;
        let (end, said) = (Watch::readable(pidfd)?, Watch::readable(said)?);
        Ok(Child { process, end, said, words: Vec::new(), lifeline, name })
    }

    /// This end of its standard input.
    pub fn lifeline(&self) -> &OwnedFd {
        &self.lifeline
    }

    /// Why it has ended. Waits until it has; what was heard before is kept if nobody waits any more.
    pub async fn ended(&mut self) -> anyhow::Error {
        loop {
            // It says little, and nothing if all is well; what it says beyond that must not stop it.
            tokio::select! {
                biased;
                heard = self.said.next(read) => match heard {
                    Ok(heard) if !heard.is_empty() => {
                        let room = WORDS.saturating_sub(self.words.len());
                        self.words.extend(heard.iter().take(room));
                    }
                    _ => {
                        let _ = self.end.next(has_ended).await;
                        break;
                    }
                },
                _ = self.end.next(has_ended) => break,
            }
        }
        let status = self.process.wait();
        self.end_others();
        let words = String::from_utf8_lossy(&self.words);
        // Where there is no syslog, pasta says so with everything that it says.
        let is_empty = |line: &str| line.is_empty() || line.starts_with("Failed to send") && line.ends_with("syslog");
        let words: Vec<&str> = words.lines().map(str::trim).filter(|line| !is_empty(line)).collect();
        let how = match status.map(|status| status.code()) {
            Ok(Some(code)) if code > 128 => format!("killed by signal {}", code - 128),
            Ok(Some(code)) => format!("exit status {code}"),
            _ => "killed".to_owned(),
        };
        match words.as_slice() {
            [] => anyhow!("{}: {how}", self.name),
            words => anyhow!("{}: {how}: {}", self.name, words.join("; ")),
        }
    }

    /// Ends it; afterwards nothing of it is left.
    pub async fn stop(mut self) {
        // The other end sees this as it sees the end of this process.
        let _ = rustix::net::shutdown(&self.lifeline, Shutdown::Write);
        if timeout(PATIENCE, self.end.next(has_ended)).await.is_err() {
            // Somebody has stopped it, or worse.
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
        self.end_others();
    }

    /// Kills what it has started, if it has told of that and was itself killed before it could.
    fn end_others(&self) {
        let mut space = [0; 16];
        while let Ok((1.., others)) = fd::receive_now(self.lifeline.as_fd(), &mut space) {
            for other in others {
                // It has ended, mostly. One that has not lets go of what it has with its end.
                if process::send_signal(other.as_fd(), libc::SIGKILL).is_ok() {
                    let _ = poll(&mut [PollFd::new(&other, PollFlags::IN)], Some(&MOMENT));
                }
            }
        }
    }
}

/// What there is to read; nothing at the end.
fn read(fd: BorrowedFd<'_>) -> Called<Option<Vec<u8>>> {
    let mut heard = [0; 1024];
    match rustix::io::retry_on_intr(|| rustix::io::read(fd, &mut heard)) {
        Ok(length) => Ok(Some(heard[..length].to_vec())),
        Err(Errno::AGAIN) => Ok(None),
        Err(errno) => Err(errno).named(|| "read".to_owned()),
    }
}

fn has_ended(pidfd: BorrowedFd<'_>) -> Called<Option<()>> {
    Ok(process::ends_within(pidfd, Duration::ZERO)?.then_some(()))
}
