//! `rename`: another name for a container that is kept.

use super::container::{self, Found};
use super::events::{self, Actor};
use super::networks::membership;
use super::{names, record};
use crate::paths;
use anyhow::{Context, Result, ensure};

/// Gives a container another name. The old one is free afterwards.
pub fn rename(found: &Found, name: &str) -> Result<()> {
    ensure!(found.dir.starts_with(&container::places()?[0]), "a container of --rm has the name that it was run with");
    let runtime = paths::runtime_dir()?;
    let turn = names::lock(&runtime)?;
    // Somebody else may have been faster.
    let found = container::read(&found.dir)?.with_context(|| format!("no such container: {}", found.shown()))?;
    let old = found.container.name.clone();
    ensure!(old.as_deref() != Some(name), "a container cannot be renamed to the name that it has");
    names::take_other(&turn, &found, name)?;
    // Whoever dies here leaves a name that leads to a container of another one, which does not count.
    let container = container::Container { name: Some(name.to_owned()), ..found.container.clone() };
    record::rewrite(&found.dir, &container)?;
    names::give_up(&turn, &runtime, &found)?;
    drop(turn);
    let actor = Actor::container(&container).with("oldName", format!("/{}", old.unwrap_or_default()));
    events::container("rename", &actor);
    membership::rename(&found.container.id, name).context("networks")
}
