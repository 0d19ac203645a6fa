//! All about one image, in docker's words (moby, `api/types/image`, `InspectResponse`).

use super::list::Listed;
use crate::image::reference::Reference;
use crate::storage::layers::Layers;
use crate::storage::store::Store;
use anyhow::Result;
use serde_json::{Value, json};

/// The object that `image inspect` shows.
pub fn inspect(store: &Store, listed: &Listed) -> Result<Value> {
    let image = &listed.image;
    let raw = image.raw()?;
    let text = |key: &str| raw[key].as_str().unwrap_or_default().to_owned();
    let tagged = listed.names.iter().filter(|name| name.tag.is_some() && name.digest.is_none());
    let mut digests: Vec<String> = Vec::new();
    for name in &listed.names {
        let digest = format!("{}@{}", name.familiar_name(), image.descriptor.digest);
        if !digests.contains(&digest) {
            digests.push(digest);
        }
    }
    let mut layers = Vec::new();
    for diff_id in image.diff_ids.iter().rev() {
        layers.extend(store.layers().find(diff_id)?.map(|dir| Layers::files(&dir).display().to_string()));
    }
    Ok(json!({
        "Id": image.id(),
        "RepoTags": tagged.map(Reference::familiar).collect::<Vec<_>>(),
        "RepoDigests": digests,
        "Digest": image.descriptor.digest,
        "Comment": raw["history"].as_array().and_then(|history| history.last()).map_or("", |last| last["comment"].as_str().unwrap_or_default()),
        "Created": text("created"),
        "Author": text("author"),
        "Config": raw["config"],
        "Architecture": text("architecture"),
        "Variant": text("variant"),
        "Os": text("os"),
        "Size": listed.size,
        "GraphDriver": { "Name": "overlay", "Data": { "LowerDir": layers.join(":") } },
        "RootFS": { "Type": "layers", "Layers": image.diff_ids },
        "ManifestType": image.descriptor.media_type,
        "History": raw["history"],
        "Labels": raw["config"]["Labels"],
        "User": raw["config"]["User"],
    }))
}
