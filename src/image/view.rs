//! One image of the store.

use super::manifest::{self, Descriptor, Document, Manifest};
use super::pull::diff_ids;
use crate::storage::digest::Digest;
use crate::storage::store::Store;
use crate::time::Time;
use anyhow::{Context, Result, bail};
use oci_spec::image::ImageConfiguration;
use serde::Deserialize;
use serde_json::Value;

/// An image with all that is known of it.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its manifest's descriptor.
    pub descriptor: Descriptor,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its configuration.
    pub config: ImageConfiguration,
    /// The same, every byte.
    pub bytes: Vec<u8>,
    /// The digests of its layers without compression, the lowest first.
    pub diff_ids: Vec<Digest>,
}

/// What a manifest says of itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Own {
    media_type: Option<String>,
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
        Ok(Image { descriptor, manifest, config, bytes, diff_ids })
    }

    /// What its manifest says that it is; OCI's need not say it.
    pub fn media_type(&self, store: &Store) -> Result<String> {
        let bytes = store.blobs().read(&self.descriptor.digest, super::registry::MAX_MANIFEST)?;
        let own: Own = serde_json::from_slice(&bytes)?;
        Ok(own.media_type.unwrap_or_else(|| manifest::OCI_MANIFEST.to_owned()))
    }

    /// Its configuration with all keys, also those that no specification has.
    pub fn raw(&self) -> Result<Value> {
        Ok(serde_json::from_slice(&self.bytes)?)
    }

    /// When it was made, if its configuration says so.
    pub fn created(&self) -> Option<Time> {
        self.config.created().as_deref().and_then(|text| Time::parse(text).ok())
    }

    /// docker's id of an image: the digest of its configuration.
    pub fn id(&self) -> &Digest {
        &self.manifest.config.digest
    }
}
