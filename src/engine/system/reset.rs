//! `system reset`: everything of rbox's goes, files of subordinate ids among it.

use crate::engine::container;
use crate::engine::remove;
use crate::error::Advise;
use crate::paths;
use crate::storage::store::Store;
use crate::storage::temporary;
use anyhow::{Context, Result, anyhow};

/// Removes images, containers, volumes and what is in the making. Containers that run are killed first.
pub fn reset(store: &Store) -> Result<()> {
    for found in container::all()?.into_iter().filter(|found| found.live) {
        remove::remove(&found.container.id, true, false)?;
    }
    let _alone =
        store.for_deleting()?.context("the store is in use").hint(|| "wait for the pull that runs".to_owned())?;
    let data = paths::data_dir()?;
    temporary::remove(store, &data).with_context(|| data.display().to_string())?;
    let runtime = paths::runtime_dir()?;
    for name in ["names", "containers", "locks"] {
        // Containers of the kind that has nothing on disk may run: what is locked stays with them.
        let Ok(entries) = fs_err::read_dir(runtime.join(name)) else { continue };
        if name == "locks" && entries.count() > 0 {
            return Err(anyhow!("{}: containers without anything on disk are running", runtime.display()))
                .hint(|| "end them; what was on disk is gone".to_owned());
        }
    }
    Ok(fs_err::remove_dir_all(runtime)?)
}
