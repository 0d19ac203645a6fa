//! What the engine must know of a root filesystem before there is a Spec.

use super::{images, overlay};
use crate::spec::options::{IdMode, Overlays};
use crate::storage::{self, layers, whiteout};
use crate::sys::{self, Named, path};
use crate::userns::idmap::IdMaps;
use anyhow::{Context, Result, anyhow};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

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

/// Reads the two files as if `rootfs` were "/": a symlink in it leads nowhere else. `maps`: the ids of its files.
pub fn accounts(rootfs: &Path, maps: Option<&IdMaps>) -> Result<Accounts> {
    let root = open(rootfs)?;
    both(|file| match read(&root, file) {
        Err(error) if is_closed(&error) => by_root(&[rootfs.to_owned()], file, maps),
        found => Ok(text(found.with_context(|| named(rootfs))?)),
    })
}

/// Reads them from layers, the topmost first, as an overlay of them would show them.
pub fn accounts_in_layers(layers: &[PathBuf], maps: Option<&IdMaps>) -> Result<Accounts> {
    both(|file| match in_layers(layers, file) {
        Err(error) if is_closed(&error) => by_root(layers, file, maps),
        found => found,
    })
}

fn both(read: impl Fn(&str) -> Result<Option<String>>) -> Result<Accounts> {
    Ok(Accounts { passwd: read("/etc/passwd")?, group: read("/etc/group")? })
}

fn in_layers(layers: &[PathBuf], file: &str) -> Result<Option<String>> {
    // Where the kernel has no overlay, whiteouts may be files.
    let files = std::cell::LazyCell::new(|| overlay::found() != Overlays::Kernel);
    for layer in layers {
        let root = open(layer)?;
        if let Some(found) = text(read(&root, file).with_context(|| named(layer))?) {
            return Ok(Some(found));
        }
        if hides(&root, file)? || (*files && deletes(&root, file)) {
            break;
        }
    }
    Ok(None)
}

/// True if the caller himself may not look: a file or a directory belongs to another of the container's users, or the file
/// is a whiteout, which has no permissions.
fn is_closed(error: &anyhow::Error) -> bool {
    sys::errno(error) == Some(Errno::ACCESS)
}

/// What root of the container would read.
fn by_root(layers: &[PathBuf], file: &str, maps: Option<&IdMaps>) -> Result<Option<String>> {
    let store = match maps {
        Some(maps) => images::store(maps)?,
        None => images::default_store(IdMode::Auto)?,
    };
    storage::file::read(&store, layers, Path::new(file), MAX_ACCOUNTS).with_context(|| format!("read {file}"))
}

/// True if what lower layers have at a path is deleted by this one: a whiteout on the way, or an opaque directory.
fn hides(root: &OwnedFd, file: &str) -> Result<bool> {
    let file = Path::new(file);
    for path in file.ancestors().take_while(|path| path.parent().is_some()) {
        match path::open_in_without_links(root.as_fd(), path, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(entry) => {
                let stat = rustix::fs::fstat(&entry).named(|| format!("stat({})", path.display()))?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::Directory || layers::is_opaque(&entry)? {
                    return Ok(true);
                }
            }
            Err(error) if error.errno == Errno::NOENT => {}
            // Something in the way that is no directory.
            Err(error) if matches!(error.errno, Errno::NOTDIR | Errno::LOOP) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

/// The same for whiteouts that are files.
fn deletes(root: &OwnedFd, file: &str) -> bool {
    let on_the_way = Path::new(file).ancestors().filter_map(|path| Some((path.parent()?, path.file_name()?)));
    on_the_way.into_iter().any(|(parent, name)| {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        path::open_in_without_links(root.as_fd(), parent, flags).is_ok_and(|parent| {
            [whiteout::file_for(name), whiteout::OPAQUE.into()].iter().any(|file| whiteout::has(parent.as_fd(), file))
        })
    })
}

fn read(root: &OwnedFd, file: &str) -> Result<Option<Vec<u8>>> {
    match path::read_in(root.as_fd(), Path::new(file), MAX_ACCOUNTS) {
        // A whiteout is no regular file.
        Err(error) if error.errno == Errno::INVAL && hides(root, file)? => Ok(None),
        result => Ok(result?),
    }
}

fn text(bytes: Option<Vec<u8>>) -> Option<String> {
    bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn named(rootfs: &Path) -> String {
    format!("rootfs {}", rootfs.display())
}

fn open(rootfs: &Path) -> Result<OwnedFd> {
    sys::mount::place(rootfs)
        .map_err(|error| match error.errno {
            Errno::NOENT => anyhow!("{}: no such directory", rootfs.display()),
            Errno::NOTDIR => anyhow!("{}: not a directory", rootfs.display()),
            _ => error.into(),
        })
        .context("rootfs")
}
