//! An image that is made here: a configuration, perhaps one layer more.

use super::manifest::{Descriptor, MAX_CONFIG, Manifest, OCI_CONFIG, OCI_MANIFEST, Platform};
use super::view::Image;
use crate::storage::digest::Digest;
use crate::storage::store::Store;
use crate::time::Time;
use anyhow::{Result, ensure};
use serde_json::{Map, Value, json};

/// A layer that is in the store.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Its blob, with a media type.
    pub descriptor: Descriptor,
    /// Its digest without compression.
    pub diff_id: Digest,
}

/// What the new image says of itself.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// The value of `config`.
    pub config: Map<String, Value>,
    /// Who made it.
    pub author: Option<String>,
    /// A remark.
    pub comment: Option<String>,
    /// The step that made it.
    pub created_by: String,
}

/// Makes it. It has no name yet.
pub fn make(store: &Store, base: Option<&Image>, layer: Option<Layer>, about: About) -> Result<Image> {
    let mut raw = match base {
        Some(base) => base.raw()?,
        None => {
            let Platform { architecture, os, variant, .. } = Platform::host();
            let variant = variant.map(|variant| ("variant".to_owned(), json!(variant)));
            let known = [("architecture".to_owned(), json!(architecture)), ("os".to_owned(), json!(os))];
            Value::Object(known.into_iter().chain(variant).collect())
        }
    };
    let now = Time::now().to_string();
    let mut layers: Vec<Descriptor> =
        base.map(|base| base.manifest.layers.iter().map(Descriptor::as_oci).collect()).unwrap_or_default();
    let mut diff_ids = base.map(|base| base.diff_ids.clone()).unwrap_or_default();
    let mut step = json!({ "created": now, "created_by": about.created_by });
    for (key, value) in [("author", &about.author), ("comment", &about.comment)] {
        if let Some(value) = value {
            step[key] = json!(value);
        }
    }
    match layer {
        Some(layer) => {
            layers.push(layer.descriptor);
            diff_ids.push(layer.diff_id);
        }
        None => step["empty_layer"] = json!(true),
    }
    let mut history = raw["history"].as_array().cloned().unwrap_or_default();
    history.push(step);
    raw["created"] = json!(now);
    if let Some(author) = about.author {
        raw["author"] = json!(author);
    }
    raw["config"] = about.config.into();
    raw["rootfs"] = json!({ "type": "layers", "diff_ids": diff_ids });
    raw["history"] = history.into();
    let bytes = serde_json::to_vec(&raw)?;
    ensure!(bytes.len() as u64 <= MAX_CONFIG, "a configuration of {} bytes", bytes.len());
    let config = Descriptor::new(OCI_CONFIG, store.blobs().put(&bytes)?, bytes.len() as u64);
    let manifest = Manifest { config, layers }.to_bytes()?;
    let mut descriptor = Descriptor::new(OCI_MANIFEST, store.blobs().put(&manifest)?, manifest.len() as u64);
    let image = Image::load(store, descriptor.clone())?;
    descriptor.platform = Some(super::pull::of_config(&image.config));
    Ok(Image { descriptor, ..image })
}
