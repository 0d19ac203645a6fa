//! The store's directories.
//!
//! ```text
//! ~/.local/share/rbox/
//!   images/      an OCI image layout: oci-layout, index.json, blobs/sha256/HEX   (other tools may read it)
//!   layers/KEY/  unpacked layers, by the beginning of their diff id; KEY stands for the ids of their files
//!   tmp/         in the making
//!   locks/       one for each object that somebody is making
//! ```
//! Whatever is here under its own name is whole: it was made under another one and renamed.

use super::digest::{Algorithm, Digest};
use super::lock::{Kind, Lock};
use super::unpack::Owners;
use super::{blobs, layers};
use crate::error::Advise;
use crate::sys;
use crate::userns::idmap::IdMaps;
use anyhow::Result;
use std::path::{Path, PathBuf};

/// The marker of an OCI image layout (image-layout.md, "oci-layout file").
pub const LAYOUT_MARKER: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
/// A layout without images.
pub const EMPTY_INDEX: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

/// Says what can be done if an error comes from a full disk. `place`: a directory on it.
pub fn if_full<T>(result: Result<T>, place: &Path) -> Result<T> {
    match result {
        Err(error) if sys::is_full(&error) => Err(error).hint(|| {
            let place = place.display();
            format!(
                "the disk with {place} is full: `rbox system df` shows what takes space there,\n\
                 `rbox image prune` and `rbox system prune` give some back"
            )
        }),
        result => result,
    }
}

/// The file with the marker.
const LAYOUT: &str = "oci-layout";
/// The file that lists the images.
const INDEX: &str = "index.json";

/// The store of one user.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    maps: IdMaps,
    owners: Owners,
}

impl Store {
    /// Opens the store below `root`, and makes what is missing of it. `maps`: the ids of files in layers.
    pub fn open(root: &Path, maps: IdMaps, owners: Owners) -> Result<Store> {
        let store = Store { root: root.to_owned(), maps, owners };
        let images = store.images();
        let parts = [store.tmp(), store.locks(), images.join(LAYOUT), images.join(INDEX)];
        if !parts.iter().all(|part| part.exists()) {
            store.lay_out()?;
        }
        Ok(store)
    }

    /// Makes what is missing of the directories and of the two files of the layout.
    fn lay_out(&self) -> Result<()> {
        for dir in [self.locks(), self.layers_dir(), self.images().join("blobs/sha256"), self.tmp()] {
            fs_err::create_dir_all(dir)?;
        }
        // One process at a time. Whoever comes without the lock sees a file that is whole or none.
        let _turn = self.for_the_index()?;
        for (name, text) in [(LAYOUT, LAYOUT_MARKER), (INDEX, EMPTY_INDEX)] {
            let path = self.images().join(name);
            // Where there are blobs an index was lost: that is damage. With an empty one they would all be garbage.
            if path.exists() || (name == INDEX && !self.blobs().all(Algorithm::Sha256)?.is_empty()) {
                continue;
            }
            let aside = self.images().join(format!(".{name}"));
            fs_err::write(&aside, text)?;
            fs_err::rename(aside, path)?;
        }
        Ok(())
    }

    /// The OCI image layout.
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// The list of images in it.
    pub fn index(&self) -> PathBuf {
        self.images().join(INDEX)
    }

    /// Things in the making.
    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    fn locks(&self) -> PathBuf {
        self.root.join("locks")
    }

    fn layers_dir(&self) -> PathBuf {
        self.root.join("layers")
    }

    /// The ids of files in layers.
    pub fn maps(&self) -> &IdMaps {
        &self.maps
    }

    /// What becomes of owners when a layer is unpacked.
    pub fn owners(&self) -> Owners {
        self.owners
    }

    /// Content by its digest.
    pub fn blobs(&self) -> blobs::Blobs<'_> {
        blobs::Blobs::new(self)
    }

    /// Unpacked layers.
    pub fn layers(&self) -> layers::Layers<'_> {
        layers::Layers::new(self, self.layers_dir().join(key(&self.maps, self.owners)))
    }

    /// The directories of all unpacked layers, for whatever ids.
    pub fn all_layers(&self) -> Result<Vec<PathBuf>> {
        let mut all = Vec::new();
        for ids in entries(&self.layers_dir())? {
            all.extend(entries(&ids)?);
        }
        Ok(all)
    }

    /// Held while something is used that no image or container names yet: nothing is deleted meanwhile.
    pub fn in_use(&self) -> Result<Lock> {
        Lock::take(&self.locks().join("use"), Kind::Shared, |_| {})
    }

    /// Held while things are deleted; `None` if somebody uses the store.
    pub fn for_deleting(&self) -> Result<Option<Lock>> {
        Lock::attempt(&self.locks().join("use"), Kind::Exclusive)
    }

    /// Held while the index of images is changed: a moment.
    pub fn for_the_index(&self) -> Result<Lock> {
        Lock::take(&self.locks().join("index"), Kind::Exclusive, |_| {})
    }

    /// Removes locks of blobs whose holder was killed. As `for_blob` does it: whoever waits for one sees that it is gone.
    pub(super) fn sweep_locks(&self) -> Result<()> {
        let is_of_a_blob =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().contains(&b'-'));
        for path in entries(&self.locks())?.into_iter().filter(is_of_a_blob) {
            drop(Lock::attempt(&path, Kind::Exclusive)?.map(|lock| lock.removed_at_end(&path)));
        }
        Ok(())
    }

    /// Held while a blob is fetched and unpacked.
    pub fn for_blob(&self, digest: &Digest, waiting: impl FnOnce(Option<i32>)) -> Result<Lock> {
        let path = self.locks().join(format!("{}-{}", digest.algorithm().name(), digest.hex()));
        Ok(Lock::take(&path, Kind::Exclusive, waiting)?.removed_at_end(&path))
    }
}

/// What is in a directory; nothing is in one that is not there.
fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    match fs_err::read_dir(dir) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// The same layer is another tree for other ids.
fn key(maps: &IdMaps, owners: Owners) -> String {
    let text = format!("{:?} {:?} {owners:?}", maps.uid, maps.gid);
    Digest::of(text.as_bytes()).hex()[..8].to_owned()
}
