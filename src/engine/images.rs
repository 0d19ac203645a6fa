//! The store of images of the caller, and in the rooms below what can be done with images.

pub mod history;
pub mod inspect;
pub mod list;
pub mod prune;
pub mod remove;
pub mod tag;

use super::ids::{self, Caller};
use crate::error::Advise;
use crate::image::manifest::{Descriptor, Platform};
use crate::image::pull::{self, Progress};
use crate::image::reference::{DOCKER_HUB, Name, Reference};
use crate::image::registry::{Access, Status, status};
use crate::image::view::Image;
use crate::image::{credentials, find};
use crate::paths;
use crate::spec::options::{IdMode, IdOverflow, Options, Pull};
use crate::storage::layers::Layers;
use crate::storage::lock::Lock;
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
    store_with(maps, IdOverflow::Error)
}

/// The same; files whose owner is not mapped are an error or not. Layers that were unpacked in the two ways do not mix.
pub fn store_with(maps: &IdMaps, overflow: IdOverflow) -> Result<Store> {
    let one = maps.uid.ranges().iter().map(|range| range.count).sum::<u32>() == 1;
    let owners = match overflow {
        _ if one => Owners::Record,
        IdOverflow::Error => Owners::Set,
        IdOverflow::Squash => Owners::Overflow(overflow_id(maps)),
    };
    Store::open(&paths::data_dir()?, maps.clone(), owners)
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
    let registries = [DOCKER_HUB];
    let mut missing = None;
    for registry in registries {
        let reference = name.within(registry);
        match pull_one(store, &reference, remote, progress) {
            Ok(descriptor) => return Ok((reference, Image::load(store, descriptor)?)),
            Err(error) if name.is_short() && status(&error) == Some(Status::NotFound) => missing = Some(error),
            Err(error) => return Err(error),
        }
    }
    match missing {
        Some(error) => Err(error),
        None => bail!("no registry to look into"),
    }
}

fn pull_one(store: &Store, image: &Reference, remote: &Remote, progress: &dyn Progress) -> Result<Descriptor> {
    let mut access = remote.access.clone();
    if access.credentials.is_none() {
        access.credentials = credentials::find(&credentials::files(remote.authfile.as_deref()), image)?;
    }
    let platform = remote.platform.clone().unwrap_or_else(Platform::host);
    pull::pull(store, image, &access, &platform, progress).with_context(|| format!("pull {image}"))
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
    let here = find::find(store, name)?;
    let by_id = here.as_ref().is_some_and(|found| found.name.is_none());
    let here = here.map(|found| Image::load(store, found.descriptor)).transpose()?;
    let fetch = || -> Result<Image> { Ok(pull(store, &Name::parse(name)?, remote, progress)?.1) };
    let image = match (here, policy) {
        (Some(image), _) if by_id => image,
        (Some(image), Pull::Missing | Pull::Never) => image,
        (None, Pull::Never) => {
            return Err(anyhow!("{name}: no such image here"))
                .hint(|| "--pull never was given; `rbox pull` fetches it".to_owned());
        }
        // What is there will do.
        (Some(image), Pull::Newer) => fetch().unwrap_or(image),
        _ => fetch()?,
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
        sizes.push(about.map_or(layer.size, |about| about.report.bytes));
    }
    Ok(sizes)
}
