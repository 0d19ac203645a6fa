//! `start`: whether there is something to do.

use super::container::Found;
use super::state::{self, Status};
use crate::error::Advise;
use anyhow::{Result, anyhow, bail};
use std::time::{Duration, Instant};

/// As long may somebody else take who is about to start or to end it.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often one looks: there is no waiting for a lock with an end.
const LOOK: Duration = Duration::from_millis(2);

/// False if the container runs, or somebody has just started it. One that is about to end is waited for.
pub fn is_needed(found: &Found) -> Result<bool> {
    let since = Instant::now();
    while found.is_held()? {
        let state = state::of_held(found)?;
        if state.status == Status::Paused {
            bail!("cannot start a paused container, try unpause instead");
        }
        if (state.runs() || state.status == Status::Restarting) && !state.ends {
            return Ok(false);
        }
        if since.elapsed() > PATIENCE {
            return Err(anyhow!("somebody else is about to start or to end it, for {} s now", PATIENCE.as_secs()))
                .hint(|| format!("rbox rm -f {} kills what is left of it", found.shown()));
        }
        std::thread::sleep(LOOK);
    }
    Ok(true)
}
