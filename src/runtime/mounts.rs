//! The Spec's mounts, each attached to a descriptor of its target.
//!
//! Runs in: the container's namespaces, before the root is changed.

use super::devices;
use super::mount_options::{Bind, MountOptions};
use super::overlay;
use super::sync::Sync;
use super::volume::Unfilled;
use crate::error::Advise;
use crate::sys::mount::{self, Attr};
use crate::sys::path::{self, Missing};
use anyhow::{Context, Result, bail};
use oci_spec::runtime::Mount;
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// One mount of the Spec, as far as it could be made without the container's ids.
pub struct Prepared<'a> {
    mount: &'a Mount,
    options: MountOptions,
    made: Made,
}

enum Made {
    /// A detached copy of a bind's source.
    Copy(OwnedFd),
    /// A bind's source that may have to be filled first.
    Volume(Unfilled),
    /// A new filesystem, detached.
    Filesystem(OwnedFd),
    /// Only in place, or only as the container's root.
    Later,
}

/// Takes copies of everything that is to be bound, while this process still has the caller's own ids and groups: once
/// it is root of the user namespace it has given up the supplementary groups that some path may need.
///
/// With `as_root`, new filesystems are made as well. That is work done while newuidmap and newgidmap run, and right
/// only if the caller's own ids are those of the container's root, whom the filesystems' roots are to belong to.
pub fn prepare(mounts: &[Mount], as_root: bool) -> Result<Vec<Prepared<'_>>> {
    mounts
        .iter()
        .map(|mount| prepare_one(mount, as_root).with_context(|| format!("mount {}", mount.destination().display())))
        .collect()
}

fn prepare_one(mount: &Mount, as_root: bool) -> Result<Prepared<'_>> {
    let options = MountOptions::parse(mount.options().as_deref().unwrap_or_default())?;
    let kind = mount.typ().as_deref();
    let made = match options.bind {
        None if kind != Some("bind") => {
            // An option with an id means nothing before the ids are mapped.
            let with_ids = options.data.iter().any(|(key, _)| matches!(key.as_str(), "uid" | "gid"));
            if as_root
                && !with_ids
                && matches!(kind, Some("proc" | "sysfs" | "tmpfs" | "mqueue" | "cgroup" | "cgroup2"))
            {
                Made::Filesystem(fresh(mount, &options)?)
            } else {
                Made::Later
            }
        }
        _ if options.copy_up => {
            Made::Volume(Unfilled::find(mount.source().as_deref().context("a bind without a source")?)?)
        }
        bind => Made::Copy(copy_source(mount, bind == Some(Bind::Recursive))?),
    };
    Ok(Prepared { mount, options, made })
}

fn copy_source(mount: &Mount, recursive: bool) -> Result<OwnedFd> {
    let Some(source) = mount.source() else { bail!("a bind without a source") };
    let copy = mount::clone_tree(source, recursive).map_err(|error| (error.errno, error));
    match copy {
        Ok(copy) => Ok(copy),
        Err((Errno::NOENT, _)) => Err(anyhow::anyhow!("{}: no such file or directory", source.display())),
        Err((Errno::INVAL, error)) if !recursive => Err(error).hint(|| {
            "something is mounted below the source, and only a recursive bind (rbind) may take it along".to_owned()
        }),
        Err((_, error)) => Err(error.into()),
    }
}

/// Fills what is to be filled from the root filesystem, while nothing is mounted in that.
pub fn fill(root: BorrowedFd<'_>, mounts: &mut [Prepared<'_>]) -> Result<()> {
    for prepared in mounts {
        if let Made::Volume(volume) = &prepared.made {
            let target = prepared.mount.destination();
            let filled = volume.fill(root, target).with_context(|| format!("mount {}", target.display()))?;
            prepared.made = Made::Copy(filled);
        }
    }
    Ok(())
}

/// The new proc among them, if there is one.
pub fn new_proc<'a>(mounts: &'a [Prepared<'_>]) -> Option<BorrowedFd<'a>> {
    mounts.iter().find_map(|prepared| match &prepared.made {
        Made::Filesystem(proc) if prepared.mount.typ().as_deref() == Some("proc") => Some(proc.as_fd()),
        _ => None,
    })
}

/// Attaches everything below `root` in the Spec's order.
pub fn attach(root: BorrowedFd<'_>, mounts: Vec<Prepared<'_>>, outside: &Sync) -> Result<()> {
    let mut dev = None;
    let mut readonly = Vec::new();
    for prepared in mounts {
        let target = prepared.mount.destination();
        let mut set = prepared.options.set;
        set.set(Attr::MOUNT_ATTR_RDONLY, set.contains(Attr::MOUNT_ATTR_RDONLY) && is_tmpfs(prepared.mount));
        let place = place(root, dev.as_ref().map(|fd: &OwnedFd| fd.as_fd()), target);
        let attached = place
            .and_then(|place| attach_one(root, place, prepared, outside))
            .with_context(|| format!("mount {}", target.display()))?;
        let Some(attached) = attached else { continue };
        if set.contains(Attr::MOUNT_ATTR_RDONLY) {
            readonly.push((attached.try_clone()?, target));
        }
        if target == Path::new("/dev") {
            devices::populate(attached.as_fd()).context("mount /dev")?;
            dev = Some(attached);
        }
    }
    // Read-only only now: the directories for what is mounted below had to be made.
    for (attached, target) in readonly {
        mount::set_attr(attached.as_fd(), Attr::MOUNT_ATTR_RDONLY, Attr::empty(), false, target)?;
    }
    Ok(())
}

fn is_tmpfs(mount: &Mount) -> bool {
    mount.typ().as_deref() == Some("tmpfs")
}

/// Returns the mount if it is a filesystem of its own.
fn attach_one(
    root: BorrowedFd<'_>,
    place: Place<'_>,
    prepared: Prepared<'_>,
    outside: &Sync,
) -> Result<Option<OwnedFd>> {
    let Prepared { mount, options, made } = prepared;
    let target = mount.destination().as_path();
    let made = match made {
        Made::Copy(source) => {
            let missing = if path::is_directory(&source)? { Missing::Directory } else { Missing::File };
            place.attach(root, source.as_fd(), missing)?;
            finish(source.as_fd(), &options, target)?;
            return Ok(None);
        }
        Made::Filesystem(made) => Some(made),
        Made::Volume(_) => bail!("was not filled"),
        Made::Later => None,
    };
    if overlay::is_overlay(mount) {
        if let Some(made) = overlay::detached(mount, &options, outside)? {
            place.attach(root, made.as_fd(), Missing::Directory)?;
            finish(made.as_fd(), &options, target)?;
            return Ok(None);
        }
        let directory = path::place_in(root, target, Missing::Directory)?;
        rustix::process::fchdir(&directory)?;
        mount::overlay_here(&options.joined()).map_err(overlay::refused)?;
        let attached = path::open_in(root, target, OFlags::PATH | OFlags::DIRECTORY)?;
        overlay::check(attached.as_fd())?;
        finish(attached.as_fd(), &options, target)?;
        return Ok(None);
    }
    let attached = made.map_or_else(|| fresh(mount, &options), Ok)?;
    place.attach(root, attached.as_fd(), Missing::Directory)?;
    let rest = MountOptions { set: Attr::empty(), ..options };
    finish(attached.as_fd(), &rest, target)?;
    Ok(Some(attached))
}

/// Where a mount goes.
enum Place<'a> {
    /// An entry of a directory, not followed if it is a symlink.
    Entry(BorrowedFd<'a>, &'a OsStr),
    /// The same, and the directory was opened for it.
    OwnedEntry(OwnedFd, &'a OsStr),
    /// Wherever the path leads inside the root.
    Inside(&'a Path),
}

/// Finds the place of a mount. Where an image could aim a default mount of rbox at a directory of its choice, a
/// symlink on the way is an error (CVE-2019-19921, CVE-2023-27561, CVE-2026-47766); elsewhere it is followed inside
/// the root, as docker does.
fn place<'a>(root: BorrowedFd<'a>, dev: Option<BorrowedFd<'a>>, target: &'a Path) -> Result<Place<'a>> {
    let guarded = ["/proc", "/sys", "/dev"].iter().any(|prefix| target.starts_with(prefix));
    let (true, Some(parent), Some(name)) = (guarded, target.parent(), target.file_name()) else {
        return Ok(Place::Inside(target));
    };
    match dev {
        _ if parent == Path::new("/") => Ok(Place::Entry(root, name)),
        Some(dev) if parent == Path::new("/dev") => Ok(Place::Entry(dev, name)),
        _ => match path::open_in_without_links(root, parent, OFlags::PATH | OFlags::DIRECTORY) {
            Ok(directory) => Ok(Place::OwnedEntry(directory, name)),
            Err(error) if error.errno == Errno::NOENT => {
                Ok(Place::OwnedEntry(path::place_in(root, parent, Missing::Directory)?, name))
            }
            Err(error) if error.errno == Errno::LOOP => Err(a_link(parent)),
            Err(error) => Err(error.into()),
        },
    }
}

impl Place<'_> {
    /// Attaches a mount there; what is missing is made.
    fn attach(&self, root: BorrowedFd<'_>, mount: BorrowedFd<'_>, missing: Missing) -> Result<()> {
        let (directory, name) = match self {
            Place::Inside(target) => {
                let place = path::place_in(root, target, missing)?;
                return mount::attach(mount, place.as_fd(), target).map_err(|error| {
                    let of_other_kind =
                        path::is_directory(&place).is_ok_and(|is| is != (missing == Missing::Directory));
                    if of_other_kind { other_kind(missing) } else { error.into() }
                });
            }
            Place::Entry(directory, name) => (*directory, *name),
            Place::OwnedEntry(directory, name) => (directory.as_fd(), *name),
        };
        match mount::attach_at(mount, directory, name) {
            Err(error) if error.errno == Errno::NOENT => {
                path::make_at(directory, name, missing)?;
                Ok(mount::attach_at(mount, directory, name)?)
            }
            Err(_) if path::is_link_at(directory, name) => Err(a_link(Path::new(name))),
            result => Ok(result?),
        }
    }
}

/// Only a directory can cover a directory, and only something else a file.
fn other_kind(missing: Missing) -> anyhow::Error {
    match missing {
        Missing::Directory => anyhow::anyhow!("a directory, and what is there in the root filesystem is none"),
        _ => anyhow::anyhow!("a file, and what is there in the root filesystem is a directory"),
    }
}

fn a_link(target: &Path) -> anyhow::Error {
    anyhow::anyhow!("{}: a symlink in the root filesystem where a directory must be", target.display())
}

/// A new filesystem of the kernel's.
fn fresh(mount: &Mount, options: &MountOptions) -> Result<OwnedFd> {
    let mut attr = options.set;
    if is_tmpfs(mount) {
        attr.remove(Attr::MOUNT_ATTR_RDONLY);
    }
    // "cgroup" is what Specs say for whatever the host has; only the unified hierarchy can be mounted in a user
    // namespace.
    let kind = mount.typ().as_deref().unwrap_or("none");
    let kind = if kind == "cgroup" { "cgroup2" } else { kind };
    let mut pairs = options.pairs();
    let source = mount.source().as_deref().and_then(Path::to_str);
    if let Some(source) = source.filter(|source| *source != "none") {
        // Only a name, which mount(8) shows.
        pairs.push(("source", Some(source)));
    }
    match mount::new_filesystem(kind, &pairs, attr) {
        Err(error) if matches!(error.errno, Errno::PERM | Errno::BUSY) && matches!(kind, "proc" | "sysfs") => {
            Err(error).hint(|| hidden_hint(kind))
        }
        // Without a cgroup namespace of its own a container sees the host's.
        Err(error) if matches!(error.errno, Errno::PERM | Errno::BUSY) && kind == "cgroup2" => {
            let tree = mount::clone_tree(Path::new("/sys/fs/cgroup"), true)?;
            mount::set_attr(tree.as_fd(), attr, Attr::empty(), true, mount.destination())?;
            Ok(tree)
        }
        made => Ok(made?),
    }
}

/// The kernel makes a new proc or sysfs only if nothing of the outer one is covered up (mount_too_revealing).
fn hidden_hint(kind: &str) -> String {
    match kind {
        "proc" => "an outer container hides parts of /proc; start that one with --security-opt systempaths=unconfined (docker),\n--security-opt unmask=ALL (podman) or procMount: Unmasked (Kubernetes), or run with --pid host".to_owned(),
        _ => "an outer container hides parts of /sys, or the network namespace is the host's".to_owned(),
    }
}

/// Attributes and propagation of a bind, once it is attached.
fn finish(attached: BorrowedFd<'_>, options: &MountOptions, target: &Path) -> Result<()> {
    if !options.set.is_empty() {
        mount::set_attr(attached, options.set, Attr::empty(), false, target)?;
    }
    if !options.set_recursive.is_empty() {
        mount::set_attr(attached, options.set_recursive, Attr::empty(), true, target)?;
    }
    if let Some((flags, recursive)) = options.propagation {
        mount::set_propagation_of(attached, flags, recursive, target)?;
    }
    Ok(())
}
