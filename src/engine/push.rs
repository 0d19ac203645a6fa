//! Images of the store into registries.

use super::images::{self, Remote};
use crate::image::catalog::Catalog;
use crate::image::find;
use crate::image::manifest::Descriptor;
use crate::image::pull::{Progress, check_platform};
use crate::image::push;
use crate::image::reference::{DOCKER_HUB, Name, Reference};
use crate::image::registries::Registries;
use crate::image::view::Image;
use crate::storage::store::Store;
use anyhow::{Context, Result, bail, ensure};

/// Pushes the image of a name, under that name or another one. Returns what it is called there and its manifest.
pub fn push(
    store: &Store,
    name: &str,
    to: Option<&Name>,
    remote: &Remote,
    progress: &dyn Progress,
) -> Result<(Reference, Descriptor)> {
    let (own, image) = find(store, name)?;
    let to = match (to, own) {
        (Some(to), _) => to.within(DOCKER_HUB),
        (None, Some(own)) => own,
        (None, None) => bail!("{name}: an id; the name to push to is wanted, too"),
    };
    if let Some(digest) = &to.digest {
        let is = &image.descriptor.digest;
        ensure!(digest == is, "{to}: the image's manifest has the digest {is}, and no other can be given to it");
    }
    one(store, &image, &to, remote, progress)?;
    Ok((to, image.descriptor))
}

/// Pushes all tags that a repository has here, to the repository of that name or another one.
pub fn push_all(
    store: &Store,
    name: &Name,
    to: Option<&Name>,
    remote: &Remote,
    progress: &dyn Progress,
) -> Result<Vec<(Reference, Descriptor)>> {
    ensure!(name.is_bare() && to.is_none_or(Name::is_bare), "--all-tags: a name without a tag is wanted");
    let named: Vec<Reference> =
        Catalog::new(store).all()?.iter().filter_map(|image| Reference::parse(image.name()?).ok()).collect();
    for candidate in find::candidates(name)? {
        let mut own: Vec<&Reference> = named.iter().filter(|other| other.name() == candidate.name()).collect();
        own.retain(|own| own.tag.is_some());
        own.sort();
        if own.is_empty() {
            continue;
        }
        let mut pushed = Vec::new();
        for reference in own {
            let image = Image::load(store, find::require(store, &reference.to_string())?.descriptor)?;
            let to = match to.map(|to| to.within(DOCKER_HUB)) {
                Some(to) => Reference { tag: reference.tag.clone(), digest: None, ..to },
                None => Reference { digest: None, ..reference.clone() },
            };
            one(store, &image, &to, remote, progress)?;
            pushed.push((to, image.descriptor));
        }
        return Ok(pushed);
    }
    bail!("{}: no such image here", name.within(DOCKER_HUB).name())
}

fn one(store: &Store, image: &Image, to: &Reference, remote: &Remote, progress: &dyn Progress) -> Result<()> {
    if let Some(platform) = &remote.platform {
        check_platform(&image.config, platform).context("--platform")?;
    }
    let place = Registries::load()?.own_place(to)?;
    let access = images::access(remote, &place)?;
    push::push(store, &image.descriptor, to, &access, progress).with_context(|| format!("push {to}"))
}

/// The image that is meant by a name, or by an id or the beginning of one.
fn find(store: &Store, text: &str) -> Result<(Option<Reference>, Image)> {
    let found = find::require(store, text)?;
    Ok((found.name, Image::load(store, found.descriptor)?))
}
