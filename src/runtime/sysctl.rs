//! Kernel parameters of the container's own namespaces.
//!
//! Runs in: the container's namespaces, before the root is changed.

use crate::error::Advise;
use crate::sys::mount::{self, Attr};
use crate::sys::{Named, path};
use anyhow::{Context, Result, ensure};
use oci_spec::runtime::Spec;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// The annotation that names those which a container can do without.
pub const USUAL_ANNOTATION: &str = "rbox.sysctl.usual";

/// Writes them through `made`, a new proc that is not attached yet, or through one that never will be: nobody can have put
/// something else at these names (CVE-2025-52881). A container with the host's processes cannot have a new one; the host's
/// own, which is still there, shows whoever looks the parameters of its own namespaces, too.
pub fn write(spec: &Spec, made: Option<BorrowedFd<'_>>) -> Result<()> {
    let Some(values) = spec.linux().as_ref().and_then(|linux| linux.sysctl().as_ref()) else { return Ok(()) };
    if values.is_empty() {
        return Ok(());
    }
    let own;
    let proc = match made {
        Some(made) => made,
        None => {
            own = new_or_hosts().context("sysctl")?;
            own.as_fd()
        }
    };
    let usual =
        spec.annotations().as_ref().and_then(|all| all.get(USUAL_ANNOTATION)).map(String::as_str).unwrap_or_default();
    for (key, value) in values {
        match set(proc, key, value) {
            // A kernel without it, or an outer container that keeps /proc/sys read-only.
            Err(error) if usual.split(' ').any(|one| one == key) && is_refusal(&error) => {}
            written => written.with_context(|| format!("sysctl {key}"))?,
        }
    }
    Ok(())
}

fn is_refusal(error: &anyhow::Error) -> bool {
    matches!(crate::sys::errno(error), Some(Errno::ROFS | Errno::ACCESS | Errno::PERM | Errno::NOENT))
}

fn new_or_hosts() -> crate::sys::Result<OwnedFd> {
    match mount::new_filesystem("proc", &[], Attr::empty()) {
        Err(error) if error.errno == Errno::PERM => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open("/proc", flags, Mode::empty()).named(|| "open(/proc)".to_owned())
        }
        made => made,
    }
}

fn set(proc: BorrowedFd<'_>, key: &str, value: &str) -> Result<()> {
    // Interface names may have dots, so a key may be written with slashes instead (sysctl(8)).
    ensure!(!key.split('/').any(|part| matches!(part, "" | "." | "..")), "not the name of a parameter");
    ensure!(!value.is_empty(), "no value");
    let relative = if key.contains('/') { key.to_owned() } else { key.replace('.', "/") };
    let file = path::open_in_without_links(proc, &Path::new("sys").join(relative), OFlags::WRONLY).hint(|| {
        "this parameter does not belong to one of the container's namespaces, or this kernel has none".to_owned()
    })?;
    rustix::io::write(&file, value.as_bytes()).named(|| format!("write({value})"))?;
    Ok(())
}
