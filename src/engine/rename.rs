//! `rename`: another name for a container that is kept.

use super::container::{self, Found};
use super::{names, record};
use crate::paths;
use anyhow::{Result, ensure};

/// Gives a container another name. The old one is free afterwards.
pub fn rename(found: &Found, name: &str) -> Result<()> {
    ensure!(found.container.name.as_deref() != Some(name), "a container cannot be renamed to the name that it has");
    ensure!(found.dir.starts_with(&container::places()?[0]), "a container of --rm has the name that it was run with");
    let runtime = paths::runtime_dir()?;
    names::rename(&runtime, found, name)?;
    let container = container::Container { name: Some(name.to_owned()), ..found.container.clone() };
    record::rewrite(&found.dir, &container)
}
