//! Images of the store by what a user types: a name, an id or the beginning of one, a digest.

use super::catalog::Catalog;
use super::manifest::Descriptor;
use super::reference::{DOCKER_HUB, Name, Reference};
use super::view::Image;
use crate::error::Advise;
use crate::storage::digest::Digest;
use crate::storage::store::Store;
use anyhow::{Result, anyhow, bail};

/// An image that was found, and by which of its names, if by one.
#[derive(Debug, Clone)]
pub struct Found {
    /// The entry of the catalog.
    pub descriptor: Descriptor,
    /// The name that was meant. None: an id or a digest was typed.
    pub name: Option<Reference>,
}

/// True for what can only be the id of an image, or the beginning of one after `sha256:`.
fn is_id(text: &str) -> bool {
    let hex = text.strip_prefix("sha256:");
    let digits = hex.unwrap_or(text);
    let well =
        !digits.is_empty() && digits.len() <= 64 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    well && (hex.is_some() || digits.len() == 64)
}

/// Refuses what is neither the name of an image nor an id.
pub fn check(text: &str) -> Result<()> {
    if is_id(text) { Ok(()) } else { Name::parse(text).map(drop) }
}

/// The full names that a typed one may stand for here, the likeliest first.
pub fn candidates(name: &Name) -> Vec<Reference> {
    let mut all = vec![name.within(DOCKER_HUB)];
    if name.is_short() {
        // As podman names what it builds and loads.
        all.push(name.within("localhost"));
    }
    all
}

/// Finds an image; `None` if there is none of this name or id.
pub fn find(store: &Store, text: &str) -> Result<Option<Found>> {
    let entries = Catalog::new(store).all()?;
    if !is_id(text) {
        for name in candidates(&Name::parse(text)?) {
            let descriptor = match &name.digest {
                None => entries.iter().find(|entry| entry.name().is_some_and(|known| known == name.to_string())),
                // Whatever its tag, an image of this repository with that digest.
                Some(digest) => entries.iter().find(|entry| {
                    entry.digest == *digest && names_of(entry).is_some_and(|known| known.name() == name.name())
                }),
            };
            if let Some(descriptor) = descriptor {
                return Ok(Some(Found { descriptor: descriptor.clone(), name: Some(name) }));
            }
        }
    }
    let found = by_id(store, &entries, text)?;
    Ok(found.map(|descriptor| Found { descriptor, name: None }))
}

fn names_of(entry: &Descriptor) -> Option<Reference> {
    entry.name().and_then(|name| Reference::parse(name).ok())
}

/// docker's id is the digest of the configuration; the manifest's is known by its digest, too.
fn by_id(store: &Store, entries: &[Descriptor], text: &str) -> Result<Option<Descriptor>> {
    let prefix = text.strip_prefix("sha256:").unwrap_or(text);
    if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let mut found: Option<(Digest, Descriptor)> = None;
    for entry in entries {
        // One that is damaged has no id; others are still found.
        let id = Image::load(store, entry.clone()).map(|image| image.id().clone()).ok();
        let is_it = |digest: &Digest| digest.hex().starts_with(prefix);
        if !(is_it(&entry.digest) || id.as_ref().is_some_and(is_it)) {
            continue;
        }
        match &found {
            Some((digest, _)) if *digest != entry.digest => {
                bail!("{text}: more than one image has an id that starts like this")
            }
            _ => found = Some((entry.digest.clone(), entry.clone())),
        }
    }
    Ok(found.map(|(_, descriptor)| descriptor))
}

/// Finds an image that has to be there.
pub fn require(store: &Store, text: &str) -> Result<Found> {
    check(text)?;
    find(store, text)?
        .ok_or_else(|| anyhow!("no such image: {text}"))
        .hint(|| "`rbox images` lists what is here, `rbox pull` fetches more".to_owned())
}
