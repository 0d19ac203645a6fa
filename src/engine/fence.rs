//! Which containers are given the host's cgroups, and so need a fence around them (runtime/fence.rs).

use super::ids::Caller;
use super::images;
use crate::cgroup::place::{self, MOUNTED};
use crate::spec::network::Network;
use crate::spec::options::{Mount, Namespace, Options, Root};
use crate::userns::idmap::IdMaps;
use std::path::Path;

/// Whether there is to be one.
#[derive(Debug)]
pub enum Fence {
    /// It does not see them, or nobody in it may write there.
    Unneeded,
    /// In a user namespace with these ids.
    Around(IdMaps),
    /// It is given them, and there can be none: its ids are another container's, or no namespace has both them and the caller's.
    Impossible,
}

impl Fence {
    /// That of a container which has these ids itself, if they are its own.
    pub fn of(options: &Options, maps: Option<&IdMaps>) -> Fence {
        match is_needed(options) {
            false => Fence::Unneeded,
            true => maps.and_then(around).map_or(Fence::Impossible, Fence::Around),
        }
    }

    /// True if root of the container gets at what it must not.
    pub fn is_open(&self) -> bool {
        matches!(self, Fence::Impossible)
    }
}

/// True if whoever is root in it could get at the files with its limits: they are its own, for it is the caller outside.
pub fn is_needed(options: &Options) -> bool {
    let has = |name: &String| name == "SYS_ADMIN" || name == "ALL";
    let mounts = options.privileged || options.cap_add.iter().any(has);
    // With the host's network /sys is the host's, too, and what is mounted on it can be unmounted.
    let sees = options.cgroupns == Namespace::Host || matches!(options.network, Network::Host);
    let is_given = options.mounts.iter().any(|mount| match mount {
        Mount::Bind { source, .. } => leads_there(source),
        _ => false,
    });
    let is_root = matches!(&options.root, Root::Directory { path, overlay: false } if leads_there(path));
    is_given || is_root || sees && mounts
}

/// It is of the hierarchy, or that is mounted somewhere below.
fn leads_there(path: &Path) -> bool {
    let path = fs_err::canonicalize(path);
    path.is_ok_and(|path| place::is_hierarchy(&path) || Path::new(MOUNTED).starts_with(&path))
}

/// The caller makes it, and so has to be in it.
fn around(maps: &IdMaps) -> Option<IdMaps> {
    let caller = Caller::this();
    let has_caller = |ids: &IdMaps| ids.uid.inside(caller.uid).is_some() && ids.gid.inside(caller.gid).is_some();
    if has_caller(maps) {
        return Some(maps.clone());
    }
    images::default_maps().ok().filter(|ids| has_caller(ids) && maps.within(ids).is_ok())
}
