//! Deleting what nothing names any more.
//!
//! Whoever deletes is alone in the store (`Store::for_deleting`), and only for as long as names are taken away: trees
//! are moved to `tmp/` first and removed afterwards.

use super::blobs::ALGORITHMS;
use super::digest::Digest;
use super::layers;
use super::store::Store;
use super::temporary::{self, Condemned};
use anyhow::Result;
use std::collections::HashSet;
use std::path::PathBuf;

/// What is to stay.
#[derive(Debug, Default)]
pub struct Roots {
    /// Blobs: manifests, configurations, packed layers.
    pub blobs: HashSet<Digest>,
    /// Unpacked layers, by their digests without compression.
    pub layers: HashSet<Digest>,
    /// Unpacked layers by their directories: those that containers have.
    pub directories: HashSet<PathBuf>,
    /// What an image needs could not be found out: then nothing is garbage.
    pub unsure: bool,
}

/// What is not needed.
#[derive(Debug, Default)]
pub struct Garbage {
    /// Blobs and their lengths.
    pub blobs: Vec<(Digest, u64)>,
    /// Directories of unpacked layers.
    pub layers: Vec<PathBuf>,
}

/// Finds what `roots` do not name.
pub fn find(store: &Store, roots: &Roots) -> Result<Garbage> {
    let mut garbage = Garbage::default();
    if roots.unsure {
        return Ok(garbage);
    }
    for algorithm in ALGORITHMS {
        for digest in store.blobs().all(algorithm)? {
            if !roots.blobs.contains(&digest) {
                let size = store.blobs().size(&digest)?.unwrap_or(0);
                garbage.blobs.push((digest, size));
            }
        }
    }
    let names: HashSet<&str> = roots.layers.iter().map(layers::name).collect();
    for dir in store.all_layers()? {
        let is_named = dir.file_name().and_then(|name| name.to_str()).is_some_and(|name| names.contains(name));
        if !is_named && !roots.directories.contains(&dir) {
            garbage.layers.push(dir);
        }
    }
    Ok(garbage)
}

/// Deletes it; the lock is given back before trees are removed, which takes time. A process that dies meanwhile leaves
/// them to the next sweep.
pub fn delete(store: &Store, garbage: &Garbage, lock: super::lock::Lock) -> Result<()> {
    for (digest, _) in &garbage.blobs {
        store.blobs().remove(digest)?;
    }
    let condemned: Vec<Condemned> =
        garbage.layers.iter().map(|dir| temporary::condemn(store, dir)).collect::<Result<Vec<_>>>()?;
    drop(lock);
    condemned.into_iter().try_for_each(|tree| tree.remove(store))
}
