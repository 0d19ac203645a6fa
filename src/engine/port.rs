//! Which ports of a container are published.

use super::container::{self, Found};
use super::record;
use crate::net::port::Published;
use anyhow::Result;
use std::path::Path;

/// Those of a container by name, id or the beginning of an id, in the order of the container's ports. One that does not
/// run has none.
pub fn published(name: &str) -> Result<Vec<Published>> {
    match record::find(name) {
        Ok(dir) => read(&dir),
        Err(error) => container::find(name).map(|_| vec![]).map_err(|_| error),
    }
}

/// Those of a container.
pub fn of(found: &Found) -> Result<Vec<Published>> {
    read(&record::runtime_of(&found.container.id)?)
}

fn read(dir: &Path) -> Result<Vec<Published>> {
    let mut all: Vec<Published> = match fs_err::read(dir.join(record::PORTS)) {
        Ok(text) => serde_json::from_slice(&text)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => vec![],
        Err(error) => return Err(error.into()),
    };
    all.sort_by_key(|published| (published.container_port, published.protocol, published.host_port));
    Ok(all)
}
