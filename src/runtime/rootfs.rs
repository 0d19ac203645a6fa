//! The root of the container: attached, sealed, made the root.
//!
//! Runs in: the container's namespaces.

use super::mount_options::MountOptions;
use super::overlay as stack;
use super::sync::Sync;
use crate::sys::Named;
use crate::sys::mount::{self, Attr, Propagation};
use crate::sys::path;
use anyhow::{Context, Result, bail};
use oci_spec::runtime::{Mount, Spec};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The root, found while this process still has the caller's own ids.
pub struct Found {
    path: PathBuf,
    /// Where it is attached: the directory itself.
    place: OwnedFd,
    source: Source,
}

enum Source {
    /// A detached copy of what is bound.
    Tree(OwnedFd),
    /// An overlay is still to be mounted; the directory that its place is in, since another user may not search those
    /// above.
    Overlay(OwnedFd),
}

/// The mount on "/" if the Spec has one, as its first.
pub fn overlay(spec: &Spec) -> Option<&Mount> {
    spec.mounts().as_deref()?.first().filter(|mount| mount.destination() == Path::new("/"))
}

/// No mount event of the host comes in and none goes out, unless the Spec wants a slave, or a shared or unbindable
/// root; the kernel has already cut the way out when it copied the mounts into a less privileged namespace
/// (mount_namespaces(7)).
pub fn separate(spec: &Spec) -> Result<()> {
    let wanted = spec.linux().as_ref().and_then(|linux| linux.rootfs_propagation().as_deref());
    let kind = match wanted {
        None | Some("" | "private" | "rprivate") => Propagation::PRIVATE,
        Some("slave" | "rslave" | "shared" | "rshared" | "unbindable" | "runbindable") => Propagation::DOWNSTREAM,
        Some(other) => bail!("linux.rootfsPropagation: {other}: not a propagation"),
    };
    Ok(mount::set_propagation(Path::new("/"), kind | Propagation::REC)?)
}

/// Finds the root and copies its mounts, without touching anything.
pub fn find(spec: &Spec, bundle: &Path) -> Result<Found> {
    let root = spec.root().as_ref().context("root: missing")?;
    let path = bundle.join(root.path());
    let place = mount::place(&path).map_err(|error| match error.errno {
        Errno::NOENT => anyhow::anyhow!("{}: no such directory", path.display()),
        Errno::NOTDIR => anyhow::anyhow!("{}: not a directory", path.display()),
        _ => error.into(),
    });
    let place = place.context("rootfs")?;
    let source = match overlay(spec) {
        Some(_) => Source::Overlay(mount::place(path.parent().context("rootfs: is /")?).context("rootfs")?),
        None => Source::Tree(mount::clone_tree(&path, true).context("rootfs")?),
    };
    Ok(Found { path, place, source })
}

impl Found {
    /// Attaches the root: it must be a mount for pivot_root(2) to take it. Returns its descriptor.
    pub fn attach(self, spec: &Spec, outside: &Sync) -> Result<OwnedFd> {
        let parent = match self.source {
            Source::Overlay(parent) => parent,
            Source::Tree(tree) => {
                mount::attach(tree.as_fd(), self.place.as_fd(), &self.path).context("rootfs")?;
                return Ok(tree);
            }
        };
        let wanted = overlay(spec).context("rootfs: no overlay")?;
        let options = MountOptions::parse(wanted.options().as_deref().unwrap_or_default()).context("rootfs")?;
        if let Some(made) = stack::detached(wanted, &options, outside).context("rootfs")? {
            mount::attach(made.as_fd(), self.place.as_fd(), &self.path).context("rootfs")?;
            return Ok(made);
        }
        let (base, options) = stack::text(&options);
        if let Some(base) = &base {
            rustix::process::chdir(base).named(|| format!("chdir({})", base.display())).context("rootfs")?;
        }
        let target = mount::path_of(self.place.as_fd());
        mount::overlay(&target, &options).map_err(stack::refused).context("rootfs")?;
        // The descriptor is below the new mount; the directory's name leads on top of it.
        let name = self.path.file_name().unwrap_or_default();
        let root = mount::place_at(parent.as_fd(), Path::new(name)).context("rootfs")?;
        stack::check(root.as_fd()).context("rootfs")?;
        Ok(root)
    }
}

/// Covers the masked paths and makes the read-only ones read-only, and the root if the Spec says so.
///
/// Done before the root is changed: what covers a file is then the host's /dev/null and not something that the image
/// put at that name (CVE-2025-31133).
pub fn seal(spec: &Spec, root: BorrowedFd<'_>) -> Result<()> {
    if let Some(linux) = spec.linux() {
        for path in linux.readonly_paths().iter().flatten() {
            make_readonly(root, Path::new(path)).with_context(|| format!("read-only path {path}"))?;
        }
        let mut cover = Cover::default();
        for path in linux.masked_paths().iter().flatten() {
            cover.put(root, Path::new(path)).with_context(|| format!("masked path {path}"))?;
        }
    }
    if spec.root().as_ref().is_some_and(|root| root.readonly() == Some(true)) {
        mount::set_attr(root, Attr::MOUNT_ATTR_RDONLY, Attr::empty(), false, Path::new("/"))?;
    }
    Ok(())
}

/// What is not there needs no protection: kernels differ in what they have.
fn if_there(root: BorrowedFd<'_>, path: &Path) -> Result<Option<OwnedFd>> {
    match path::open_in(root, path, OFlags::PATH) {
        Ok(fd) => Ok(Some(fd)),
        Err(error) if matches!(error.errno, Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn make_readonly(root: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let Some(place) = if_there(root, path)? else { return Ok(()) };
    let copy = mount::clone_tree_of(place.as_fd(), true)?;
    mount::attach(copy.as_fd(), place.as_fd(), path)?;
    Ok(mount::set_attr(copy.as_fd(), Attr::MOUNT_ATTR_RDONLY, Attr::empty(), false, path)?)
}

/// What masked paths are covered with: mounts that are attached already, of which the next ones are copies.
#[derive(Default)]
struct Cover {
    /// An empty read-only tmpfs.
    directory: Option<OwnedFd>,
    /// The host's null device.
    file: Option<OwnedFd>,
}

impl Cover {
    fn put(&mut self, root: BorrowedFd<'_>, path: &Path) -> Result<()> {
        let Some(place) = if_there(root, path)? else { return Ok(()) };
        let (cached, make): (_, fn() -> Result<OwnedFd>) =
            if path::is_directory(&place)? { (&mut self.directory, empty_directory) } else { (&mut self.file, null) };
        let cover = match cached {
            Some(attached) => mount::clone_tree_of(attached.as_fd(), false)?,
            None => make()?,
        };
        mount::attach(cover.as_fd(), place.as_fd(), path)?;
        cached.get_or_insert(cover);
        Ok(())
    }
}

fn empty_directory() -> Result<OwnedFd> {
    let attr = Attr::MOUNT_ATTR_RDONLY | Attr::MOUNT_ATTR_NOSUID | Attr::MOUNT_ATTR_NODEV | Attr::MOUNT_ATTR_NOEXEC;
    Ok(mount::new_filesystem("tmpfs", &[("source", Some("tmpfs"))], attr)?)
}

fn null() -> Result<OwnedFd> {
    let null = mount::clone_tree(Path::new("/dev/null"), false)?;
    let stat = rustix::fs::fstat(&null).named(|| "fstat(/dev/null)".to_owned())?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind != FileType::CharacterDevice || stat.st_rdev != rustix::fs::makedev(1, 3) {
        bail!("/dev/null of the host is not the null device");
    }
    Ok(null)
}

/// Makes `root` the root of this mount namespace and drops all else.
pub fn pivot(spec: &Spec, root: BorrowedFd<'_>) -> Result<()> {
    rustix::process::fchdir(root).named(|| "fchdir(rootfs)".to_owned())?;
    mount::pivot_root_here()?;
    let wanted = spec.linux().as_ref().and_then(|linux| linux.rootfs_propagation().as_deref());
    let kind = match wanted {
        Some("shared" | "rshared") => Propagation::SHARED,
        Some("unbindable" | "runbindable") => Propagation::UNBINDABLE,
        _ => return Ok(()),
    };
    let rec = if wanted.is_some_and(|word| word.starts_with('r')) { Propagation::REC } else { Propagation::empty() };
    Ok(mount::set_propagation(Path::new("/"), kind | rec)?)
}
