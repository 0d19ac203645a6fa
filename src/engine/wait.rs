//! `wait`: how a container ends.

use super::container::{self, Found};
use super::restart;
use super::state::{self, Exit, Run, Status};
use crate::spec::restart::Restart;
use crate::sys::process;
use anyhow::Result;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::time::Duration;

/// How often one looks: there is no waiting for a lock with an end.
const LOOK: Duration = Duration::from_millis(2);

/// Waits for the end of a container that runs; its exit status. One that does not run has that of its last run; one that is
/// started again by itself ends when that ends. One of `--rm` is gone by then, and its status is read from a file that has no
/// name any more.
pub fn wait(found: &Found) -> Result<u8> {
    let last = announced(found);
    let state = state::of(found)?;
    if found.is_held()? && state.status != Status::Exited {
        until_gone(found, state.run.as_ref())?;
    }
    if let Some(found) = container::read(&found.dir)?.filter(|there| there.container.id == found.container.id) {
        if let Some(exit) = state::of(&found)?.exit {
            return Ok(exit.status);
        }
        if found.dir.starts_with(&container::places()?[0]) {
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
    let is_kept = container::places().is_ok_and(|[kept, _]| found.dir.starts_with(kept));
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
        let now = state::of(found)?;
        let has_ended = now.exit.is_some() && now.status != Status::Restarting;
        if has_ended && (found.container.restart == Restart::No || restart::is_stopped(&found.dir)) {
            return Ok(());
        }
        std::thread::sleep(LOOK);
    }
}
