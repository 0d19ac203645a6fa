//! What the image of a container is made for.

use crate::engine::container::Found;
use crate::engine::images;
use crate::image::manifest::MAX_CONFIG;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// OCI's words for it (image-spec, `descriptor.md`, platform).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `amd64`.
    pub architecture: String,
    /// `linux`.
    pub os: String,
    /// `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

/// That of a container, as long as its image is there; none without an image.
pub fn of(found: &Found) -> Result<Option<Platform>> {
    let Some(image) = &found.container.image else { return Ok(None) };
    let store = images::store(&found.container.maps)?;
    let blobs = store.blobs();
    if !blobs.path(&image.id).exists() {
        return Ok(None);
    }
    let text = blobs.read(&image.id, MAX_CONFIG)?;
    serde_json::from_slice(&text).map(Some).with_context(|| format!("configuration {}", image.id))
}
