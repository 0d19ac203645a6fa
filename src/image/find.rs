//! Images of the store by what a user types: a name, an id or the beginning of one, a digest.

use super::catalog::Catalog;
use super::manifest::Descriptor;
use super::reference::{DOCKER_HUB, Name, Reference};
use super::registries::Registries;
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

/// The full names that a typed one may stand for here, the likeliest first. Only if that is none of them the
/// configuration is read.
pub fn candidates(name: &Name) -> Result<Vec<Reference>> {
    if name.is_short() { Ok(Registries::load()?.candidates(name)) } else { Ok(vec![name.within(DOCKER_HUB)]) }
}

/// Finds an image; `None` if there is none of this name or id.
pub fn find(store: &Store, text: &str) -> Result<Option<Found>> {
    let entries = Catalog::new(store).all()?;
    if !is_id(text) {
        let typed = Name::parse(text)?;
        let first = typed.within(DOCKER_HUB);
        if let Some(descriptor) = by_name(&entries, &first) {
            return Ok(Some(Found { descriptor, name: Some(first) }));
        }
        for name in candidates(&typed)?.into_iter().skip(1) {
            if let Some(descriptor) = by_name(&entries, &name) {
                return Ok(Some(Found { descriptor, name: Some(name) }));
            }
        }
    }
    let found = by_id(store, &entries, text)?;
    Ok(found.map(|descriptor| Found { descriptor, name: None }))
}

/// With a digest in it a name means the image of that digest in the repository, whatever its tag.
fn by_name(entries: &[Descriptor], name: &Reference) -> Option<Descriptor> {
    let full = name.to_string();
    let is_it = |entry: &&Descriptor| match (&name.digest, entry.name()) {
        (None, Some(known)) => known == full,
        (Some(digest), Some(known)) => {
            entry.digest == *digest && Reference::parse(known).is_ok_and(|known| known.name() == name.name())
        }
        _ => false,
    };
    entries.iter().find(is_it).cloned()
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
