//! All images of the store.

use super::layer_sizes;
use crate::error::Failure;
use crate::image::catalog::Catalog;
use crate::image::reference::Reference;
use crate::image::view::Image;
use crate::storage::digest::Digest;
use crate::storage::store::Store;
use anyhow::Result;

/// An image with its names.
#[derive(Debug)]
pub struct Listed {
    /// The image.
    pub image: Image,
    /// Its names; none for one that lost them.
    pub names: Vec<Reference>,
    /// The size of its files in bytes.
    pub size: u64,
}

/// All of them, and those that cannot be read.
#[derive(Debug, Default)]
pub struct List {
    /// The images, the youngest first.
    pub images: Vec<Listed>,
    /// The digests of manifests that cannot be read, and why.
    pub damaged: Vec<(Digest, Failure)>,
}

/// Lists them.
pub fn list(store: &Store) -> Result<List> {
    let mut list = List::default();
    for entry in Catalog::new(store).all()? {
        let name = entry.name().and_then(|name| Reference::parse(name).ok());
        if let Some(known) = list.images.iter_mut().find(|known| known.image.descriptor.digest == entry.digest) {
            known.names.extend(name);
            continue;
        }
        let digest = entry.digest.clone();
        let loaded = Image::load(store, entry).and_then(|image| {
            let size = layer_sizes(store, &image)?.iter().sum();
            Ok(Listed { image, names: name.into_iter().collect(), size })
        });
        match loaded {
            Ok(listed) => list.images.push(listed),
            Err(error) => list.damaged.push((digest, Failure::from(&error))),
        }
    }
    if !list.damaged.is_empty() {
        // Or removed in this moment.
        let still = Catalog::new(store).all()?;
        list.damaged.retain(|(digest, _)| still.iter().any(|entry| entry.digest == *digest));
    }
    list.images.sort_by_key(|listed| std::cmp::Reverse(listed.image.created()));
    Ok(list)
}

/// The one that has this manifest, with all of its names.
pub fn one(store: &Store, manifest: &Digest) -> Result<Option<Listed>> {
    let mut found: Option<Listed> = None;
    for entry in Catalog::new(store).all()? {
        if entry.digest != *manifest {
            continue;
        }
        let name = entry.name().and_then(|name| Reference::parse(name).ok());
        match &mut found {
            Some(listed) => listed.names.extend(name),
            None => {
                let image = Image::load(store, entry)?;
                let size = layer_sizes(store, &image)?.iter().sum();
                found = Some(Listed { image, names: name.into_iter().collect(), size });
            }
        }
    }
    Ok(found)
}
