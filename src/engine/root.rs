//! What the engine must know of a root filesystem before there is a Spec.

use crate::sys::{self, path};
use anyhow::{Context, Result, anyhow};
use rustix::io::Errno;
use std::os::fd::AsFd;
use std::path::Path;

/// More than any real one; an image cannot make rbox read without end.
const MAX_ACCOUNTS: usize = 16 * 1024 * 1024;

/// /etc/passwd and /etc/group of a root filesystem, `None` where one is missing.
#[derive(Debug, Default)]
pub struct Accounts {
    /// Users.
    pub passwd: Option<String>,
    /// Groups.
    pub group: Option<String>,
}

/// Reads the two files as if `rootfs` were "/": a symlink in it leads nowhere else.
pub fn accounts(rootfs: &Path) -> Result<Accounts> {
    let root = sys::mount::place(rootfs)
        .map_err(|error| match error.errno {
            Errno::NOENT => anyhow!("{}: no such directory", rootfs.display()),
            Errno::NOTDIR => anyhow!("{}: not a directory", rootfs.display()),
            _ => error.into(),
        })
        .context("rootfs")?;
    let read = |file: &str| -> Result<Option<String>> {
        let bytes = path::read_in(root.as_fd(), Path::new(file), MAX_ACCOUNTS)
            .with_context(|| format!("rootfs {}", rootfs.display()))?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    };
    Ok(Accounts { passwd: read("/etc/passwd")?, group: read("/etc/group")? })
}
