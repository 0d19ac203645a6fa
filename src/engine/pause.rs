//! `pause` and `unpause`: the kernel stops all processes of a container at once, or lets them go on.

use super::container::Found;
use super::events::{self, Actor};
use super::record::{self, PAUSED};
use super::state::{self, Status};
use super::{cgroup, record::gone};
use crate::cgroup::group::Group;
use anyhow::{Result, bail};

/// Stops it. Comes back when nothing of it runs any more.
pub fn pause(found: &Found) -> Result<()> {
    let _turn = record::turn()?;
    match state::of(found)?.status {
        Status::Paused => bail!("container {} is already paused", found.shown()),
        Status::Running => {}
        _ => bail!("container {} is not running", found.shown()),
    }
    let group = cgroup::of(found)?;
    let dir = record::runtime_of(&found.container.id)?;
    // Before it is so: that one is asked for the truth only where there is this file.
    fs_err::write(dir.join(PAUSED), "")?;
    let frozen = group.freeze(true);
    if frozen.is_err() {
        let _ = group.freeze(false);
        gone(rustix::fs::unlink(dir.join(PAUSED)), &dir)?;
    }
    frozen?;
    events::container("pause", &Actor::container(&found.container));
    Ok(())
}

/// Lets it go on.
pub fn unpause(found: &Found) -> Result<()> {
    let _turn = record::turn()?;
    if state::of(found)?.status != Status::Paused {
        bail!("container {} is not paused", found.shown());
    }
    thaw(found)?;
    events::container("unpause", &Actor::container(&found.container));
    Ok(())
}

/// The same for one that is to end, paused or not.
pub(super) fn thaw(found: &Found) -> Result<()> {
    let dir = record::runtime_of(&found.container.id)?;
    if !dir.join(PAUSED).exists() {
        return Ok(());
    }
    cgroup::of(found)?.freeze(false)?;
    gone(rustix::fs::unlink(dir.join(PAUSED)), &dir)
}

/// True if somebody has stopped it. The kernel is asked, but only where somebody may have.
pub(super) fn is_paused(found: &Found) -> bool {
    let Ok(dir) = record::runtime_of(&found.container.id) else { return false };
    if rustix::fs::access(dir.join(PAUSED), rustix::fs::Access::EXISTS).is_err() {
        return false;
    }
    let path = cgroup::known(found).ok().and_then(|known| known.path);
    path.and_then(|path| Group::open(&path).ok()).is_some_and(|group| group.is_frozen().unwrap_or(false))
}
