//! Which ports of a container are published.

use super::container::{self, Container, Found};
use super::inspect::{asked, networks};
use super::record;
use crate::net::port::{Protocol, Published};
use crate::spec::port;
use anyhow::{Context, Result};
use std::path::Path;

/// Those of a container by name, id or the beginning of an id, in the order of the container's ports. One that does not
/// run has none.
pub fn published(name: &str) -> Result<Vec<Published>> {
    match record::find(name) {
        Ok(dir) => read(&dir),
        Err(error) => container::find(name).map(|_| vec![]).map_err(|_| error),
    }
}

/// True if a container may have some: what is published is exposed, too.
pub fn may_have(container: &Container) -> bool {
    container.config["ExposedPorts"].as_object().is_some_and(|ports| !ports.is_empty())
}

/// Those that a container serves beside the published ones, if its network is one of which ports can be published.
pub fn exposed(found: &Found, published: &[Published]) -> Result<Vec<(u16, Protocol)>> {
    let keys = found.container.config["ExposedPorts"].as_object().into_iter().flatten().map(|(key, _)| key);
    let all =
        keys.filter_map(|key| port::expose(key).ok()).flat_map(|one| one.ports.map(move |port| (port, one.protocol)));
    let is_published = |port: &(u16, Protocol)| published.iter().any(|one| (one.container_port, one.protocol) == *port);
    let left: Vec<(u16, Protocol)> = all.filter(|port| !is_published(port)).collect();
    if left.is_empty() || !networks::has_ports(&asked::of(found)?.network) {
        return Ok(Vec::new());
    }
    Ok(left)
}

/// Those of a container.
pub fn of(found: &Found) -> Result<Vec<Published>> {
    read(&record::runtime_of(&found.container.id)?)
}

fn read(dir: &Path) -> Result<Vec<Published>> {
    let path = dir.join(record::PORTS);
    let mut all: Vec<Published> = match fs_err::read(&path) {
        Ok(text) => serde_json::from_slice(&text).with_context(|| path.display().to_string())?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => vec![],
        Err(error) => return Err(error.into()),
    };
    all.sort_by_key(|published| (published.container_port, published.protocol, published.host_port));
    Ok(all)
}
