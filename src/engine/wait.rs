//! `wait`: how a container ends.

use super::container::{self, Found};
use super::state::{self, Exit, Run, Status};
use super::{health, restart};
use crate::spec::health::{Check, OnFailure};
use crate::spec::restart::Restart;
use crate::sys::process;
use anyhow::{Result, bail, ensure};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::time::Duration;

/// Why the kernel has killed somebody, and with him the container.
pub const OUT_OF_MEMORY: &str = "it had no more memory, and the kernel has killed it (OOM)";

/// How often one looks: there is no waiting for a lock with an end.
const LOOK: Duration = Duration::from_millis(2);

/// Waits for the end of a container that runs; its exit status. One that does not run has that of its last run; one that is
/// started again by itself ends when that ends. One of `--rm` is gone by then, and its status is read from a file that has no
/// name any more.
pub fn wait(found: &Found) -> Result<u8> {
    let last = announced(found);
    let state = state::of(found)?;
    if found.is_held()? {
        until_gone(found, state.run.as_ref())?;
    }
    if let Some(found) = container::read(&found.dir)?.filter(|there| there.container.id == found.container.id) {
        if let Some(exit) = state::of(&found)?.exit {
            return Ok(exit.status);
        }
        // One that goes now is seen in parts.
        if found.dir.starts_with(&container::places()?[0]) && !found.container.once {
            return Ok(state::of(&found)?.exit_code());
        }
    }
    let mut text = Vec::new();
    let read = last.and_then(|mut file| file.read_to_end(&mut text).ok());
    let exit: Option<Exit> = read.and_then(|_| serde_json::from_slice(&text).ok());
    Ok(exit.map_or(128 + libc::SIGKILL as u8, |exit| exit.status))
}

/// The file that its status will be written to, if there is one: made here, for one of `--rm` writes it down for somebody who
/// waits only.
fn announced(found: &Found) -> Option<File> {
    let file = found.dir.join(container::EXIT);
    let is_kept = !found.container.once && container::places().is_ok_and(|[kept, _]| found.dir.starts_with(kept));
    File::options().read(true).append(true).create(!is_kept).open(file).ok()
}

/// Waits until nobody is responsible for it any more, or it has ended and somebody has started it anew.
fn until_gone(found: &Found, mut run: Option<&Run>) -> Result<()> {
    loop {
        if let Some(pidfd) = run.take().and_then(Run::open) {
            process::ends(pidfd.as_fd())?;
        }
        if !found.is_held()? {
            return Ok(());
        }
        // Until that is written nobody knows how; and one that may be started again has not ended for good.
        let has_ended = state::of(found)?.exit.is_some();
        if has_ended && (!may_restart(found) || restart::is_stopped(&found.dir)) {
            return Ok(());
        }
        std::thread::sleep(LOOK);
    }
}

fn may_restart(found: &Found) -> bool {
    let check = Check::of(&found.container.config);
    found.container.restart != Restart::No || check.is_some_and(|check| check.on_failure == OnFailure::Restart)
}

/// What else one may wait for, in podman's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It is doing this.
    State(Status),
    /// It is this well.
    Health(health::Status),
    /// It is no longer there.
    Removed,
}

/// Reads one.
pub fn condition(text: &str) -> Result<Condition> {
    Ok(match text {
        "paused" => Condition::State(Status::Paused),
        "running" => Condition::State(Status::Running),
        "exited" | "stopped" => Condition::State(Status::Exited),
        "created" | "configured" | "initialized" => Condition::State(Status::Created),
        "restarting" => Condition::State(Status::Restarting),
        "healthy" => Condition::Health(health::Status::Healthy),
        "unhealthy" => Condition::Health(health::Status::Unhealthy),
        "removed" | "removing" => Condition::Removed,
        _ => bail!("{text}: running, exited, stopped, created, healthy, unhealthy or removed is wanted"),
    })
}

/// Waits for one of the conditions: the exit status for one that has ended then, otherwise -1.
pub fn until(found: &Found, conditions: &[Condition], interval: Duration) -> Result<i32> {
    loop {
        let there = container::read(&found.dir)?.filter(|there| there.container.id == found.container.id);
        let Some(there) = there else {
            ensure!(conditions.contains(&Condition::Removed), "container {}: is gone", found.shown());
            return Ok(-1);
        };
        let state = state::of(&there)?;
        let holds = |condition: &Condition| match condition {
            Condition::State(status) => state.status == *status,
            Condition::Health(status) => {
                state.runs() && health::of(&there.dir).is_some_and(|health| health.status == *status)
            }
            Condition::Removed => false,
        };
        if conditions.iter().any(holds) {
            return Ok(if state.status == Status::Exited { state.exit_code().into() } else { -1 });
        }
        std::thread::sleep(interval);
    }
}
