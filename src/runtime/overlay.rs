//! Overlays: by the kernel, or by fuse-overlayfs where that refuses.
//!
//! Runs in: the container's namespaces, before the root is changed.

use super::mount_options::MountOptions;
use super::sync::{Message, Sync};
use crate::error::Advise;
use crate::sys::mount::{self, Attr};
use crate::sys::{CallError, Named};
use anyhow::{Context, Result};
use oci_spec::runtime::Mount;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The type of an overlay that fuse-overlayfs serves, as mount(8) shows it. Other runtimes do not know it.
pub const FUSE: &str = "fuse.fuse-overlayfs";

/// What mount(2) takes, less the NUL; the rest it cuts off without a word.
const MAX_TEXT: usize = 4095;
/// What fsconfig(2) takes of one value.
const MAX_VALUE: usize = 255;

/// Why an overlay may be refused.
const HINT: &str = "an overlay without root needs Linux 5.11 and an upper directory on a file system with user xattrs\n(not NFS, not another overlay)";

/// An overlay that cannot be had in this way. There are others.
#[derive(Debug)]
pub struct Refused {
    /// The call and why it failed.
    pub said: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said)
    }
}

impl std::error::Error for Refused {}

/// Tells a refusal of the kernel's from what is wrong with the directories.
pub fn refused(error: CallError) -> anyhow::Error {
    let is_refusal = matches!(
        error.errno,
        Errno::INVAL
            | Errno::PERM
            | Errno::ACCESS
            | Errno::NODEV
            | Errno::NOSYS
            | Errno::OPNOTSUPP
            | Errno::STALE
            | Errno::XDEV
            | Errno::ROFS
            | Errno::CONNABORTED
            | Errno::NOTCONN
    );
    let hinted: Result<()> =
        if is_refusal { Err(Refused { said: error.to_string() }).hint(|| HINT.to_owned()) } else { Err(error.into()) };
    hinted.err().unwrap_or_else(|| anyhow::anyhow!("refused"))
}

/// An overlay that cannot be written to is none: the kernel mounts it so where the upper file system lacks something.
pub fn check(mounted: BorrowedFd<'_>) -> Result<()> {
    let about = rustix::fs::fstatvfs(mounted).named(|| "fstatvfs(overlay)".to_owned()).map_err(refused)?;
    if about.f_flag.contains(StatVfsMountFlags::RDONLY) {
        let said = "mount(overlay): read-only, for the upper directory's file system lacks something".to_owned();
        return Err(Refused { said }).hint(|| HINT.to_owned());
    }
    Ok(())
}

/// True if this is a mount for this room.
pub fn is_overlay(mount: &Mount) -> bool {
    matches!(mount.typ().as_deref(), Some("overlay" | FUSE))
}

/// The options for mount(2), and the directory in which they are to be read: one page is all that it takes, and whole
/// paths of many layers do not fit in, so they are named from the directory that they have in common.
pub fn text(options: &MountOptions) -> (Option<PathBuf>, String) {
    let lower = options.data.iter().find(|(key, _)| key == "lowerdir").and_then(|(_, value)| value.as_deref());
    // Names with escapes stay as they are.
    let Some(layers) = lower.filter(|lower| !lower.contains('\\')) else { return (None, options.joined()) };
    let layers: Vec<&Path> = layers.split(':').map(Path::new).collect();
    let Some(base) = layers[0]
        .ancestors()
        .skip(1)
        .find(|base| base.is_absolute() && layers.iter().all(|layer| layer.starts_with(base)))
    else {
        return (None, options.joined());
    };
    let names: Vec<&str> =
        layers.iter().filter_map(|layer| layer.strip_prefix(base).ok()).filter_map(Path::to_str).collect();
    let mut short = options.clone();
    for (key, value) in &mut short.data {
        if key == "lowerdir" {
            *value = Some(names.join(":"));
        }
    }
    (Some(base.to_owned()), short.joined())
}

/// Where the work directory of the overlay before is until somebody has time to remove it: beside the new one.
pub const OLD: &str = "old";

/// Puts aside what an overlay before has left in the work directory. The kernel removes it otherwise, while it mounts, and on
/// some disks a directory takes longer to go than an overlay to come.
pub fn clear_work(mount: &Mount) {
    let options = mount.options().iter().flatten();
    for work in options.filter_map(|option| option.strip_prefix("workdir=")) {
        let work = unescaped(work);
        let inner = work.join("work");
        // Where it may not be moved it may be empty. If there is anything in it, that is a matter for the kernel.
        if rustix::fs::rename(&inner, work.with_file_name(OLD)).is_err() {
            let _ = rustix::fs::unlinkat(CWD, inner, AtFlags::REMOVEDIR);
        }
    }
}

/// An overlay that mount(2) cannot make, attached nowhere yet: of more layers than it takes, or one that fuse-overlayfs
/// serves. `None` for all others.
pub fn detached(mount: &Mount, options: &MountOptions, outside: &Sync) -> Result<Option<OwnedFd>> {
    if mount.typ().as_deref() == Some(FUSE) {
        return served(mount, outside).map(Some);
    }
    if text(options).1.len() <= MAX_TEXT {
        return Ok(None);
    }
    stacked(options).map(Some)
}

/// Layers one by one (`lowerdir+`, overlayfs.rst, Linux 6.8). An older kernel refuses the word.
fn stacked(options: &MountOptions) -> Result<OwnedFd> {
    // Held until the filesystem is made: long names are given by their descriptors.
    let mut held = Vec::new();
    let mut name = |path: PathBuf| -> Result<String> {
        match path.to_str() {
            Some(short) if short.len() <= MAX_VALUE => Ok(short.to_owned()),
            _ => {
                let place = mount::place(&path)?;
                let short = mount::path_of(place.as_fd()).display().to_string();
                held.push(place);
                Ok(short)
            }
        }
    };
    let mut pairs: Vec<(&str, Option<String>)> = Vec::new();
    for (key, value) in &options.data {
        match (key.as_str(), value) {
            ("lowerdir", Some(value)) => {
                for layer in layers(value) {
                    pairs.push(("lowerdir+", Some(name(layer)?)));
                }
            }
            ("upperdir" | "workdir", Some(value)) => pairs.push((key, Some(name(unescaped(value))?))),
            _ => pairs.push((key, value.clone())),
        }
    }
    let count = pairs.iter().filter(|(key, _)| *key == "lowerdir+").count();
    let pairs: Vec<(&str, Option<&str>)> = pairs.iter().map(|(key, value)| (*key, value.as_deref())).collect();
    mount::new_filesystem("overlay", &pairs, Attr::empty())
        .map_err(refused)
        .with_context(|| format!("an overlay of {count} layers"))
        .hint(|| "so many layers at once need Linux 6.8; more than 500 are too many for any".to_owned())
}

/// The directories of `lowerdir`, the topmost first.
pub fn layers(text: &str) -> Vec<PathBuf> {
    let mut layers = vec![String::new()];
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (c, layers.last_mut()) {
            (':', _) => layers.push(String::new()),
            (c, Some(layer)) => layer.extend(if c == '\\' { characters.next() } else { Some(c) }),
            _ => {}
        }
    }
    layers.into_iter().map(PathBuf::from).collect()
}

/// A directory without the escapes that options need.
pub fn unescaped(text: &str) -> PathBuf {
    let mut path = String::new();
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        path.extend(if c == '\\' { characters.next() } else { Some(c) });
    }
    path.into()
}

/// An overlay by fuse-overlayfs, which outside starts for it. The connection belongs to this user and mount namespace, so
/// it ends with the container, and fuse-overlayfs with it; the payload never sees its process.
fn served(mount: &Mount, outside: &Sync) -> Result<OwnedFd> {
    let open = |path: &str, flags: OFlags| {
        rustix::fs::openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty()).named(|| format!("open({path})"))
    };
    let device = open("/dev/fuse", OFlags::RDWR).map_err(refused)?;
    let number = device.as_raw_fd().to_string();
    let pairs = [
        ("source", Some("fuse-overlayfs")),
        ("subtype", Some("fuse-overlayfs")),
        ("fd", Some(number.as_str())),
        // A directory.
        ("rootmode", Some("40000")),
        ("user_id", Some("0")),
        ("group_id", Some("0")),
        // The kernel checks modes, for whoever is in this user namespace.
        ("default_permissions", None),
        ("allow_other", None),
    ];
    let mounted = mount::new_filesystem("fuse", &pairs, Attr::empty()).map_err(refused)?;
    let namespace = open("/proc/self/ns/user", OFlags::RDONLY)?;
    outside.send(&Message::Namespace, Some(namespace.as_fd()))?;
    outside.send(&Message::Serve(mount.destination().clone()), Some(device.as_fd()))?;
    // If fuse-overlayfs ends, nobody else must keep the connection alive.
    drop((device, namespace));
    outside.expect(&Message::Serving)?;
    check(mounted.as_fd())?;
    Ok(mounted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(lower: &str) -> (Option<PathBuf>, String) {
        text(&MountOptions::parse(&[format!("lowerdir={lower}"), "upperdir=/u".to_owned()]).expect("valid"))
    }

    #[test]
    fn layers_are_named_from_what_they_have_in_common() {
        for (lower, base, options) in [
            ("/a/l/1/diff:/a/l/2/diff", Some("/a/l"), "lowerdir=1/diff:2/diff,upperdir=/u"),
            ("/a/l/1", Some("/a/l"), "lowerdir=1,upperdir=/u"),
            ("/a:/b/c", Some("/"), "lowerdir=a:b/c,upperdir=/u"),
            ("/a\\:b", None, "lowerdir=/a\\:b,upperdir=/u"),
            ("a:b", None, "lowerdir=a:b,upperdir=/u"),
        ] {
            assert_eq!(text_of(lower), (base.map(PathBuf::from), options.to_owned()));
        }
    }

    #[test]
    fn escapes() {
        assert_eq!(layers("/a\\:b\\\\:/c\\,d"), [Path::new("/a:b\\"), Path::new("/c,d")]);
        assert_eq!(unescaped("/a\\:b\\\\c"), Path::new("/a:b\\c"));
    }
}
