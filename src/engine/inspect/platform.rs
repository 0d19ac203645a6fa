//! What the image of a container is made for.

use crate::engine::container::Found;
use crate::engine::images;
use crate::image::manifest::{MAX_CONFIG, Platform};
use anyhow::{Context, Result};

/// That of a container, as long as its image is there; none without an image.
pub fn of(found: &Found) -> Result<Option<Platform>> {
    let Some(image) = &found.container.image else { return Ok(None) };
    let store = images::store(&found.container.maps)?;
    let blobs = store.blobs();
    if !blobs.path(&image.id).exists() {
        return Ok(None);
    }
    let text = blobs.read(&image.id, MAX_CONFIG)?;
    let platform: Platform = serde_json::from_slice(&text).with_context(|| format!("configuration {}", image.id))?;
    // The rest is the configuration's.
    Ok(Some(Platform { rest: Default::default(), ..platform }))
}
