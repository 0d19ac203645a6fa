//! The store of images of the caller, and in the rooms below what can be done with images.

pub mod history;
pub mod inspect;
pub mod list;
pub mod prune;
pub mod remove;
pub mod tag;

use super::events::{self, Actor, Kind};
use super::ids::{self, Caller};
use crate::error::{Advise, Failure};
use crate::image::credentials::{self, Files};
use crate::image::find::{self, Found};
use crate::image::manifest::{Descriptor, Platform};
use crate::image::pull::{self, Progress};
use crate::image::reference::{Name, Reference};
use crate::image::registries::{Place, Registries};
use crate::image::registry::{Access, Status, status};
use crate::image::view::Image;
use crate::paths;
use crate::spec::options::{IdMode, IdOverflow, Options, Pull};
use crate::storage::digest::Digest;
use crate::storage::layers::Layers;
use crate::storage::lock::Lock;
use crate::storage::store::Store;
use crate::storage::unpack::Owners;
use crate::userns::idmap::IdMaps;
use anyhow::{Context, Result, anyhow, bail};
use std::collections::HashSet;
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
    store_with(maps, IdOverflow::Error)
}

/// The same; files whose owner is not mapped are an error or not. Layers that were unpacked in the two ways do not mix.
pub fn store_with(maps: &IdMaps, overflow: IdOverflow) -> Result<Store> {
    Store::open(&paths::data_dir()?, maps.clone(), owners(maps, overflow))
}

/// What becomes of the owners of files.
pub fn owners(maps: &IdMaps, overflow: IdOverflow) -> Owners {
    let one = maps.uid.ranges().iter().map(|range| range.count).sum::<u32>() == 1;
    match overflow {
        _ if one => Owners::Record,
        IdOverflow::Error => Owners::Set,
        IdOverflow::Squash => Owners::Overflow(overflow_id(maps)),
    }
}

/// The owner of files whose own one is not mapped: the kernel's overflow id (proc_sys_kernel(5)), which is nobody in all
/// distributions; root where that is not mapped, either.
fn overflow_id(maps: &IdMaps) -> u32 {
    const NOBODY: u32 = 65534;
    let is_mapped = maps.uid.outside(NOBODY).is_some() && maps.gid.outside(NOBODY).is_some();
    if is_mapped { NOBODY } else { 0 }
}

/// The ids that containers have when nobody asks for others.
pub fn default_maps() -> Result<IdMaps> {
    Ok(ids::ids(&Options::default(), Caller::this())?.maps)
}

/// Opens the store for the ids that containers have when nobody asks for others.
pub fn default_store(id_mode: IdMode) -> Result<Store> {
    let options = Options { id_mode, ..Options::default() };
    store(&ids::ids(&options, Caller::this())?.maps)
}

/// Fetches an image. A short name is looked for in one registry after the other.
pub fn pull(store: &Store, name: &Name, remote: &Remote, progress: &dyn Progress) -> Result<(Reference, Image)> {
    let registries = Registries::load()?;
    let sources = registries.sources(name)?;
    let (name, image) = pull_first(store, &registries, &sources, remote, progress)?;
    events::other(Kind::Image, "pull", Actor::named(&name.familiar(), &name.familiar()));
    Ok((name, image))
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

/// Fetches what has gone of an image, or is damaged, from where its name says.
pub fn mend(
    store: &Store,
    image: &Descriptor,
    damaged: &HashSet<Digest>,
    name: &Reference,
    remote: &Remote,
    progress: &dyn Progress,
) -> Result<()> {
    let mut failed = Vec::new();
    for place in Registries::load()?.places(name)? {
        match pull::mend(store, image, damaged, &place.reference, &access(remote, &place)?, progress) {
            Ok(()) => return Ok(()),
            Err(error) => failed.push((place.reference, error)),
        }
    }
    Err(together(failed))
}

/// Unpacks what is missing of an image whose blobs are there.
pub fn pull_unpack(store: &Store, image: &Image, progress: &dyn Progress) -> Result<()> {
    pull::unpack(store, image, progress)
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

/// An image that a container is to run.
#[derive(Debug)]
pub struct Chosen {
    /// The image.
    pub image: Image,
    /// The directories of its layers, the topmost first.
    pub layers: Vec<PathBuf>,
    /// Nothing is deleted before this goes: until then no container names the image.
    pub in_use: Lock,
}

/// The image for a container and the directories of its layers; fetched and unpacked if need be.
pub fn for_container(
    store: &Store,
    name: &str,
    policy: Pull,
    remote: &Remote,
    progress: &dyn Progress,
) -> Result<Chosen> {
    let in_use = store.in_use()?;
    let mut here = find::find(store, name)?;
    if let (Some(found), Some(platform)) = (&here, &remote.platform) {
        let image = Image::load(store, found.descriptor.clone())?;
        match pull::check_platform(&image.config, platform) {
            Ok(()) => {}
            // The registry may have one for that platform, too.
            Err(_) if found.name.is_some() && policy != Pull::Never => here = None,
            Err(error) => return Err(error).with_context(|| format!("{name}: --platform")),
        }
    }
    let image = match (here, policy) {
        // No registry has anything newer of an id.
        (Some(Found { descriptor, name: None }), _) => Image::load(store, descriptor)?,
        (Some(found), Pull::Missing | Pull::Never) => Image::load(store, found.descriptor)?,
        (None, Pull::Never) => {
            return Err(anyhow!("{name}: no such image here"))
                .hint(|| "--pull never was given; `rbox pull` fetches it".to_owned());
        }
        (Some(Found { descriptor, name: Some(reference) }), Pull::Newer) => {
            match pull_first(store, &Registries::load()?, &[reference], remote, progress) {
                Ok((_, newer)) => newer,
                // What is there will do.
                Err(_) => Image::load(store, descriptor)?,
            }
        }
        _ => pull(store, &Name::parse(name)?, remote, progress)?.1,
    };
    if let Some(layers) = layers(store, &image)? {
        return Ok(Chosen { image, layers, in_use });
    }
    pull::unpack(store, &image, progress)?;
    let layers = layers(store, &image)?.context("image: a layer was removed meanwhile")?;
    Ok(Chosen { image, layers, in_use })
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

/// The bytes of the files of each layer, the lowest first; those that are not unpacked count as they are packed.
pub fn layer_sizes(store: &Store, image: &Image) -> Result<Vec<u64>> {
    let unpacked = store.layers();
    let mut sizes = Vec::new();
    for (layer, diff_id) in image.manifest.layers.iter().zip(&image.diff_ids) {
        let about = unpacked.about(diff_id)?;
        sizes.push(about.map_or(layer.size, |about| about.unpacked.report.bytes));
    }
    Ok(sizes)
}
