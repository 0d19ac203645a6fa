//! The service manager that a container has told of itself, if it was started by one: `NOTIFY_SOCKET` (sd_notify(3)).

use crate::spec::options::Options;
use crate::spec::sdnotify::SdNotify;
use crate::sys::named_socket;
use anyhow::{Context, Result};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The variable.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// The directory beside the record that the payload's socket is in.
const DIRECTORY: &str = "notify";

/// The way to a service manager.
#[derive(Debug)]
pub struct Notify {
    /// Who tells it.
    pub mode: SdNotify,
    /// Connected to it.
    pub manager: OwnedFd,
    /// The directory for the payload's socket, if it is to have one.
    pub dir: Option<PathBuf>,
}

/// Looks for it, and makes the directory in `dir`. If somebody was named who does not listen, why: the container runs all the same.
pub fn prepare(options: &Options, dir: &Path) -> Result<Option<Notify>> {
    let mode = options.sdnotify.unwrap_or_default();
    let Some(address) = std::env::var_os(VARIABLE).filter(|address| !address.is_empty()) else { return Ok(None) };
    if mode == SdNotify::Ignore {
        return Ok(None);
    }
    let named = || format!("{VARIABLE}={}", Path::new(&address).display());
    let manager = named_socket::datagrams_to(&address).with_context(named)?;
    let dir = (mode == SdNotify::Container).then(|| dir.join(DIRECTORY));
    if let Some(dir) = &dir {
        fs_err::create_dir(dir)?;
    }
    Ok(Some(Notify { mode, manager, dir }))
}
