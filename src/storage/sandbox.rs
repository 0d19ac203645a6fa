//! Where hostile archives are unpacked and trees of other ids removed or read: a process that sees the directories of its
//! task and nothing else.

use crate::seccomp::capability;
use crate::sys::caps::{self, Sets};
use crate::sys::mount::{self, Attr, Propagation};
use crate::sys::path::{self, Missing};
use crate::sys::{Alone, Named, fd, process};
use crate::userns::idmap::IdMaps;
use anyhow::{Result, anyhow};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// What files need; MKNOD is for whiteouts.
const CAPABILITIES: u64 =
    capability::bits(["CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "MKNOD", "SETFCAP"]);

/// What reading needs.
const TO_READ: u64 = capability::bits(["DAC_READ_SEARCH"]);

/// Calls `work` in a copy of this process, as root of a new user namespace with these ids, with `dir` as its root
/// directory and no other file in sight but the descriptors 0 to 2. Returns what it returns.
pub fn run(alone: &Alone, maps: &IdMaps, dir: &Path, work: impl FnOnce() -> Result<u8>) -> Result<u8> {
    crate::userns::run::run(alone, maps, || {
        enter(dir)?;
        work()
    })
}

/// Likewise, with several directories that can be read only: below a root that has nothing else in it. `work` is told
/// where they are.
pub fn read(alone: &Alone, maps: &IdMaps, dirs: &[PathBuf], work: impl FnOnce(&[PathBuf]) -> Result<u8>) -> Result<u8> {
    crate::userns::run::run(alone, maps, || {
        let places = enter_to_read(dirs)?;
        work(&places)
    })
}

fn enter_to_read(dirs: &[PathBuf]) -> Result<Vec<PathBuf>> {
    mount::set_propagation(Path::new("/"), Propagation::PRIVATE | Propagation::REC)?;
    let mut trees = Vec::new();
    for dir in dirs {
        let place = mount::place(dir)?;
        let tree = mount::clone_tree_of(place.as_fd(), false).map_err(|error| match error.errno {
            // Without it something would be seen that was covered.
            Errno::INVAL => anyhow!("{}: something is mounted below it", dir.display()),
            _ => error.into(),
        });
        trees.push(tree?);
    }
    let nothing_else = Attr::MOUNT_ATTR_NOSUID | Attr::MOUNT_ATTR_NODEV | Attr::MOUNT_ATTR_NOEXEC;
    let root = mount::new_filesystem("tmpfs", &[("size", Some("1m")), ("mode", Some("0755"))], nothing_else)?;
    let here = mount::place(Path::new("/"))?;
    mount::attach(root.as_fd(), here.as_fd(), Path::new("/"))?;
    rustix::process::fchdir(&root).named(|| "fchdir".to_owned())?;
    let mut places = Vec::new();
    for (number, (tree, dir)) in trees.iter().zip(dirs).enumerate() {
        let name = number.to_string();
        path::make_at(root.as_fd(), OsStr::new(&name), Missing::Directory)?;
        mount::attach_at(tree.as_fd(), root.as_fd(), OsStr::new(&name))?;
        mount::set_attr(tree.as_fd(), nothing_else | Attr::MOUNT_ATTR_RDONLY, Attr::empty(), false, dir)?;
        places.push(Path::new("/").join(name));
    }
    mount::set_attr(root.as_fd(), Attr::MOUNT_ATTR_RDONLY, Attr::empty(), false, Path::new("/"))?;
    mount::pivot_root_here()?;
    drop((root, here, trees));
    // Each directory of the stack takes one.
    let limit = rustix::process::getrlimit(Resource::Nofile);
    // Where it cannot be raised the usual one does for most.
    let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    lock(TO_READ)?;
    Ok(places)
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
    lock(CAPABILITIES)
}

/// Leaves this process, which is where its files are already, the rights that files need and no others.
pub fn confine() -> Result<()> {
    lock(CAPABILITIES)
}

/// No descriptor beyond 2 for another program, no other capability, none to be gained.
fn lock(capabilities: u64) -> Result<()> {
    fd::close_on_exec_from(3)?;
    caps::limit_bounding(capabilities)?;
    caps::set(&Sets {
        bounding: capabilities,
        effective: capabilities,
        permitted: capabilities,
        inheritable: 0,
        ambient: 0,
    })?;
    Ok(process::set_no_new_privileges()?)
}
