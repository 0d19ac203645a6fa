//! What is written down of a container: `container.json` beside its upper layer.
//!
//! Containers that are kept are in `DATA/containers/ID/`, those of `--rm` in `DATA/scratch/ID/`; both are locked while
//! somebody is responsible for them. What changes over a container's life is in files of its own: `exit.json`.

use super::{names, record, scratch};
use crate::error::{Advise, Failure};
use crate::paths;
use crate::spec::log::Driver;
use crate::spec::restart::Restart;
use crate::storage::digest::Digest;
use crate::storage::unpack::Owners;
use crate::time::Time;
use crate::userns::idmap::IdMaps;
use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What is written down.
pub const ABOUT: &str = "container.json";
/// How its last run ended.
pub const EXIT: &str = "exit.json";
/// The bundle's Spec.
pub const SPEC: &str = "config.json";

/// A container, as it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// When it was made.
    pub created: Time,
    /// The image that it runs, if it runs one.
    pub image: Option<OfImage>,
    /// What an image made of it would say: the image's configuration with what the options changed.
    pub config: serde_json::Value,
    /// What runs.
    pub args: Vec<String>,
    /// The ids of its files.
    pub maps: IdMaps,
    /// What became of the owners of its layers' files.
    pub owners: Owners,
    /// The directories that are stacked for its root, the topmost first; none if a directory itself is the root.
    pub layers: Vec<PathBuf>,
    /// `--rootfs` without `:O`: that directory.
    pub root: Option<PathBuf>,
    /// `--restart`.
    #[serde(default, skip_serializing_if = "is_no")]
    pub restart: Restart,
    /// `--log-driver`.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub log: Driver,
}

fn is_usual(driver: &Driver) -> bool {
    *driver == Driver::default()
}

fn is_no(restart: &Restart) -> bool {
    *restart == Restart::No
}

/// The image of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfImage {
    /// As it was typed.
    pub name: String,
    /// docker's id: the digest of its configuration.
    pub id: Digest,
    /// The digest of its manifest.
    pub manifest: Digest,
}

/// A container that was found.
#[derive(Debug)]
pub struct Found {
    /// What is known of it.
    pub container: Container,
    /// Its directory on disk.
    pub dir: PathBuf,
    /// True if a process is responsible for it now.
    pub live: bool,
}

impl Found {
    /// The directory with what the container changed; none if its root is a directory itself.
    pub fn upper(&self) -> Option<PathBuf> {
        (!self.container.layers.is_empty()).then(|| self.dir.join("0/upper"))
    }

    /// True if a process is responsible for it at this moment.
    pub fn is_held(&self) -> Result<bool> {
        let runtime = paths::runtime_dir()?;
        match self.dir.starts_with(&runtime) {
            true => record::is_held(&runtime, &self.container.id),
            false => scratch::is_locked(&self.dir),
        }
    }

    /// Its name, else the beginning of its id.
    pub fn shown(&self) -> &str {
        self.container.name.as_deref().unwrap_or(&self.container.id[..12])
    }
}

/// Where the directories of containers are: those that are kept, those of `--rm`.
pub fn places() -> Result<[PathBuf; 2]> {
    let data = paths::data_dir()?;
    Ok([data.join("containers"), data.join("scratch")])
}

/// All containers that have something on disk.
#[derive(Debug, Default)]
pub struct All {
    /// Those that can be read.
    pub found: Vec<Found>,
    /// The directories of those that cannot, and why.
    pub damaged: Vec<(PathBuf, Failure)>,
}

impl All {
    /// An error if one of them cannot be read, for whoever has to know of all.
    pub fn whole(self) -> Result<Vec<Found>> {
        let Some((dir, failure)) = self.damaged.into_iter().next() else { return Ok(self.found) };
        let id = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Err(anyhow::Error::from(failure))
            .with_context(|| format!("container {id}"))
            .hint(|| format!("its record is damaged: `rbox rm -f {}` gives it up", &id[..id.len().min(12)]))
    }
}

/// Finds them. What a container left that was never made whole, or was being removed, goes.
pub fn all() -> Result<All> {
    let mut all = All::default();
    let [kept, rest] = places()?;
    for place in [&kept, &rest] {
        for id in record::ids_in(place)? {
            let dir = place.join(&id);
            match read(&dir) {
                // With `--rm` it ends with its process, even if that was killed and nobody has swept yet.
                Ok(Some(found)) if *place == rest && !found.live => {}
                Ok(Some(found)) => all.found.push(found),
                Ok(None) if *place == kept => scratch::discard_unborn(&dir, &rest)?,
                // One that is just being made or removed is none.
                Ok(None) => {}
                // Killed while it wrote in place: nobody needs what it would have said.
                Err(_) if *place == rest && !scratch::is_locked(&dir)? => {}
                Err(error) => all.damaged.push((dir, Failure::from(&error))),
            }
        }
    }
    all.found.extend(of_session()?);
    Ok(all)
}

/// Containers of `--rm` that have nothing on disk.
fn of_session() -> Result<Vec<Found>> {
    let runtime = paths::runtime_dir()?;
    let here = runtime.join("containers");
    let mut all = Vec::new();
    for id in record::ids_in(&here)? {
        let dir = here.join(&id);
        // One that is just being made, or ends, is none.
        if let Ok(Some(found)) = read(&dir) {
            all.extend(record::is_held(&runtime, &id)?.then_some(Found { live: true, ..found }));
        }
    }
    Ok(all)
}

/// One by its name, its id, or the beginning of its id.
pub fn find(name: &str) -> Result<Found> {
    find_if_there(name)?
        .ok_or_else(|| anyhow!("no such container: {name}"))
        .hint(|| "a container is kept if it was run without --rm; one with --rm is there while it runs".to_owned())
}

/// Likewise; `None` if there is none.
pub fn find_if_there(name: &str) -> Result<Option<Found>> {
    let data = paths::data_dir()?;
    if names::is_name(name) {
        if let Ok(id) = fs_err::read_link(data.join("names").join(name)) {
            if let Some(found) = read(&data.join("containers").join(id))? {
                return Ok(Some(found));
            }
        }
    }
    let (mut found, mut several) = (None, false);
    for one in all()?.found {
        let of_name = one.container.name.as_deref() == Some(name);
        if of_name || one.container.id == name {
            return Ok(Some(one));
        }
        let is_prefix = !name.is_empty() && one.container.id.starts_with(name);
        several |= is_prefix && found.replace(one).is_some();
    }
    if several {
        bail!("{name}: more than one container has an id that starts like this");
    }
    Ok(found)
}

/// What is written down in a directory; `None` if it has no record.
pub fn read(dir: &Path) -> Result<Option<Found>> {
    // One of `--rm` is written in place: whoever comes in between reads again.
    let mut attempt = 0;
    loop {
        attempt += 1;
        let text = match fs_err::read(dir.join(ABOUT)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Left for the next container.
        if text.iter().all(|byte| *byte == b' ') {
            return Ok(None);
        }
        match serde_json::from_slice(&text) {
            Ok(container) => {
                return Ok(Some(Found { container, dir: dir.to_owned(), live: scratch::is_locked(dir)? }));
            }
            Err(_) if attempt < 3 => std::thread::yield_now(),
            Err(error) => return Err(error).with_context(|| dir.join(ABOUT).display().to_string()),
        }
    }
}
