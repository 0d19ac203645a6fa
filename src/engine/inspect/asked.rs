//! What a container was asked to be: `options.json` of one that is kept, an annotation in the Spec of one with `--rm`, which
//! has no such file.

use crate::engine::container::{Found, SPEC};
use crate::engine::{again, record};
use crate::spec::annotation;
use crate::spec::options::{Mount, Options};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// What this needs of a Spec.
#[derive(Deserialize)]
struct Annotated {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// The options that it was made with; volumes have the names that they got.
pub fn of(found: &Found) -> Result<Options> {
    if !found.ends_with_run() {
        return Ok(again::read(found)?.0);
    }
    let path = record::runtime_of(&found.container.id)?.join(SPEC);
    of_spec(&path).with_context(|| path.display().to_string())
}

fn of_spec(path: &Path) -> Result<Options> {
    let Annotated { annotations } = serde_json::from_slice(&fs_err::read(path)?)?;
    let text = annotations.get(annotation::OPTIONS).context("it does not say what was asked")?;
    let mut options: Options = serde_json::from_str(text).context(annotation::OPTIONS)?;
    let names: BTreeMap<String, String> = match annotations.get(annotation::VOLUMES) {
        Some(text) => serde_json::from_str(text).context(annotation::VOLUMES)?,
        None => BTreeMap::new(),
    };
    for mount in &mut options.mounts {
        if let Mount::Volume(volume) = mount {
            volume.name = names.get(&volume.target).cloned().or(volume.name.take());
        }
    }
    Ok(options)
}
