//! `wait`: how a container ends.

use super::container::{self, Found};
use super::state::{self, Exit, Status};
use super::stop;
use crate::sys::process;
use anyhow::Result;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;

/// Waits for the end of a container that runs; its exit status. One that does not run has that of its last run. One of
/// `--rm` is gone by then, and its status is read from a file that has no name any more.
pub fn wait(found: &Found) -> Result<u8> {
    let last = File::open(found.dir.join(container::EXIT));
    let state = state::of(found)?;
    if let Some(pidfd) = state.run.filter(|_| state.status == Status::Running).and_then(|run| run.open()) {
        process::ends(pidfd.as_fd())?;
    }
    if found.live {
        // It is written down by then.
        stop::gone(found)?;
    }
    if let Some(found) = container::read(&found.dir)?.filter(|there| there.container.id == found.container.id) {
        return Ok(state::of(&found)?.exit_code());
    }
    let mut text = Vec::new();
    let read = last.and_then(|mut file| file.read_to_end(&mut text));
    let exit: Option<Exit> = read.ok().and_then(|_| serde_json::from_slice(&text).ok());
    Ok(exit.map_or(128 + libc::SIGKILL as u8, |exit| exit.status))
}
