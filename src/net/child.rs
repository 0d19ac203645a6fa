//! A program that works for the network, from its start to its end.
//!
//! Runs in: the host's namespaces, in a thread with an event loop.

use crate::sys::fd;
use anyhow::{Context, Result, anyhow};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use tokio::io::AsyncReadExt;
use tokio::process::ChildStderr;

/// As much of what a program says is kept.
const WORDS: usize = 4096;

/// A program whose standard input is a socket: it ends when the other end, which is in here, is closed.
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
        // It says little, and nothing if all is well; what it says beyond that must not stop it.
        while let Ok(length @ 1..) = self.said.read(&mut heard).await {
            let room = WORDS.saturating_sub(self.words.len());
            self.words.extend(heard.iter().take(length.min(room)));
        }
        let status = self.process.wait().await;
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
        drop(self.lifeline);
        let _ = self.process.wait().await;
    }
}
