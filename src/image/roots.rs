//! What the store's images, and containers made of them, need.

use super::catalog::Catalog;
use super::manifest::{self, Descriptor, Document};
use super::view::Image;
use crate::storage::digest::Digest;
use crate::storage::gc::Roots;
use crate::storage::store::Store;
use anyhow::Result;

/// Indexes within indexes are not followed further.
const DEPTH: usize = 4;

/// What the catalog's images, those that `counts` lets through, and these further manifests need.
pub fn roots<'a>(
    store: &Store,
    counts: impl Fn(&Digest) -> bool,
    further: impl Iterator<Item = &'a Digest>,
) -> Result<Roots> {
    let mut roots = Roots::default();
    for entry in Catalog::new(store).all()?.into_iter().filter(|entry| counts(&entry.digest)) {
        add(store, &entry, DEPTH, &mut roots);
    }
    for digest in further {
        if !roots.blobs.contains(digest) {
            let size = store.blobs().size(digest)?.unwrap_or(0);
            let entry = Descriptor::new("", digest.clone(), size);
            add(store, &entry, DEPTH, &mut roots);
        }
    }
    Ok(roots)
}

/// Of what cannot be read nothing can be known.
fn add(store: &Store, entry: &Descriptor, depth: usize, roots: &mut Roots) {
    if !roots.blobs.insert(entry.digest.clone()) || depth == 0 {
        return;
    }
    let document = store
        .blobs()
        .read(&entry.digest, super::registry::MAX_MANIFEST)
        .and_then(|bytes| manifest::read(&bytes, &entry.media_type));
    match document {
        Ok(Document::Manifest(manifest)) => {
            roots.blobs.insert(manifest.config.digest.clone());
            roots.blobs.extend(manifest.layers.iter().map(|layer| layer.digest.clone()));
            match Image::load(store, entry.clone()) {
                Ok(image) => roots.layers.extend(image.diff_ids),
                Err(_) => roots.unsure = true,
            }
        }
        // Another tool's: all that is below, as far as it is here.
        Ok(Document::Index(entries)) => {
            let here = entries.iter().filter(|entry| store.blobs().has(&entry.digest, entry.size).unwrap_or(true));
            here.for_each(|entry| add(store, entry, depth - 1, roots));
        }
        Err(_) => roots.unsure = true,
    }
}
