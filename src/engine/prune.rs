//! `container prune`: the containers that have ended go.

use super::container::{self, Found};
use super::{damage, remove};
use crate::error::Failure;
use crate::storage::usage;
use anyhow::Result;

/// What went.
#[derive(Debug, Default)]
pub struct Pruned {
    /// The containers' ids.
    pub ids: Vec<String>,
    /// What they took on the disk, bytes.
    pub bytes: u64,
    /// What is wrong with those that could not be removed.
    pub failures: Vec<Failure>,
}

/// Removes every container that nobody is responsible for and that `admits` lets through, one after the other.
pub fn prune(admits: impl Fn(&Found) -> bool) -> Result<Pruned> {
    let mut pruned = Pruned::default();
    for found in container::all()?.found.into_iter().filter(|found| !found.live && admits(found)) {
        // What cannot be counted can be removed all the same.
        let bytes = usage::of_tree(&found.dir, found.container.maps.clone()).unwrap_or(0);
        match remove::remove(&found.container.id, false, false) {
            Ok(id) => {
                pruned.ids.push(id);
                pruned.bytes += bytes;
            }
            Err(error) => match container::read(&found.dir) {
                // Somebody has removed it, or started it again.
                Ok(None) => {}
                Ok(Some(now)) if now.live => {}
                _ => pruned.failures.push(damage::of(&found, error)),
            },
        }
    }
    Ok(pruned)
}
