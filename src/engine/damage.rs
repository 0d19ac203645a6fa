//! Containers with damaged files: what can be said of them all the same. A full disk, or a machine that went down, may leave
//! half of a file or an empty one.

use super::container::{self, Found};
use super::state::{self, State, Status};
use crate::error::{Advise, Failure};
use anyhow::Result;
use std::path::Path;

/// What a container is doing, as far as that can be known; and what is wrong with the files that say so.
pub fn state(found: &Found) -> (State, Option<Failure>) {
    let error = match state::of(found) {
        Ok(state) => return (state, None),
        Err(error) => error,
    };
    // That somebody is responsible for it is known in any case.
    let status = if found.live { Status::Running } else { Status::Exited };
    let run = state::run(found).ok().flatten();
    let exit = if found.live { None } else { state::read(&found.dir.join(container::EXIT)).ok().flatten() };
    (State { status, run, exit, ends: false }, Some(of(found, error)))
}

/// What one of its files says; nothing if it cannot be read, for the reason that goes to `failures`.
pub fn part<T: Default>(found: &Found, read: Result<T>, failures: &mut Vec<Failure>) -> T {
    read.unwrap_or_else(|error| {
        failures.push(of(found, error));
        T::default()
    })
}

/// What is told of a container with a damaged file.
pub fn of(found: &Found, error: anyhow::Error) -> Failure {
    Failure::from(&error.context(format!("container {}", found.shown())))
}

/// What is told of one whose record itself cannot be read.
pub fn of_record(dir: &Path, failure: Failure) -> Failure {
    let id = dir.file_name().unwrap_or_default().to_string_lossy();
    let id = id.get(..12).unwrap_or(&id);
    let error = anyhow::Error::from(failure).context(format!("container {id}"));
    let hinted: Result<()> =
        Err(error).hint(|| format!("its record is damaged: `rbox rm -f {id}` gives it up, with what it has changed"));
    hinted.map_or_else(|error| Failure::from(&error), |()| Failure::default())
}
