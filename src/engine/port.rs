//! Which ports of a container are published.

use super::container::{self, Container, Found};
use super::record;
use crate::net::port::Published;
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
