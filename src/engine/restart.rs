//! What is kept of a container that is started again by itself: `restart.json`, and `stopped`, which says that somebody does
//! not want that. Both are beside its record, and gone with the next start that somebody asks for.

use super::aside;
use super::container::Found;
use super::record::{self, gone};
use crate::spec::restart::{self, Restart};
use crate::sys::named_socket;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;

const FILE: &str = "restart.json";
const STOPPED: &str = "stopped";
/// What is in it if that ends with the next boot.
const FOR_NOW: &str = "until the next boot\n";

/// How often it was started again since somebody has started it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restarts {
    /// In a row.
    pub count: u32,
    /// It waits for the next one.
    pub waiting: bool,
    /// How long it waits, or waited, milliseconds.
    pub delay: u64,
}

/// Reads it; nothing yet if there is no file, or none that can be read.
pub fn of(dir: &Path) -> Restarts {
    fs_err::read(dir.join(FILE)).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Called when a container has ended: how long to wait before it is started again, if it is. `ran`: how long it ran.
pub fn next(dir: &Path, policy: Restart, status: u8, ran: Duration) -> Result<Option<Duration>> {
    let last = of(dir);
    if !policy.wants(status, last.count) || is_stopped(dir) {
        return Ok(None);
    }
    let delay = restart::delay(Duration::from_millis(last.delay), ran);
    let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    let next = Restarts { count: last.count.saturating_add(1), waiting: true, delay: delay_ms };
    match aside::write_whole(dir, FILE, &next).context("restart") {
        // A service goes on also on a full disk; what is to be counted is not.
        Err(error) if policy.is_counted() => Err(error),
        _ => Ok(Some(delay)),
    }
}

/// It waits no more: it starts, or somebody does not want it to. If that cannot be written down it looks as if it waited, until
/// it runs or nobody is responsible for it.
pub fn go_on(dir: &Path) {
    let _ = aside::write_whole(dir, FILE, &Restarts { waiting: false, ..of(dir) });
}

/// Somebody starts it: what was is forgotten.
pub fn forget(dir: &Path) -> Result<()> {
    [FILE, STOPPED].iter().try_for_each(|name| gone(rustix::fs::unlink(dir.join(name)), dir))
}

/// Somebody stops it: it is not to be started again by itself.
pub fn stop(found: &Found) -> Result<()> {
    match found.container.restart {
        Restart::No => Ok(()),
        _ => mark_stopped(&found.dir),
    }
}

/// The same of a container in this directory.
pub fn mark_stopped(dir: &Path) -> Result<()> {
    Ok(fs_err::write(dir.join(STOPPED), "")?)
}

/// The same until the next boot, unless somebody has stopped it for good.
pub fn mark_stopped_for_now(dir: &Path) -> Result<()> {
    if is_stopped(dir) { Ok(()) } else { Ok(fs_err::write(dir.join(STOPPED), FOR_NOW)?) }
}

/// True if somebody has stopped it, and not for a shutdown.
pub fn is_stopped_for_good(dir: &Path) -> bool {
    fs_err::read(dir.join(STOPPED)).is_ok_and(|text| text != FOR_NOW.as_bytes())
}

/// Has whoever waits to start it look whether it still is to. If nobody does, nothing happens.
pub fn wake(found: &Found) {
    // On a full disk it is not written down.
    if of(&found.dir).waiting || found.container.restart != Restart::No {
        let _ = record::runtime_of(&found.container.id).map(|dir| named_socket::knock(&dir, record::CONTROL));
    }
}

/// True if somebody did.
pub fn is_stopped(dir: &Path) -> bool {
    dir.join(STOPPED).exists()
}
