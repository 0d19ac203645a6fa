//! Kernel parameters of the container's own namespaces.
//!
//! Runs in: the container's namespaces, before the root is changed.

use crate::error::Advise;
use crate::sys::mount::{self, Attr};
use crate::sys::{Named, path};
use anyhow::{Context, Result, ensure};
use oci_spec::runtime::Spec;
use rustix::fs::OFlags;
use std::os::fd::AsFd;
use std::path::Path;

/// Writes them through a proc of its own that is attached nowhere: nobody can have put something else at these names
/// (CVE-2025-52881).
pub fn write(spec: &Spec) -> Result<()> {
    let Some(values) = spec.linux().as_ref().and_then(|linux| linux.sysctl().as_ref()) else { return Ok(()) };
    if values.is_empty() {
        return Ok(());
    }
    let proc = mount::new_filesystem("proc", &[], Attr::empty()).context("sysctl")?;
    for (key, value) in values {
        set(&proc, key, value).with_context(|| format!("sysctl {key}"))?;
    }
    Ok(())
}

fn set(proc: impl AsFd, key: &str, value: &str) -> Result<()> {
    // Interface names may have dots, so a key may be written with slashes instead (sysctl(8)).
    ensure!(!key.split('/').any(|part| matches!(part, "" | "." | "..")), "not the name of a parameter");
    ensure!(!value.is_empty(), "no value");
    let relative = if key.contains('/') { key.to_owned() } else { key.replace('.', "/") };
    let file =
        path::open_in_without_links(proc.as_fd(), &Path::new("sys").join(relative), OFlags::WRONLY).hint(|| {
            "this parameter does not belong to one of the container's namespaces, or this kernel has none".to_owned()
        })?;
    rustix::io::write(&file, value.as_bytes()).named(|| format!("write({value})"))?;
    Ok(())
}
