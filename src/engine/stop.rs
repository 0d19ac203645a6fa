//! `stop` and `kill`: signals for a container that runs.

use super::container::Found;
use super::{scratch, state};
use crate::error::Advise;
use crate::runtime::signal::has_default;
use crate::spec::signal;
use crate::sys::process;
use anyhow::{Result, anyhow, bail};
use rustix::io::Errno;
use std::os::fd::AsFd;
use std::time::Duration;

/// docker's time between the signal and the kill, seconds.
const PATIENCE: i64 = 10;
/// How long a killed container may take to be cleaned up.
const CLEANING: Duration = Duration::from_secs(30);

/// Sends a signal to the first process. One that does not run is an error.
pub fn kill(found: &Found, signal: i32) -> Result<()> {
    let run = state::run(found)?.and_then(|run| Some((run.process.pid, run.open()?)));
    let Some((_, pidfd)) = run else { bail!("container {} is not running", found.shown()) };
    match process::send_signal(pidfd.as_fd(), signal) {
        Err(error) if error.errno == Errno::SRCH => bail!("container {} is not running", found.shown()),
        sent => Ok(sent?),
    }
}

/// Asks the container to end, kills it if it does not, and comes back when it is gone. `seconds`: as long it has; none is as
/// it was made with, negative is for ever; likewise the signal. One that does not run is left as it is.
pub fn stop(found: &Found, signal: Option<i32>, seconds: Option<i64>) -> Result<()> {
    let Some(run) = state::run(found)? else { return Ok(()) };
    if let Some(pidfd) = run.open() {
        let own = || found.container.config["StopSignal"].as_str().filter(|text| !text.is_empty());
        let signal = match (signal, own()) {
            (Some(signal), _) => signal,
            (None, Some(text)) => signal::parse(text)?,
            (None, None) => libc::SIGTERM,
        };
        let seconds = seconds.or_else(|| found.container.config["StopTimeout"].as_i64()).unwrap_or(PATIENCE);
        let sent = |result: crate::sys::Result<()>| match result {
            // It has ended meanwhile.
            Err(error) if error.errno == Errno::SRCH => Ok(()),
            sent => sent,
        };
        // There is no waiting for somebody who does not hear it.
        let hears = !has_default(run.process.pid, signal);
        if hears {
            sent(process::send_signal(pidfd.as_fd(), signal))?;
        }
        let ends = || match u64::try_from(seconds) {
            Ok(seconds) => process::ends_within(pidfd.as_fd(), Duration::from_secs(seconds)),
            Err(_) => process::ends(pidfd.as_fd()).map(|()| true),
        };
        if !hears || !ends()? {
            sent(process::send_signal(pidfd.as_fd(), libc::SIGKILL))?;
        }
    }
    gone(found)
}

/// Waits until whoever is responsible has let go.
pub fn gone(found: &Found) -> Result<()> {
    if scratch::wait(&found.dir, CLEANING)? {
        return Ok(());
    }
    Err(anyhow!("container {}: its supervisor has not ended after {} s", found.shown(), CLEANING.as_secs()))
        .hint(|| format!("rbox rm -f {} kills what is left of it", found.shown()))
}
