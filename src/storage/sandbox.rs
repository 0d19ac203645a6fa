//! Where hostile archives are unpacked and trees of other ids removed: a process that sees one directory and nothing
//! else.

use crate::seccomp::capability;
use crate::sys::caps::{self, Sets};
use crate::sys::mount::{self, Propagation};
use crate::sys::{Alone, fd, process};
use crate::userns::idmap::IdMaps;
use anyhow::Result;
use std::os::fd::AsFd;
use std::path::Path;

/// What files need; MKNOD is for whiteouts.
const CAPABILITIES: u64 =
    capability::bits(["CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "MKNOD", "SETFCAP"]);

/// Calls `work` in a copy of this process, as root of a new user namespace with these ids, with `dir` as its root
/// directory and no other file in sight but the descriptors 0 to 2. Returns what it returns.
pub fn run(alone: &Alone, maps: &IdMaps, dir: &Path, work: impl FnOnce() -> Result<u8>) -> Result<u8> {
    crate::userns::run::run(alone, maps, || {
        enter(dir)?;
        work()
    })
}

fn enter(dir: &Path) -> Result<()> {
    mount::set_propagation(Path::new("/"), Propagation::PRIVATE | Propagation::REC)?;
    // A mount of its own, for pivot_root(2) takes nothing else; and without what may be mounted below it.
    let tree = mount::clone_tree(dir, false)?;
    let place = mount::place(dir)?;
    mount::attach(tree.as_fd(), place.as_fd(), dir)?;
    rustix::process::fchdir(&tree)?;
    mount::pivot_root_here()?;
    drop((tree, place));
    fd::close_on_exec_from(3)?;
    caps::limit_bounding(CAPABILITIES)?;
    caps::set(&Sets {
        bounding: CAPABILITIES,
        effective: CAPABILITIES,
        permitted: CAPABILITIES,
        inheritable: 0,
        ambient: 0,
    })?;
    Ok(process::set_no_new_privileges()?)
}
