//! What is written down of a container: `container.json` beside its upper layer.
//!
//! Containers that are kept are in `DATA/containers/ID/`, those of `--rm` in `DATA/scratch/ID/`; both are locked while
//! somebody is responsible for them. What changes over a container's life is in files of its own: `exit.json`.

use super::{damage, names, record, remove, scratch, spread, text};
use crate::error::{Advise, Failure};
use crate::paths;
use crate::spec::log::Driver;
use crate::spec::options::Options;
use crate::spec::restart::Restart;
use crate::storage::digest::Digest;
use crate::storage::unpack::Owners;
use crate::time::Time;
use crate::userns::idmap::IdMaps;
use anyhow::{Context, Result, anyhow, bail};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::os::fd::AsFd;
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
    /// What was asked for, of one that has no `options.json`: it is not started another time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Box<Options>>,
    /// `create --rm`: it is kept until it has run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub once: bool,
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

    /// True for one of `--rm`, which ends with its run.
    pub fn ends_with_run(&self) -> bool {
        let is_in = |place: &Path| self.dir.parent() == Some(place);
        !places().is_ok_and(|[kept, _]| is_in(&kept))
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
        match self.damaged.into_iter().next() {
            Some((dir, failure)) => Err(damage::of_record(&dir, failure).into()),
            None => Ok(self.found),
        }
    }
}

/// Finds them. What a container left that was never made whole, or was being removed, goes.
pub fn all() -> Result<All> {
    let mut all = All::default();
    let [kept, rest] = places()?;
    for place in [&kept, &rest] {
        let dirs: Vec<PathBuf> = record::ids_in(place)?.iter().map(|id| place.join(id)).collect();
        for (dir, found) in dirs.iter().zip(spread::over(&dirs, |dir| read(dir))) {
            match found {
                // With `--rm` it ends with its process, even if that was killed and nobody has swept yet.
                Ok(Some(found)) if *place == rest && !found.live => {}
                // The same of one that has run, and was to run once.
                Ok(Some(found)) if found.container.once && !found.live && dir.join(record::PROCESS).exists() => {
                    remove::once(&found)?;
                }
                Ok(Some(found)) => all.found.push(found),
                Ok(None) if *place == kept => match blank(dir)? {
                    Some(failure) => all.damaged.push((dir.clone(), failure)),
                    // One that is being made.
                    None if scratch::is_locked(dir)? => {}
                    None => scratch::discard_unborn(dir, &rest)?,
                },
                // One that is just being made or removed is none.
                Ok(None) => {}
                // Killed while it wrote in place: nobody needs what it would have said.
                Err(_) if *place == rest && !scratch::is_locked(dir)? => {}
                Err(error) => all.damaged.push((dir.clone(), Failure::from(&error))),
            }
        }
    }
    let of_session = of_session(&all.found)?;
    all.found.extend(of_session);
    Ok(all)
}

/// What is wrong with a container that is kept and whose record says nothing. `None`: it has none, or has one by now.
fn blank(dir: &Path) -> Result<Option<Failure>> {
    let path = dir.join(ABOUT);
    if !path.exists() || read(dir).is_ok_and(|found| found.is_some()) {
        return Ok(None);
    }
    let message = format!("{}: it is empty", path.display());
    Ok(Some(Failure { message, ..Failure::default() }))
}

/// Containers of `--rm` that have nothing on disk. `on_disk`: those that have.
fn of_session(on_disk: &[Found]) -> Result<Vec<Found>> {
    let runtime = paths::runtime_dir()?;
    let here = runtime.join("containers");
    let known: HashSet<&str> = on_disk.iter().map(|found| found.container.id.as_str()).collect();
    let mut all = Vec::new();
    for id in record::ids_in(&here)?.into_iter().filter(|id| !known.contains(id.as_str())) {
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
            let dir = data.join("containers").join(id);
            let failure = match read(&dir) {
                Ok(None) => blank(&dir)?,
                // Whoever died while renaming it has left a name that is not its own.
                Ok(Some(found)) if found.container.name.as_deref() != Some(name) => None,
                Ok(found) => return Ok(found),
                Err(error) => Some(Failure::from(&error)),
            };
            if let Some(failure) = failure {
                return Err(damage::of_record(&dir, failure).into());
            }
        }
    }
    // A name counts before the beginning of an id.
    let of_session = paths::runtime_dir()?.join("names").join(name);
    if !names::is_name(name) || of_session.symlink_metadata().is_err() {
        if let Some(found) = by_id(&data, name)? {
            return Ok(Some(found));
        }
    }
    let (mut found, mut several) = (None, false);
    let All { found: all, damaged } = all()?;
    for one in all {
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
    let is_it =
        |dir: &Path| !name.is_empty() && dir.file_name().is_some_and(|id| id.to_string_lossy().starts_with(name));
    match damaged.into_iter().find(|(dir, _)| found.is_none() && is_it(dir)) {
        Some((dir, failure)) => Err(damage::of_record(&dir, failure).into()),
        None => Ok(found),
    }
}

/// One that is kept and whose id alone begins like this, without a look at the others. `None` leaves it to such a look.
fn by_id(data: &Path, beginning: &str) -> Result<Option<Found>> {
    // Fewer digits may well be a name.
    if beginning.len() < 12 || !beginning.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let kept = data.join("containers");
    let all = record::ids_in(&kept)?.into_iter().chain(record::ids_in(&paths::runtime_dir()?.join("containers"))?);
    let ids: HashSet<String> = all.filter(|id| id.starts_with(beginning)).collect();
    match ids.iter().next().filter(|_| ids.len() == 1) {
        Some(id) => Ok(read(&kept.join(id)).ok().flatten().filter(|found| !found.container.once)),
        None => Ok(None),
    }
}

/// What is written down in a directory; `None` if it has no record.
pub fn read(dir: &Path) -> Result<Option<Found>> {
    // One of `--rm` is written in place: whoever comes in between reads again.
    let mut attempt = 0;
    let Some(open) = scratch::open(dir)? else { return Ok(None) };
    loop {
        attempt += 1;
        let text = match text::at(open.as_fd(), Path::new(ABOUT)) {
            Ok(text) => text,
            Err(error) if error.errno == Errno::NOENT => return Ok(None),
            Err(error) => return Err(error).with_context(|| dir.display().to_string()),
        };
        // Left for the next container.
        if text.iter().all(|byte| *byte == b' ') {
            return Ok(None);
        }
        match serde_json::from_slice(&text) {
            Ok(container) => {
                return Ok(Some(Found { container, dir: dir.to_owned(), live: scratch::is_locked_there(&open, dir)? }));
            }
            Err(_) if attempt < 3 => std::thread::yield_now(),
            Err(error) => return Err(error).with_context(|| dir.join(ABOUT).display().to_string()),
        }
    }
}
