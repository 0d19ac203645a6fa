//! Images that nobody needs.

use super::list::{self, Listed};
use super::remove::{self, Collected};
use crate::engine::container;
use crate::image::catalog::Catalog;
use crate::storage::store::Store;
use anyhow::Result;

/// What was done.
#[derive(Debug, Default)]
pub struct Pruned {
    /// The images that are gone.
    pub images: Vec<Listed>,
    /// What that freed; none if somebody uses the store, which leaves it to the next one.
    pub freed: Option<Collected>,
}

/// Removes images that no container uses: those without a name, or with `all` the others, too; of these the ones that
/// `admits` lets through.
pub fn prune(store: &Store, all: bool, admits: impl Fn(&Listed) -> bool) -> Result<Pruned> {
    let containers = container::all()?.whole()?;
    let is_used = |listed: &Listed| {
        let digest = &listed.image.descriptor.digest;
        containers.iter().any(|one| one.container.image.as_ref().is_some_and(|image| image.manifest == *digest))
    };
    let mut pruned = Pruned::default();
    for listed in list::list(store)?.images {
        if (all || listed.names.is_empty()) && !is_used(&listed) && admits(&listed) {
            let digest = &listed.image.descriptor.digest;
            let catalog = Catalog::new(store);
            let is_gone = remove::with_space(store, digest, || match all {
                true => catalog.remove(digest).map(|()| true),
                // It may have been given a name meanwhile.
                false => catalog.remove_nameless(digest),
            })?;
            pruned.images.extend(is_gone.then_some(listed));
        }
    }
    pruned.freed = remove::collect(store)?;
    Ok(pruned)
}
