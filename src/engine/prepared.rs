//! Which of a container's namespaces can be made while the rest of it is being put together.

use super::network::Outside;
use super::{around, fence};
use crate::runtime::prepared::Prepared;
use crate::spec::network::Network;
use crate::spec::options::{Namespace, Options};
use crate::sys::Alone;
use crate::sys::clone::{CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUTS};
use crate::userns::idmap::IdMaps;
use anyhow::Result;

/// Begins with them; nothing if all have to be made one after the other, or none is wanted now. `maps`: the ids of a user
/// namespace that is the container's own. A cgroup namespace has its root where its maker is, and is made later.
pub fn begin(
    options: &Options,
    maps: Option<&IdMaps>,
    network: Option<&Outside>,
    has_cgroup: bool,
) -> Result<Option<Prepared>> {
    // Behind a fence there can be others only when that is there.
    let Some(maps) = maps.filter(|_| !(options.later || has_cgroup && fence::is_likely(options))) else {
        return Ok(None);
    };
    let of_network = options.network.namespace();
    let all = [(CLONE_NEWNET, &of_network), (CLONE_NEWIPC, &options.ipc), (CLONE_NEWUTS, &options.uts)];
    let is_joined = |namespace: &Namespace| !matches!(namespace, Namespace::Private | Namespace::Host);
    // What is joined is entered first, and what others connect to networks is in a user namespace of theirs.
    let is_shared = matches!(options.network, Network::Shared(_)) || is_joined(&options.cgroupns);
    if is_shared || is_joined(&options.pid) || all.iter().any(|(_, namespace)| is_joined(namespace)) {
        return Ok(None);
    }
    let private = all.iter().filter(|(_, namespace)| matches!(namespace, Namespace::Private));
    let flags = private.fold(CLONE_NEWNS, |flags, (flag, _)| flags | flag);
    Prepared::begin(&Alone::check()?, maps, flags, network.map(|network| &network.link), around::choose(options, maps))
        .map(Some)
}
