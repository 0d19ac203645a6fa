//! Which containers are given the host's cgroups, and so need a fence around them (runtime/fence.rs).

use super::ids::Caller;
use super::images;
use crate::cgroup::{mounted, place};
use crate::runtime::capability;
use crate::seccomp::capability::number;
use crate::spec::network::Network;
use crate::spec::options::{Mount, Namespace, Options};
use crate::userns::idmap::IdMaps;
use anyhow::{Context, Result};
use oci_spec::runtime::{LinuxNamespaceType, Mount as SpecMount, Spec};
use std::path::{Path, PathBuf};

/// Whether there is to be one.
#[derive(Debug)]
pub enum Fence {
    /// It does not see them.
    Unneeded,
    /// In a user namespace with these ids.
    Around(IdMaps),
    /// It gets at them, and there can be none: its user namespace is another container's, or no namespace has both its ids and the
    /// caller's.
    Impossible,
}

impl Fence {
    /// That of a container which has these ids, if they are its own: root of it is the caller outside, whose the files with its
    /// limits are.
    pub fn of(spec: &Spec, maps: Option<&IdMaps>) -> Result<Fence> {
        let is_needed = sees(spec)?;
        Ok(match maps {
            Some(maps) if is_needed => around(maps).map_or(Fence::Impossible, Fence::Around),
            Some(_) => Fence::Unneeded,
            // In the other's namespaces it finds the other's cgroups, if it may mount them or is in their namespace.
            None if is_needed || may_mount(spec) || joins_cgroups(spec) => Fence::Impossible,
            None => Fence::Unneeded,
        })
    }

    /// True if root of the container gets at what it must not.
    pub fn is_open(&self) -> bool {
        matches!(self, Fence::Impossible)
    }
}

/// True where there will most likely be one: before there is a Spec, for what would have to be done twice.
pub fn is_likely(options: &Options) -> bool {
    let is_given = |mount: &Mount| match mount {
        Mount::Bind { source, .. } => place::is_hierarchy(source) || Path::new(place::MOUNTED).starts_with(source),
        _ => false,
    };
    let is_open = options.privileged && matches!(options.network, Network::Host);
    is_open || options.cgroupns == Namespace::Host || options.mounts.iter().any(is_given)
}

/// True if the host's hierarchy is to be seen in it, or can be uncovered.
fn sees(spec: &Spec) -> Result<bool> {
    if namespace_of_cgroups(spec).is_none() {
        return Ok(true);
    }
    let hierarchies = mounted::everywhere().context("mounted cgroups")?;
    let is_covered = |mount: &SpecMount| is_own_sys(mount) && !may_mount(spec) && has_own(spec);
    let binds = spec.mounts().iter().flatten().filter(|mount| is_bind(mount) && !is_covered(mount));
    let root = spec.root().as_ref().map(|root| root.path());
    let mut sources = binds.filter_map(|mount| mount.source().as_ref()).chain(root);
    Ok(sources.any(|source| leads_there(source, &hierarchies)))
}

fn is_bind(mount: &SpecMount) -> bool {
    let is_word = |word: &String| word == "bind" || word == "rbind";
    mount.typ().as_deref() == Some("bind") || mount.options().iter().flatten().any(is_word)
}

/// With the host's network /sys is the host's, of which all is read-only.
fn is_own_sys(mount: &SpecMount) -> bool {
    mount.destination() == Path::new("/sys") && mount.options().iter().flatten().any(|word| word == "rro")
}

/// True if its own cgroups are mounted on the host's there.
fn has_own(spec: &Spec) -> bool {
    let is_it = |mount: &SpecMount| {
        mount.typ().as_deref() == Some("cgroup") && mount.destination() == Path::new(place::MOUNTED)
    };
    spec.mounts().iter().flatten().any(is_it)
}

/// It is of a hierarchy, or one is mounted somewhere below.
fn leads_there(source: &Path, hierarchies: &[PathBuf]) -> bool {
    if place::is_hierarchy(source) {
        return true;
    }
    let is_directory = fs_err::metadata(source).is_ok_and(|about| about.is_dir());
    let path = is_directory.then(|| fs_err::canonicalize(source).ok()).flatten();
    path.is_some_and(|path| hierarchies.iter().any(|mounted| mounted.starts_with(&path)))
}

fn may_mount(spec: &Spec) -> bool {
    let sets = spec.process().as_ref().and_then(|process| process.capabilities().as_ref()).map(capability::sets);
    let admin = number("SYS_ADMIN").map_or(0, |number| 1 << number);
    sets.is_some_and(|sets| sets.bounding & admin != 0)
}

/// Whether it has a cgroup namespace, and if so where that is from, if it is not new.
fn namespace_of_cgroups(spec: &Spec) -> Option<Option<PathBuf>> {
    let all = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    let mut all = all.into_iter().flatten();
    all.find(|namespace| namespace.typ() == LinuxNamespaceType::Cgroup).map(|namespace| namespace.path().clone())
}

fn joins_cgroups(spec: &Spec) -> bool {
    matches!(namespace_of_cgroups(spec), Some(Some(_)))
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
