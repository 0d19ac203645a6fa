//! What a container is made of when it is started another time: `options.json` beside its record.
//!
//! It holds the options and not the Spec, which names files and directories of one session.

use super::aside::{self, Aside};
use super::container::Found;
use super::record::PROCESS;
use crate::spec::host::Host;
use crate::spec::options::{Mount, Options};
use anyhow::{Context, Result};
use oci_spec::image::ImageConfiguration;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The file.
const OPTIONS: &str = "options.json";

#[derive(Serialize, Deserialize)]
struct Again {
    options: Options,
    /// The configuration of its image, which may have lost its name by then.
    image: Option<ImageConfiguration>,
}

/// The options, with the names that volumes have got.
pub fn options(options: &Options, host: &Host) -> Options {
    let mut options = options.clone();
    let volumes = options.mounts.iter_mut().filter_map(|mount| match mount {
        Mount::Volume(volume) => Some(volume),
        _ => None,
    });
    for (volume, found) in volumes.zip(&host.volumes) {
        volume.name = Some(found.name.clone());
    }
    options
}

/// What a container is made of, as it is written down.
pub fn text(options: &Options, image: Option<&ImageConfiguration>, host: &Host) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(&Again { options: self::options(options, host), image: image.cloned() })?)
}

/// Writes it into the container's directory on disk.
pub fn write(dir: &Path, text: &[u8]) -> Result<()> {
    Ok(fs_err::write(dir.join(OPTIONS), text)?)
}

/// Writes it anew with other options, aside at first.
pub fn change(found: &Found, change: impl FnOnce(&mut Options)) -> Result<Aside> {
    let path = found.dir.join(OPTIONS);
    let mut again: Again = serde_json::from_slice(&fs_err::read(&path)?).with_context(|| path.display().to_string())?;
    change(&mut again.options);
    aside::write_aside(&found.dir, OPTIONS, &again)
}

/// Reads it.
pub fn read(found: &Found) -> Result<(Options, Option<ImageConfiguration>)> {
    let path = found.dir.join(OPTIONS);
    let Again { mut options, image } =
        serde_json::from_slice(&fs_err::read(&path)?).with_context(|| path.display().to_string())?;
    // What is filled is only a new container's.
    let has_run = found.dir.join(PROCESS).exists();
    for mount in options.mounts.iter_mut().filter(|_| has_run) {
        if let Mount::Volume(volume) = mount {
            volume.nocopy = true;
        }
    }
    Ok((options, image))
}
