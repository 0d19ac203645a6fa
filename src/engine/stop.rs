//! `stop` and `kill`: signals for a container that runs.

use super::container::Found;
use super::events::{self, Actor};
use super::state::{self, Run, Status};
use super::{pause, restart};
use crate::error::Advise;
use crate::runtime::signal::is_dropped;
use crate::spec::signal;
use crate::sys::process;
use anyhow::{Result, anyhow, bail};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// docker's time between the signal and the kill, seconds.
const PATIENCE: i64 = 10;
/// How long a killed container may take to be cleaned up, and one that starts to do so.
const CLEANING: Duration = Duration::from_secs(30);
/// How often one looks: there is no waiting for a lock with an end.
const LOOK: Duration = Duration::from_millis(2);

/// Sends a signal to the first process. One that does not run is an error. Comes back from a kill when the container is gone.
pub fn kill(found: &Found, signal: i32) -> Result<()> {
    let state = state::of(found)?;
    if state.status == Status::Restarting && (signal == libc::SIGKILL || own_signal(found)? == signal) {
        restart::stop(found)?;
        return wait_until_gone(found, None, CLEANING, |_, pidfd| send(pidfd, signal));
    }
    let Some(pidfd) = state.run.as_ref().filter(|_| state.pid().is_some()).and_then(Run::open) else {
        bail!("container {} is not running", found.shown());
    };
    // As in docker: what ends it for good is no reason to start it again.
    if signal == libc::SIGKILL || own_signal(found)? == signal {
        restart::stop(found)?;
    }
    // Before its end.
    events::container("kill", &Actor::container(&found.container).with("signal", signal));
    match process::send_signal(pidfd.as_fd(), signal) {
        Err(error) if error.errno == Errno::SRCH => bail!("container {} is not running", found.shown()),
        sent => sent?,
    }
    if signal == libc::SIGKILL {
        wait_until_gone(found, state.run.as_ref(), CLEANING, |_, _| Ok(()))?;
    }
    Ok(())
}

/// Asks the container to end, kills it if it does not, and comes back when it is gone. `seconds`: as long it has; none is as
/// it was made with, negative is for ever; likewise the signal. One that does not run is left as it is; one that is about to
/// start is stopped when it has.
pub fn stop(found: &Found, signal: Option<i32>, seconds: Option<i64>) -> Result<()> {
    restart::stop(found)?;
    end(found, signal, seconds)
}

/// The same where it is known already that it is not to be started again.
pub fn end(found: &Found, signal: Option<i32>, seconds: Option<i64>) -> Result<()> {
    let signal = signal.map_or_else(|| own_signal(found), Ok)?;
    let seconds = seconds.or_else(|| found.container.config["StopTimeout"].as_i64()).unwrap_or(PATIENCE);
    let runs = state::of(found)?.pid().is_some();
    let actor = Actor::container(&found.container);
    wait_until_gone(found, None, CLEANING, |run, pidfd| {
        events::container("kill", &actor.with("signal", signal));
        end_run(run, pidfd, signal, seconds, || pause::thaw(found))
    })?;
    if runs {
        events::container("stop", &actor);
    }
    Ok(())
}

/// The signal that it wants to be stopped with.
fn own_signal(found: &Found) -> Result<i32> {
    let text = found.container.config["StopSignal"].as_str().filter(|text| !text.is_empty());
    text.map_or(Ok(libc::SIGTERM), signal::parse)
}

/// Sends the signal and, if that does not help in time, SIGKILL.
/// `sent` is called when it has the signal.
fn end_run(
    run: &Run,
    pidfd: BorrowedFd<'_>,
    signal: i32,
    seconds: i64,
    sent: impl FnOnce() -> Result<()>,
) -> Result<()> {
    // There is no waiting for somebody who does not hear it.
    let hears = !is_dropped(run.process.pid, signal);
    if hears {
        send(pidfd, signal)?;
    }
    // One that is paused hears it when it goes on.
    sent()?;
    let ends = || match u64::try_from(seconds) {
        Ok(seconds) => process::ends_within(pidfd, Duration::from_secs(seconds)),
        Err(_) => process::ends(pidfd).map(|()| true),
    };
    if !hears || !ends()? {
        send(pidfd, libc::SIGKILL)?;
    }
    Ok(())
}

/// Kills it, whatever it is doing, and whoever is responsible for it if that does not let go.
pub fn destroy(found: &Found, patience: Duration) -> Result<()> {
    restart::stop(found)?;
    let kill = |_: &Run, pidfd: BorrowedFd<'_>| send(pidfd, libc::SIGKILL);
    let Err(error) = wait_until_gone(found, None, patience, kill) else { return Ok(()) };
    // Somebody has stopped it, or it hangs: its container ends with it.
    let supervisor = state::run(found).ok().flatten().and_then(|run| run.open_supervisor());
    let Some(supervisor) = supervisor else { return Err(error) };
    send(supervisor.as_fd(), libc::SIGKILL)?;
    wait_until_gone(found, None, patience, kill)
}

fn send(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    match process::send_signal(pidfd, signal) {
        // It has ended meanwhile.
        Err(error) if error.errno == Errno::SRCH => Ok(()),
        sent => Ok(sent?),
    }
}

/// Waits until whoever is responsible has let go, and has `end` end each run that there is until then. `ended`: a run that needs
/// no end any more. Somebody else may start the container meanwhile: that is not waited for.
fn wait_until_gone(
    found: &Found,
    ended: Option<&Run>,
    patience: Duration,
    end: impl Fn(&Run, BorrowedFd<'_>) -> Result<()>,
) -> Result<()> {
    let mut ended = ended.map(|run| run.process);
    let mut since = Instant::now();
    while found.is_held()? {
        // What cannot be read is nobody that could be ended.
        let run = state::run(found).ok().flatten();
        if let Some((pidfd, run)) = run.and_then(|run| Some((run.open()?, run))) {
            match ended {
                Some(last) if last != run.process && !restart::is_stopped(&found.dir) => return Ok(()),
                Some(last) if last == run.process => {}
                _ => {
                    end(&run, pidfd.as_fd())?;
                    (ended, since) = (Some(run.process), Instant::now());
                }
            }
        } else {
            restart::wake(found);
        }
        if since.elapsed() > patience {
            let seconds = patience.as_secs();
            return Err(anyhow!("container {}: its supervisor has not ended after {seconds} s", found.shown()))
                .hint(|| format!("rbox rm -f {} kills what is left of it", found.shown()));
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Waits until whoever is responsible has let go.
pub fn gone(found: &Found) -> Result<()> {
    wait_until_gone(found, state::run(found).ok().flatten().as_ref(), CLEANING, |_, _| Ok(()))
}
