//! A further name for an image.

use crate::image::catalog::Catalog;
use crate::image::find;
use crate::image::reference::{DOCKER_HUB, Name, Reference};
use crate::storage::store::Store;
use anyhow::{Result, ensure};

/// Gives an image these names. Whatever image had one of them goes on without.
pub fn tag(store: &Store, text: &str, targets: &[Reference]) -> Result<()> {
    let _in_use = store.in_use()?;
    let found = find::require(store, text)?;
    targets.iter().try_for_each(|target| Catalog::new(store).set(target, &found.descriptor))
}

/// Reads the name for an image that is made here: one without a digest.
pub fn target(text: &str) -> Result<Reference> {
    let name = Name::parse(text)?.within(DOCKER_HUB);
    ensure!(name.digest.is_none(), "{text}: a digest is no part of a name that is given");
    Ok(name)
}
