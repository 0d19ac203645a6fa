//! A running helper, from its start to its end.
//!
//! Runs in: the host's namespaces, in a thread with an event loop.

use super::keeper;
use super::link::Ends;
use super::uplink::Uplink;
use crate::sys::netlink::Socket;
use anyhow::{Context, Result, anyhow};
use std::process::Stdio;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, Command};

/// The interface that a helper makes in the container.
pub const TAP: &str = "rbox0";

/// As much of what a helper says is kept.
const WORDS: u64 = 4096;

/// pasta or slirp4netns. Ends with this value, and with this process.
#[derive(Debug)]
pub struct Helper {
    /// Its keeper: ends when the helper does, or its standard input, which is in here.
    keeper: Child,
    said: ChildStderr,
    program: &'static str,
    mtu: u32,
}

impl Helper {
    /// Starts it, for the network namespace of a process. It is ready when its tap is there: what is sent before it looks
    /// waits in that.
    pub fn start(uplink: &Uplink, pid: i32) -> Result<Helper> {
        let mut command = Command::from(keeper::command(uplink.program.as_os_str()));
        command.args(uplink.arguments(pid, TAP)?);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut keeper = command.spawn().with_context(|| format!("start {}", uplink.program.display()))?;
        let said = keeper.stderr.take().context("no standard error")?;
        Ok(Helper { keeper, said, program: uplink.kind.program(), mtu: uplink.mtu })
    }

    /// Why it has ended. Waits until it has.
    pub async fn ended(&mut self) -> anyhow::Error {
        let mut words = Vec::new();
        // It says little, and nothing if all is well; what it says beyond that must not stop it.
        let _ = (&mut self.said).take(WORDS).read_to_end(&mut words).await;
        let _ = tokio::io::copy(&mut self.said, &mut tokio::io::sink()).await;
        let status = self.keeper.wait().await;
        let words = String::from_utf8_lossy(&words);
        let words: Vec<&str> = words.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let how = match status.map(|status| status.code()) {
            Ok(Some(code)) if code > 128 => format!("killed by signal {}", code - 128),
            Ok(Some(code)) => format!("exit status {code}"),
            _ => "killed".to_owned(),
        };
        match words.as_slice() {
            [] => anyhow!("{}: {how}", self.program),
            words => anyhow!("{}: {how}: {}", self.program, words.join("; ")),
        }
    }

    /// Ends it; afterwards nothing of it is left.
    pub async fn stop(mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait().await;
    }

    /// Plugs its tap into the container's interface; false if it is not there yet.
    pub fn plug_in(&self, control: &Socket, interface: u32) -> Result<bool> {
        if control.index(TAP)?.is_none() {
            return Ok(false);
        }
        Ends::plug_in(control, interface, TAP, self.mtu)?;
        Ok(true)
    }
}
