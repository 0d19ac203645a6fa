//! The user namespace that those of a user's containers are in.
//!
//! newuidmap and newgidmap are two set-user-id programs, whose start takes as long as all else of a container's. But root of a user
//! namespace that has the caller's whole range writes the ids of those inside it without them (user_namespaces(7)). Nobody
//! keeps such a namespace: it is there as long as a container is in one inside it, and found by way of that one's first process.

use super::aside::write_whole;
use super::ids::Caller;
use super::{images, state};
use crate::paths;
use crate::runtime::prepared::Around;
use crate::runtime::state::Identity;
use crate::spec::options::Options;
use crate::sys::Named;
use crate::sys::clone;
use crate::userns::idmap::IdMaps;
use crate::userns::write::{self, Writer};
use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;

/// In the runtime directory.
const FILE: &str = "around.json";

/// Where it is.
#[derive(Debug, Serialize, Deserialize)]
struct Found {
    /// The first process of a container in it.
    of: Identity,
    boot: Option<String>,
    /// Its ids.
    ids: IdMaps,
}

/// Where a container's user namespace with these ids is to be. Whoever stays in the background makes a place for others.
pub fn choose(options: &Options, maps: &IdMaps) -> Around {
    let caller = Caller::this();
    if write::writer(maps, caller.uid, caller.gid) != Writer::Helpers {
        return Around::Own { stays: false };
    }
    if let Some((namespace, ids)) = there().ok().flatten().filter(|(_, ids)| maps.within(ids).is_ok()) {
        return Around::There(namespace, ids);
    }
    // The kernel hides the namespaces of rbox's own pid 1.
    let is_findable = options.detach && !options.init;
    let ids = is_findable.then(images::default_maps).and_then(Result::ok);
    ids.filter(|ids| maps.within(ids).is_ok()).map_or(Around::Own { stays: options.runs_here() }, Around::New)
}

/// One that is there, and its ids.
fn there() -> Result<Option<(OwnedFd, IdMaps)>> {
    let Some(Found { of, boot, ids }) = state::read::<Found>(&paths::runtime_dir()?.join(FILE))? else {
        return Ok(None);
    };
    if boot != state::boot() {
        return Ok(None);
    }
    let path = format!("/proc/{}/ns/user", of.pid);
    let inside =
        rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).named(|| format!("open({path})"))?;
    // In this order: if that process is there still, it was its.
    of.open().context("it has ended")?;
    Ok(Some((clone::user_namespace_around(&inside)?, ids)))
}

/// A container runs in one that was made for it, which has these ids.
pub fn remember(of: &Identity, ids: &IdMaps) -> Result<()> {
    write_whole(&paths::runtime_dir()?, FILE, &Found { of: *of, boot: state::boot(), ids: ids.clone() })
}
