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
/// It runs, and its cgroup does not hold one of them, or the disk is full: then nothing is changed.
pub fn update(found: &Found, change: &Change, limited: impl Fn(&mut Limits) -> Result<()>) -> Result<()> {
    let name = found.shown();
    if found.ends_with_run() {
        bail!("container {name}: one of --rm is as it was run");
    }
    // What somebody else changes meanwhile is not lost.
    let _turn = record::turn()?;
    let (options, _) = again::read(found)?;
    let mut asked = options.limits.clone();
    limited(&mut asked)?;
    let is_once = options.remove || found.container.once;
    if change.restart.is_some_and(|restart| restart != Restart::No) && is_once {
        bail!("conflicting options: --restart and --rm");
    }
    let mut named = Limits::default();
    // Alone they need not go together.
    let _ = limited(&mut named);
    let aside = again::change(found, |options| {
        options.limits = asked.clone();
        options.restart = change.restart.unwrap_or(options.restart);
    })?;
    if state::of(found)?.runs() && (named != Limits::default() || asked != options.limits) {
        hold(found, [&asked, &options.limits, &named]).with_context(|| format!("container {name}"))?;
    }
    aside.take_place()?;
    if let Some(restart) = change.restart {
        let found = container::read(&found.dir)?.with_context(|| format!("no such container: {name}"))?;
        record::rewrite(&found.dir, &container::Container { restart, ..found.container })?;
    }
    events::container("update", &Actor::container(&found.container));
    Ok(())
}

/// In the cgroup that it has. What the kernel takes half of is put back. `named`: what is written though it was asked for before.
fn hold(found: &Found, [asked, before, named]: [&Limits; 3]) -> Result<()> {
    let group = cgroup::of(found)?;
    let [asked, before, named] = [limits::wanted(asked)?, limits::wanted(before)?, limits::wanted(named)?];
    let enabled = group.controllers()?;
    let known = cgroup::known(found)?;
    if !group.is_there() {
        bail!("is not running");
    }
    let changed = asked.changed_from(&before, &named);
    changed.check(&enabled)?;
    let written = changed.hold_running(&group, &enabled).and_then(|held| cgroup::know(found, known, held));
    if written.is_err() {
        before.changed_from(&asked, &named).put_back(&group, &enabled);
    }
    written?;
    // What is seen inside is the same.
    if let Ok(payload) = Group::open(&group.path().join(cgroup::PAYLOAD)) {
        changed.show(&payload, &enabled);
    }
    Ok(())
}
