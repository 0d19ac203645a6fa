//! `rmi`, `untag`, and what is deleted when nothing names it any more.

use super::list;
use crate::engine::container;
use crate::engine::events::{self, Actor, Kind};
use crate::error::Advise;
use crate::image::catalog::Catalog;
use crate::image::reference::Reference;
use crate::image::{find, roots};
use crate::storage::digest::Digest;
use crate::storage::gc;
use crate::storage::store::Store;
use crate::sys;
use anyhow::{Result, anyhow, bail};
use std::path::Path;

/// What was done.
#[derive(Debug, Default)]
pub struct Removed {
    /// Names that were taken away.
    pub untagged: Vec<Reference>,
    /// The id of the image, if it is gone.
    pub deleted: Option<Digest>,
}

/// Takes one name of an image away, or the image with all of its names if an id is given; an image without a name goes.
/// `force`: also when it has several names or containers use it; the containers keep what they need of it. Nothing is
/// deleted yet: [`collect`] does that.
pub fn remove(store: &Store, text: &str, force: bool) -> Result<Removed> {
    let removed = taken_away(store, text, force)?;
    for name in &removed.untagged {
        events::other(Kind::Image, "untag", Actor::named(&name.familiar(), &name.familiar()));
    }
    if let Some(id) = &removed.deleted {
        events::other(Kind::Image, "delete", Actor::named(&id.to_string(), &id.to_string()));
    }
    Ok(removed)
}

fn taken_away(store: &Store, text: &str, force: bool) -> Result<Removed> {
    let found = find::require(store, text)?;
    let digest = &found.descriptor.digest;
    let catalog = Catalog::new(store);
    let Some(listed) = list::one(store, digest).ok().flatten() else {
        // It cannot be read: whatever of it there is goes.
        with_space(store, digest, || catalog.remove(digest))?;
        return Ok(Removed { untagged: found.name.into_iter().collect(), deleted: Some(digest.clone()) });
    };
    let id = listed.image.id().clone();
    let by_name = found.name.filter(|name| name.digest.is_none());
    match by_name {
        Some(name) if listed.names.len() > 1 => {
            catalog.unset(&name, true)?;
            return Ok(Removed { untagged: vec![name], deleted: None });
        }
        None if listed.names.len() > 1 && !force => {
            let names: Vec<String> = listed.names.iter().map(Reference::to_string).collect();
            return Err(anyhow!("{text}: the image has several names: {}", names.join(", ")))
                .hint(|| "-f takes all of them away; `rbox untag` one".to_owned());
        }
        _ => {}
    }
    if !force {
        refuse_in_use(digest, text)?;
    }
    with_space(store, digest, || catalog.remove(digest))?;
    Ok(Removed { untagged: listed.names, deleted: Some(id) })
}

fn refuse_in_use(digest: &Digest, text: &str) -> Result<()> {
    let users = container::all()?.whole()?;
    let user = users.iter().find(|one| one.container.image.as_ref().is_some_and(|image| image.manifest == *digest));
    let Some(user) = user else { return Ok(()) };
    let (how, mend) = match user.live {
        true => ("is running with", "end that container first"),
        false => ("was made of", "remove that container first: rbox rm"),
    };
    Err(anyhow!("{text}: container {} {how} this image", user.shown()))
        .hint(|| format!("{mend}; -f takes the image's names away and leaves the container what it needs"))
}

/// Takes names away and leaves the image: those that are given, or all.
pub fn untag(store: &Store, text: &str, names: &[Reference]) -> Result<Vec<Reference>> {
    let found = find::require(store, text)?;
    let all: Vec<Reference> = match list::one(store, &found.descriptor.digest)? {
        Some(listed) => listed.names,
        None => Vec::new(),
    };
    let chosen = if names.is_empty() { &all } else { names };
    if let Some(other) = chosen.iter().find(|name| !all.contains(name)) {
        bail!("{text}: {other} is no name of this image");
    }
    for name in chosen {
        Catalog::new(store).unset(name, true)?;
    }
    Ok(chosen.to_vec())
}

/// What `collect` has done.
#[derive(Debug, Default)]
pub struct Collected {
    /// Blobs that are gone.
    pub blobs: u64,
    /// Unpacked layers that are gone.
    pub layers: u64,
    /// Bytes of both.
    pub bytes: u64,
}

/// Deletes what neither an image nor a container names. `None`: somebody uses the store, such as a pull, and it is left
/// to the next one.
pub fn collect(store: &Store) -> Result<Option<Collected>> {
    let Some(alone) = store.for_deleting()? else { return Ok(None) };
    let garbage = garbage(store)?;
    let collected = weigh(&garbage)?;
    gc::delete(store, &garbage, alone)?;
    Ok(Some(collected))
}

/// What neither an image nor a container names.
pub fn garbage(store: &Store) -> Result<gc::Garbage> {
    garbage_if(store, |_| true)
}

/// The same if these images alone counted.
fn garbage_if(store: &Store, counts: impl Fn(&Digest) -> bool) -> Result<gc::Garbage> {
    // A container whose record cannot be read may need anything.
    let containers = container::all()?.whole()?;
    let in_use = containers.iter().filter_map(|one| one.container.image.as_ref().map(|image| &image.manifest));
    let mut roots = roots::roots(store, counts, in_use)?;
    let files = containers.iter().flat_map(|one| &one.container.layers);
    roots.directories.extend(files.filter_map(|files| files.parent().map(Path::to_owned)));
    gc::find(store, &roots)
}

/// Changes the catalog so that an image goes. On a disk that is too full even for that, its layers go first, as far as
/// nobody else has them: they can be made again of its blobs, should this process be killed in between.
pub(super) fn with_space<T>(store: &Store, image: &Digest, change: impl Fn() -> Result<T>) -> Result<T> {
    match change() {
        Err(error) if sys::is_full(&error) => {
            if let Some(alone) = store.for_deleting()? {
                let layers = garbage_if(store, |digest| digest != image)?.layers;
                gc::delete(store, &gc::Garbage { layers, ..garbage(store)? }, alone)?;
            }
            change()
        }
        result => result,
    }
}

/// How much it is.
pub fn weigh(garbage: &gc::Garbage) -> Result<Collected> {
    let mut weight = Collected {
        blobs: garbage.blobs.len() as u64,
        layers: garbage.layers.len() as u64,
        bytes: garbage.blobs.iter().map(|(_, size)| size).sum(),
    };
    for dir in &garbage.layers {
        weight.bytes +=
            crate::storage::layers::about(dir).ok().flatten().map_or(0, |about| about.unpacked.report.bytes);
    }
    Ok(weight)
}
