//! A program that works for the network, from its start to its end.
//!
//! Runs in: the host's namespaces, in a thread with an event loop.

use crate::sys::{fd, process};
use anyhow::{Context, Result, anyhow};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::ChildStderr;
use tokio::time::timeout;

/// As much of what a program says is kept.
const WORDS: usize = 4096;

/// How long a program may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long one that was killed may take to end.
const MOMENT: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// A program whose standard input is a socket: it ends when the other end, which is in here, is closed. If it has started
/// another one it sends a descriptor for that, which is killed at the end, should it still be there.
#[derive(Debug)]
pub struct Child {
    process: tokio::process::Child,
    said: ChildStderr,
    words: Vec<u8>,
    lifeline: OwnedFd,
    name: &'static str,
}

impl Child {
    /// Starts it. `name` is what errors call it.
    pub fn start(command: std::process::Command, name: &'static str) -> Result<Child> {
        let (lifeline, stdin) = fd::seqpacket_pair()?;
        let mut command = tokio::process::Command::from(command);
        command.stdin(stdin).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().with_context(|| format!("start {name}"))?;
        let said = process.stderr.take().context("no standard error")?;
        Ok(Child { process, said, words: Vec::new(), lifeline, name })
    }

    /// This end of its standard input.
    pub fn lifeline(&self) -> &OwnedFd {
        &self.lifeline
    }

    /// Why it has ended. Waits until it has; what was heard before is kept if nobody waits any more.
    pub async fn ended(&mut self) -> anyhow::Error {
        let mut heard = [0; 1024];
        let status = loop {
            // It says little, and nothing if all is well; what it says beyond that must not stop it.
            tokio::select! {
                biased;
                read = self.said.read(&mut heard) => match read {
                    Ok(length @ 1..) => {
                        let room = WORDS.saturating_sub(self.words.len());
                        self.words.extend(heard.iter().take(length.min(room)));
                    }
                    _ => break self.process.wait().await,
                },
                status = self.process.wait() => break status,
            }
        };
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
        if timeout(PATIENCE, self.process.wait()).await.is_err() {
            // Somebody has stopped it, or worse.
            let _ = self.process.kill().await;
        }
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
