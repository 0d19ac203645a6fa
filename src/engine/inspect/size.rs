//! How much of the disk a container takes.

use crate::engine::container::Found;
use crate::storage::layers::Layers;
use crate::storage::usage;
use anyhow::Result;

/// Bytes, in docker's words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// What it has changed (`SizeRw`).
    pub changed: u64,
    /// The same and its image (`SizeRootFs`). Of a directory that is its root nobody counts the files.
    pub whole: u64,
}

/// Counts.
pub fn of(found: &Found) -> Result<Size> {
    let changed = match found.upper().filter(|upper| upper.exists()) {
        Some(upper) => usage::of_tree(&upper, found.container.maps.clone())?,
        None => 0,
    };
    let layers = found.container.layers.iter().filter_map(|files| Layers::bytes(files));
    let image: u64 = layers.sum();
    Ok(Size { changed, whole: if image > 0 { changed + image } else { 0 } })
}
