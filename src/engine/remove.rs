//! `rm`: a container that is kept goes, with its changes.

use super::container::{self, Found};
use super::{names, record, scratch, volumes};
use crate::error::Advise;
use crate::paths;
use crate::runtime::state::Identity;
use crate::sys::{self, process};
use anyhow::{Context, Result, anyhow};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::AsFd;
use std::path::Path;

/// How long a killed container may take to end, in seconds.
const PATIENCE: i64 = 10;

/// Removes a container, with `anonymous` also its volumes without names. One that runs is refused, or killed first with
/// `force`. Returns its id.
pub fn remove(name: &str, force: bool, anonymous: bool) -> Result<String> {
    let found = container::find(name)?;
    let id = found.container.id.clone();
    if found.live && !force {
        return Err(anyhow!("container {}: is running", found.shown())).hint(|| "end it first; -f kills it".to_owned());
    }
    if found.live {
        kill(&id).with_context(|| format!("container {}", found.shown()))?;
    }
    let spec = fs_err::read(found.dir.join(container::SPEC)).ok().filter(|_| anonymous);
    gone(&found)?;
    if let Some(spec) = spec {
        volumes::remove_anonymous(&serde_json::from_slice(&spec)?)?;
    }
    Ok(id)
}

/// Removes every container that nobody is responsible for and that `admits` lets through. Returns their ids.
pub fn prune(admits: impl Fn(&Found) -> bool) -> Result<Vec<String>> {
    let mut removed = Vec::new();
    for found in container::all()?.into_iter().filter(|found| !found.live && admits(found)) {
        gone(&found)?;
        removed.push(found.container.id);
    }
    Ok(removed)
}

/// Kills the first process, with which all others end, and waits until whoever is responsible has let go.
fn kill(id: &str) -> Result<()> {
    let file = paths::runtime_dir()?.join("containers").join(id).join(record::PROCESS);
    let text = match fs_err::read(file) {
        Ok(text) => text,
        // Of another session, or about to end.
        Err(_) => return wait(id),
    };
    let identity: Identity = serde_json::from_slice(&text)?;
    if let Some(pidfd) = identity.open() {
        process::send_signal(pidfd.as_fd(), libc::SIGKILL)?;
        let limit = Timespec { tv_sec: PATIENCE, tv_nsec: 0 };
        poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit))?;
    }
    wait(id)
}

fn wait(id: &str) -> Result<()> {
    for place in container::places()? {
        scratch::wait(&place.join(id))?;
    }
    Ok(())
}

/// Removes its directory, then its name: a name without a directory is free. The directory goes to those of `--rm` first:
/// so the container is whole or not there, and a sweep finds what a killed process leaves.
fn gone(found: &Found) -> Result<()> {
    let [kept, rest] = container::places()?;
    scratch::sweep_unwritten(&kept)?;
    let Some(_held) = scratch::hold(&found.dir)? else {
        return match found.dir.exists() {
            true => Err(anyhow!("container {}: is running", found.shown())),
            // `--rm` was faster.
            false => Ok(()),
        };
    };
    let aside = rest.join(&found.container.id);
    let moved = scratch::base(&rest).and_then(|()| Ok(fs_err::rename(&found.dir, &aside)?));
    match moved {
        Ok(()) => scratch::remove(&aside)?,
        // There is no room even for a name.
        Err(error) if sys::is_full(&error) => scratch::remove(&found.dir)?,
        Err(error) => return Err(error),
    }
    if let Some(name) = &found.container.name {
        let link = paths::data_dir()?.join("names").join(name);
        let _turn = names::lock(&paths::runtime_dir()?)?;
        if fs_err::read_link(&link).is_ok_and(|of| of == Path::new(&found.container.id)) {
            fs_err::remove_file(link)?;
        }
    }
    Ok(())
}
