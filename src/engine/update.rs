//! `update`: other limits for a container, at once if it runs, and with its next start.

use super::container::{self, Found};
use super::events::{self, Actor};
use super::{again, cgroup, limits, record, state};
use crate::cgroup::group::Group;
use crate::spec::limits::Limits;
use crate::spec::restart::Restart;
use anyhow::{Context, Result, bail};

/// What is to be changed.
#[derive(Debug, Default)]
pub struct Change {
    /// `--restart`.
    pub restart: Option<Restart>,
}

/// Changes it. `limited` says what limits it is to have; given are those that it has.
///
/// # Errors
/// It runs, and its cgroup does not hold one of them: then nothing is changed.
pub fn update(found: &Found, change: &Change, limited: impl Fn(&mut Limits) -> Result<()>) -> Result<()> {
    let name = found.shown();
    if found.ends_with_run() {
        bail!("container {name}: one of --rm is as it was run");
    }
    let (options, _) = again::read(found)?;
    let mut asked = options.limits.clone();
    limited(&mut asked)?;
    if change.restart.is_some_and(|restart| restart != Restart::No) && (options.remove || found.container.once) {
        bail!("conflicting options: --restart and --rm");
    }
    if asked != options.limits {
        if state::of(found)?.runs() {
            hold(found, &asked, &options.limits).with_context(|| format!("container {name}"))?;
        }
        again::change(found, |options| options.limits = asked.clone())?;
    }
    if let Some(restart) = change.restart {
        again::change(found, |options| options.restart = restart)?;
        let found = container::read(&found.dir)?.with_context(|| format!("no such container: {name}"))?;
        record::rewrite(&found.dir, &container::Container { restart, ..found.container })?;
    }
    events::container("update", &Actor::container(&found.container));
    Ok(())
}

/// In the cgroup that it has. One that the kernel takes half of is put back.
fn hold(found: &Found, asked: &Limits, before: &Limits) -> Result<()> {
    let group = cgroup::of(found)?;
    let (wanted, old) = (limits::wanted(asked)?, limits::wanted(before)?);
    let enabled = group.controllers()?;
    let known = cgroup::known(found)?;
    let held = wanted.changed_from(&old).hold_running(&group, &enabled).inspect_err(|_| {
        let _ = old.changed_from(&wanted).hold_running(&group, &enabled);
    })?;
    // What is seen inside is the same.
    if let Ok(payload) = Group::open(&group.path().join(cgroup::PAYLOAD)) {
        wanted.changed_from(&old).show(&payload, &enabled);
    }
    cgroup::know(found, known, held)
}
