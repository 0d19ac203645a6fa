//! Which directories are read as one tree, and with whose ids.

use super::nobody::{self, Nobody};
use super::ownership::Ownership;
use super::sandbox;
use super::stack::Stack;
use super::store::Store;
use super::unpack::Owners;
use super::worker::{DIFF, OWNERS};
use crate::sys::{Alone, mount};
use crate::userns::idmap::IdMaps;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Directories that lie on one another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// What a container has changed, if it is part of it.
    upper: Option<PathBuf>,
    /// What is below, the topmost first.
    layers: Vec<Layer>,
    maps: IdMaps,
    owners: Owners,
}

/// A directory of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Layer {
    /// A layer of the store: this directory has [`DIFF`] and [`OWNERS`].
    OfStore(PathBuf),
    /// A directory with the files themselves.
    Other(PathBuf),
}

impl Tree {
    /// The changes of a container and its layers, or layers alone, the topmost first; a root filesystem is one layer.
    /// Ids are the store's: it has to be opened with those of the container.
    pub fn new(store: &Store, upper: Option<&Path>, layers: &[PathBuf]) -> Tree {
        let layer = |files: &PathBuf| match store.layers().with_files(files) {
            Some(dir) => Layer::OfStore(dir),
            None => Layer::Other(files.clone()),
        };
        Tree {
            upper: upper.map(Path::to_owned),
            layers: layers.iter().map(layer).collect(),
            maps: store.maps().clone(),
            owners: store.owners(),
        }
    }

    /// True if the first directory has the changes of a container.
    pub fn has_upper(&self) -> bool {
        self.upper.is_some()
    }

    /// Calls `work` where these directories can be read and nothing else is in sight.
    pub fn read(&self, alone: &Alone, work: impl FnOnce(&Stack, &Ownership) -> Result<u8>) -> Result<u8> {
        let (maps, nobody) = nobody::apart(&self.maps);
        let upper = self.upper.iter().map(|dir| (dir, false));
        let layers = self.layers.iter().map(|layer| match layer {
            Layer::OfStore(dir) => (dir, true),
            Layer::Other(dir) => (dir, false),
        });
        let (dirs, of_store): (Vec<PathBuf>, Vec<bool>) =
            upper.chain(layers).map(|(dir, of_store)| (dir.clone(), of_store)).unzip();
        sandbox::read(alone, &maps, &dirs, |places| {
            let (stack, ownership) = self.open(nobody, places, &of_store)?;
            work(&stack, &ownership)
        })
    }

    /// `places`: where the directories are now; `of_store`: those that have their files in [`DIFF`].
    fn open(&self, nobody: Nobody, places: &[PathBuf], of_store: &[bool]) -> Result<(Stack, Ownership)> {
        let mut roots = Vec::new();
        let mut tables = Vec::new();
        for (place, of_store) in places.iter().zip(of_store) {
            roots.push(mount::place(&if *of_store { place.join(DIFF) } else { place.clone() })?);
            tables.push(of_store.then(|| place.join(OWNERS)));
        }
        Ok((Stack::new(roots), Ownership::new(self.owners, nobody, self.has_upper(), tables)))
    }
}
