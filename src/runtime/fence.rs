//! A fence around a container that is given the host's cgroups: it can read all of them, and write its own alone.
//!
//! Root of such a container is the caller outside, whose the files with its limits are, and it may unmount and remount what its own
//! namespace has made. But what was mounted in a namespace that another user namespace owns stays in a copy of it as it is:
//! read-only, and where it is (mount_namespaces(7), "Restrictions on mount namespaces"). So there is one in between.
//!
//! To be born in a cgroup takes no more than to see it (CLONE_INTO_CGROUP): the kernel looks at the owner of its files and not
//! at the mount. So no process behind a fence has clone3(2) (spec/seccomp.rs).
//!
//! Runs in: a user namespace around the container's, and from then on a mount namespace that belongs to it.

use crate::cgroup::{mounted, place};
use crate::sys::clone::{self, CLONE_NEWNS};
use crate::sys::mount::{self, Attr};
use crate::sys::{Alone, Named};
use crate::userns::idmap::IdMaps;
use crate::userns::write::Writer;
use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::AsFd;
use std::path::Path;

/// How it is made.
#[derive(Clone, Copy)]
pub struct Fence<'a> {
    /// The ids of the user namespace around, where nobody else has made one.
    pub ids: &'a IdMaps,
    /// Who writes them.
    pub writer: Writer,
    /// The cgroup that can be written inside.
    pub own: &'a Path,
}

impl Fence<'_> {
    /// Puts it up.
    pub fn put_up(self, alone: &Alone) -> Result<()> {
        clone::unshare(alone, CLONE_NEWNS)?;
        // Before the others are read-only, for a copy would be.
        let own = self.own;
        let writable = mount::clone_tree(own, false)?;
        for path in mounted::everywhere().context("mounted cgroups")? {
            // A single file may be mounted, too.
            let mounted = match rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
                // What something else is mounted on is out of reach, and stays so; and root of the container has no more rights
                // on the way there than this process.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => continue,
                mounted => mounted.named(|| format!("open({})", path.display()))?,
            };
            if place::is_hierarchy_at(mounted.as_fd()).named(|| format!("statfs({})", path.display()))? {
                mount::set_attr(mounted.as_fd(), Attr::MOUNT_ATTR_RDONLY, Attr::empty(), false, &path)?;
            }
        }
        Ok(mount::attach(writable.as_fd(), mount::place(own)?.as_fd(), own)?)
    }
}
