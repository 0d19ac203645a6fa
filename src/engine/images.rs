//! The store of images of the caller.

use super::ids::{self, Caller};
use crate::error::{Advise, Failure};
use crate::image::credentials::{self, Files};
use crate::image::manifest::{Descriptor, Platform};
use crate::image::pull::{self, Progress};
use crate::image::reference::{DOCKER_HUB, Name, Reference};
use crate::image::registries::{Place, Registries};
use crate::image::registry::{Access, Status, status};
use crate::image::view::Image;
use crate::paths;
use crate::spec::options::{IdMode, Options, Pull};
use crate::storage::layers::Layers;
use crate::storage::store::Store;
use crate::storage::unpack::Owners;
use crate::userns::idmap::IdMaps;
use anyhow::{Context, Result, anyhow, bail};
use std::path::PathBuf;

/// How registries are spoken to, as the options say.
#[derive(Debug, Clone, Default)]
pub struct Remote {
    /// What they have in common.
    pub access: Access,
    /// `--authfile`.
    pub authfile: Option<PathBuf>,
    /// `--platform`; this machine's if none is named.
    pub platform: Option<Platform>,
}

/// Opens the store for containers with these ids. Without a range the owners of files are written down.
pub fn store(maps: &IdMaps) -> Result<Store> {
    let one = maps.uid.ranges().iter().map(|range| range.count).sum::<u32>() == 1;
    let owners = if one { Owners::Record } else { Owners::Set };
    Store::open(&paths::data_dir()?, maps.clone(), owners)
}

/// Opens the store for the ids that containers have when nobody asks for others.
pub fn default_store(id_mode: IdMode) -> Result<Store> {
    let options = Options { id_mode, ..Options::default() };
    store(&ids::ids(&options, Caller::this())?.maps)
}

/// The full names that a name may have in the store, in the order in which they count.
pub fn candidates(name: &Name) -> Result<Vec<Reference>> {
    if name.is_short() { Ok(Registries::load()?.candidates(name)) } else { Ok(vec![name.within(DOCKER_HUB)]) }
}

/// The image of this name, and the full name under which it is here.
pub fn find(store: &Store, name: &Name) -> Result<Option<(Reference, Image)>> {
    // What most names stand for is found without reading any configuration.
    let first = name.within(DOCKER_HUB);
    if let Some(image) = Image::find(store, &first)? {
        return Ok(Some((first, image)));
    }
    for reference in candidates(name)?.into_iter().skip(1) {
        if let Some(image) = Image::find(store, &reference)? {
            return Ok(Some((reference, image)));
        }
    }
    Ok(None)
}

/// Fetches an image. A short name is looked for in one registry after the other.
pub fn pull(store: &Store, name: &Name, remote: &Remote, progress: &dyn Progress) -> Result<(Reference, Image)> {
    let registries = Registries::load()?;
    let sources = registries.sources(name)?;
    pull_first(store, &registries, &sources, remote, progress)
}

/// Fetches the first of several names that there is: the next one's turn comes if a registry says that it has none.
/// One that cannot be reached does not answer for the others: what is meant may be there.
fn pull_first(
    store: &Store,
    registries: &Registries,
    sources: &[Reference],
    remote: &Remote,
    progress: &dyn Progress,
) -> Result<(Reference, Image)> {
    if remote.access.credentials.is_some() && sources.len() > 1 {
        let registries: Vec<&str> = sources.iter().map(|source| source.registry.as_str()).collect();
        bail!("--creds: for one registry, and the name may be from any of {}: name it", registries.join(", "));
    }
    let mut failed = Vec::new();
    for source in sources {
        for place in registries.places(source)? {
            let error = match pull_from(store, source, &place, remote, progress) {
                Ok(descriptor) => return Ok((source.clone(), Image::load(store, descriptor)?)),
                Err(error) => error,
            };
            let is_missing = matches!(status(&error), Some(Status::NotFound | Status::Denied));
            let is_final = !place.is_mirror && !is_missing;
            if place.is_mirror {
                progress.passed_over(&place.reference, &error);
            }
            failed.push((place.reference, error));
            if is_final {
                return Err(together(failed)).with_context(|| format!("pull {source}"));
            }
        }
    }
    let what = sources.first().map(|source| format!("pull {source}")).unwrap_or_default();
    match failed.len() {
        0 | 1 => Err(together(failed)).context(what),
        _ => Err(together(failed)).context("pull: in none of the places"),
    }
}

fn pull_from(
    store: &Store,
    image: &Reference,
    place: &Place,
    remote: &Remote,
    progress: &dyn Progress,
) -> Result<Descriptor> {
    let access = access(remote, place)?;
    let platform = remote.platform.clone().unwrap_or_else(Platform::host);
    pull::pull(store, image, &place.reference, &access, &platform, progress)
}

/// Several errors as one: what was tried and why it failed.
fn together(mut failed: Vec<(Reference, anyhow::Error)>) -> anyhow::Error {
    if failed.len() == 1 {
        if let Some((_, error)) = failed.pop() {
            return error;
        }
    }
    let mut all = Failure::default();
    let mut words = Vec::new();
    for (place, error) in failed {
        let Failure { message, hints, .. } = Failure::from(&error);
        words.push(format!("{place}: {message}"));
        for hint in hints {
            if !all.hints.contains(&hint) {
                all.hints.push(hint);
            }
        }
    }
    all.message = words.join("; ");
    all.into()
}

/// How a place is spoken to. Credentials that were typed are for the registry that was named, and not for its mirrors.
pub fn access(remote: &Remote, place: &Place) -> Result<Access> {
    let mut access = remote.access.clone();
    access.tls_verify = access.tls_verify.or(place.insecure.then_some(false));
    if access.credentials.is_none() || place.is_mirror {
        access.credentials = credentials::find(&Files::new(remote.authfile.as_deref()), &place.reference)?;
    }
    Ok(access)
}

/// The image for a container and the directories of its layers, the topmost first; fetched and unpacked if need be.
pub fn for_container(
    store: &Store,
    name: &Name,
    policy: Pull,
    remote: &Remote,
    progress: &dyn Progress,
) -> Result<(Image, Vec<PathBuf>)> {
    let image = match (find(store, name)?, policy) {
        (Some((_, image)), Pull::Missing | Pull::Never) => image,
        (None, Pull::Never) => {
            return Err(anyhow!("{}: no such image here", name.within(DOCKER_HUB)))
                .hint(|| "--pull never was given; `rbox pull` fetches it".to_owned());
        }
        (Some((reference, image)), Pull::Newer) => {
            match pull_first(store, &Registries::load()?, &[reference], remote, progress) {
                Ok((_, newer)) => newer,
                // What is there will do.
                Err(_) => image,
            }
        }
        _ => pull(store, name, remote, progress)?.1,
    };
    if let Some(layers) = layers(store, &image)? {
        return Ok((image, layers));
    }
    pull::unpack(store, &image, progress)?;
    let layers = layers(store, &image)?.context("image: a layer was removed meanwhile")?;
    Ok((image, layers))
}

/// The directories of an image's layers; none if one is missing.
fn layers(store: &Store, image: &Image) -> Result<Option<Vec<PathBuf>>> {
    let unpacked = store.layers();
    let mut found = Vec::new();
    for diff_id in image.diff_ids.iter().rev() {
        match unpacked.find(diff_id)? {
            Some(dir) => found.push(Layers::files(&dir)),
            None => return Ok(None),
        }
    }
    Ok(Some(found))
}
