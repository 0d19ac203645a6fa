//! `system reset`: everything of rbox's goes, files of subordinate ids among it.

use crate::engine::{container, record, remove, sweep};
use crate::error::Advise;
use crate::paths;
use crate::storage::store::Store;
use crate::storage::temporary;
use anyhow::{Context, Result, anyhow};

/// Removes images, containers, volumes, networks and what is in the making. Containers that run are killed first.
pub fn reset(store: &Store) -> Result<()> {
    sweep::all(&paths::runtime_dir()?)?;
    for found in container::all()?.found.into_iter().filter(|found| found.live) {
        remove::remove(&found.container.id, true, false)?;
    }
    let runtime = paths::runtime_dir()?;
    // Those of the kind that has nothing on disk.
    if let Some(id) = record::ids_in(&runtime.join("locks"))?.first() {
        return Err(anyhow!("container {} is running", &id[..id.len().min(12)])).hint(|| "end it first".to_owned());
    }
    let _alone =
        store.for_deleting()?.context("the store is in use").hint(|| "wait for the pull that runs".to_owned())?;
    let data = paths::data_dir()?;
    temporary::remove(store, &data).with_context(|| data.display().to_string())?;
    Ok(fs_err::remove_dir_all(runtime)?)
}
