//! `rm`: a container that is kept goes, with its changes.

use super::container::{self, Found};
use super::events::{self, Actor};
use super::state::{self, Status};
use super::{names, record, scratch, stop, sweep, volumes};
use crate::error::Advise;
use crate::paths;
use crate::sys::process;
use anyhow::{Result, anyhow, bail};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

/// How long a killed container may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Removes a container, with `anonymous` also its volumes without names. One that runs is refused, or killed first with
/// `force`. Returns its id.
pub fn remove(name: &str, force: bool, anonymous: bool) -> Result<String> {
    let found = match container::find(name) {
        Err(error) if force => return give_up(name)?.ok_or(error),
        found => found?,
    };
    let id = found.container.id.clone();
    if found.is_held()? {
        match force {
            true => {
                stop::destroy(&found, PATIENCE)?;
                // One that was killed has left things behind.
                sweep::after(&id)?;
            }
            // Whoever is responsible is about to let go.
            false if has_ended(&found)? => stop::gone(&found)?,
            false => {
                return Err(anyhow!("container {}: is running", found.shown()))
                    .hint(|| "end it first; -f kills it".to_owned());
            }
        }
    }
    let spec = fs_err::read(found.dir.join(container::SPEC)).ok().filter(|_| anonymous);
    gone(&found)?;
    if let Some(spec) = spec {
        volumes::remove_anonymous(&serde_json::from_slice(&spec)?)?;
    }
    Ok(id)
}

fn has_ended(found: &Found) -> Result<bool> {
    let state = state::of_held(found)?;
    Ok(state.status == Status::Exited || state.ends)
}

/// Removes what there is of a container whose record cannot be read. Returns its id; `None` if there is no such one.
fn give_up(id: &str) -> Result<Option<String>> {
    let named = |dir: &Path| dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut damaged =
        container::all()?.damaged.into_iter().map(|(dir, _)| dir).filter(|dir| named(dir).starts_with(id));
    let (Some(dir), None, false) = (damaged.next(), damaged.next(), id.is_empty()) else { return Ok(None) };
    if scratch::is_locked(&dir)? {
        // Its container ends with whoever is responsible for it.
        let run = state::run_in(&dir, &named(&dir)).ok().flatten();
        for pidfd in run.into_iter().flat_map(|run| [run.open(), run.open_supervisor()]).flatten() {
            // It has ended meanwhile.
            let _ = process::send_signal(pidfd.as_fd(), libc::SIGKILL);
        }
        scratch::wait(&dir, PATIENCE)?;
    }
    let Some(_held) = scratch::hold(&dir)? else { bail!("container {}: somebody holds it still", named(&dir)) };
    scratch::discard(&dir, &container::places()?[1])?;
    Ok(Some(named(&dir)))
}

/// Removes every container that nobody is responsible for and that `admits` lets through. Returns their ids.
pub fn prune(admits: impl Fn(&Found) -> bool) -> Result<Vec<String>> {
    let mut removed = Vec::new();
    for found in container::all()?.found.into_iter().filter(|found| !found.live && admits(found)) {
        gone(&found)?;
        removed.push(found.container.id);
    }
    Ok(removed)
}

/// Removes one that was to run once, with its volumes that have no name.
pub(super) fn once(found: &Found) -> Result<()> {
    let spec = fs_err::read(found.dir.join(container::SPEC)).ok();
    gone(found)?;
    match spec.and_then(|spec| serde_json::from_slice(&spec).ok()) {
        Some(spec) => volumes::remove_anonymous(&spec),
        None => Ok(()),
    }
}

/// Removes its directory, then its name: a name without a directory is free. The directory goes to those of `--rm` first:
/// so the container is whole or not there, and a sweep finds what a killed process leaves.
fn gone(found: &Found) -> Result<()> {
    if !found.dir.starts_with(&container::places()?[0]) {
        // One of `--rm` is gone with its end.
        return Ok(());
    }
    // What somebody left who was killed while he removed another one; that is no reason not to remove this one.
    let _ = scratch::sweep(&container::places()?[1]);
    let Some(_held) = scratch::hold(&found.dir)? else {
        return match found.dir.exists() {
            true => Err(anyhow!("container {}: is running", found.shown())),
            // `--rm` was faster.
            false => Ok(()),
        };
    };
    let (runtime, id) = (paths::runtime_dir()?, &found.container.id);
    // Whoever is killed from here on leaves it, and the next sweep finds the names by that. Without room for it the container
    // goes all the same.
    let has_died = record::lock_file(&runtime, id).exists();
    let lock = record::lock_again(&runtime, id).ok().flatten();
    scratch::discard(&found.dir, &container::places()?[1])?;
    events::container("destroy", &Actor::container(&found.container));
    names::give_up(&names::lock(&runtime)?, &runtime, found)?;
    match lock {
        // Somebody else has left it, and with it more than that.
        Some(lock) if has_died => {
            drop(lock);
            sweep::all(&runtime)
        }
        Some(_held) => record::remove_record(&runtime, id),
        None => Ok(()),
    }
}
