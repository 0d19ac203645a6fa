//! One image of the store.

use super::catalog::Catalog;
use super::manifest::{self, Descriptor, Document, Manifest};
use super::pull::diff_ids;
use super::reference::Reference;
use crate::storage::digest::Digest;
use crate::storage::store::Store;
use anyhow::{Context, Result, bail};
use oci_spec::image::ImageConfiguration;

/// An image with all that is known of it.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its manifest's descriptor.
    pub descriptor: Descriptor,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its configuration.
    pub config: ImageConfiguration,
    /// The digests of its layers without compression, the lowest first.
    pub diff_ids: Vec<Digest>,
}

impl Image {
    /// Reads the image that a descriptor of the catalog stands for.
    pub fn load(store: &Store, descriptor: Descriptor) -> Result<Image> {
        let blobs = store.blobs();
        let bytes = blobs.read(&descriptor.digest, super::registry::MAX_MANIFEST)?;
        let Document::Manifest(manifest) = manifest::read(&bytes, &descriptor.media_type)? else {
            bail!("manifest {}: an index", descriptor.digest);
        };
        let bytes = blobs.read(&manifest.config.digest, manifest::MAX_CONFIG)?;
        let config: ImageConfiguration =
            serde_json::from_slice(&bytes).with_context(|| format!("configuration {}", manifest.config.digest))?;
        let diff_ids = diff_ids(&config)?;
        Ok(Image { descriptor, manifest, config, diff_ids })
    }

    /// The image of this name, if there is one.
    pub fn find(store: &Store, name: &Reference) -> Result<Option<Image>> {
        Catalog::new(store).find(name)?.map(|descriptor| Image::load(store, descriptor)).transpose()
    }

    /// docker's id of an image: the digest of its configuration.
    pub fn id(&self) -> &Digest {
        &self.manifest.config.digest
    }
}
