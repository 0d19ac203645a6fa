//! The contents of /dev. A user namespace cannot make device nodes, so the host's are bound.
//!
//! Runs in: the container's namespaces, before the root is changed.

use crate::sys::{self, Named, mount};
use anyhow::Result;
use rustix::fs::{CWD, FileType, Mode};
use std::os::fd::BorrowedFd;
use std::path::Path;

/// What every container has (runtime-spec config-linux.md, "Default Devices").
const NODES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Symlinks, target first (the same section, "Dev symbolic links").
const LINKS: [(&str, &str); 6] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("/proc/kcore", "core"),
    ("pts/ptmx", "ptmx"),
];

/// Fills a tmpfs that was just made for /dev. Nothing of the image is in it, so plain names below the current
/// directory lead nowhere else. Leaves the current directory at the host's root.
pub fn populate(dev: BorrowedFd<'_>) -> Result<()> {
    rustix::process::fchdir(dev).named(|| "fchdir(/dev)".to_owned())?;
    for name in NODES {
        file_here(name)?;
        mount::bind_file_here(&Path::new("/dev").join(name), name)?;
    }
    for (target, name) in LINKS {
        rustix::fs::symlink(target, name).named(|| format!("symlink(/dev/{name})"))?;
    }
    rustix::process::chdir("/").named(|| "chdir(/)".to_owned())?;
    Ok(())
}

/// An empty file for something to be bound on.
pub fn file_here(name: &str) -> sys::Result<()> {
    rustix::fs::mknodat(CWD, name, FileType::RegularFile, Mode::from_raw_mode(0o666), 0)
        .named(|| format!("mknod(/dev/{name})"))
}
