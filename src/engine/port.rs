//! Which ports of a container are published.

use super::{container, record};
use crate::net::port::Published;
use anyhow::Result;

/// Those of a container by name, id or the beginning of an id, in the order of the container's ports. One that does not
/// run has none.
pub fn published(name: &str) -> Result<Vec<Published>> {
    let path = match record::find(name) {
        Ok(dir) => dir.join(record::PORTS),
        Err(error) => return container::find(name).map(|_| vec![]).map_err(|_| error),
    };
    let mut all: Vec<Published> = match fs_err::read(path) {
        Ok(text) => serde_json::from_slice(&text)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => vec![],
        Err(error) => return Err(error.into()),
    };
    all.sort_by_key(|published| (published.container_port, published.protocol, published.host_port));
    Ok(all)
}
