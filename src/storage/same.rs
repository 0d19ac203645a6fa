//! Whether two trees are the same: to tell a damaged layer from a whole one.
//!
//! Runs in: a user and mount namespace of its own (`storage/sandbox.rs`), as root of the container's ids.

use super::compression::BUFFER;
use super::whiteout::OPAQUE_ATTRIBUTE;
use super::xattrs;
use crate::sys::Named;
use crate::sys::path::open_in_without_links;
use anyhow::Result;
use rustix::fs::{AtFlags, Dir, FileType, OFlags, Stat};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The first difference between two trees: a path, and what is different there.
pub fn difference(a: BorrowedFd<'_>, b: BorrowedFd<'_>) -> Result<Option<String>> {
    let mut todo = vec![PathBuf::new()];
    while let Some(path) = todo.pop() {
        let (dir_a, dir_b) = (open(a, &path)?, open(b, &path)?);
        if opaque(&dir_a)? != opaque(&dir_b)? {
            return Ok(Some(said(&path, "opaque or not")));
        }
        let (names, others) = (names(&dir_a)?, names(&dir_b)?);
        if let Some(name) = names.symmetric_difference(&others).next() {
            return Ok(Some(said(&path.join(name), "there or not")));
        }
        for name in names {
            let inner = path.join(&name);
            let (stat_a, stat_b) = (stat(&dir_a, &name)?, stat(&dir_b, &name)?);
            let what = match kind(&stat_a) {
                _ if about(&stat_a) != about(&stat_b) => Some("kind, mode, owner, size or time"),
                FileType::Directory => {
                    todo.push(inner.clone());
                    None
                }
                FileType::RegularFile => contents(&dir_a, &dir_b, &name)?,
                FileType::Symlink => (target(&dir_a, &name)? != target(&dir_b, &name)?).then_some("target"),
                _ => None,
            };
            if let Some(what) = what {
                return Ok(Some(said(&inner, what)));
            }
        }
    }
    Ok(None)
}

fn said(path: &Path, what: &str) -> String {
    format!("/{}: {what}", path.display())
}

fn open(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    Ok(open_in_without_links(root, path, flags)?)
}

/// There is no /proc here, by which `whiteout::is_opaque` goes.
fn opaque(dir: &OwnedFd) -> Result<Option<Vec<u8>>> {
    let name = OPAQUE_ATTRIBUTE.as_bytes();
    Ok(xattrs::value(dir.as_fd(), name).named(|| format!("getxattr({OPAQUE_ATTRIBUTE})"))?)
}

fn names(dir: &OwnedFd) -> Result<BTreeSet<OsString>> {
    let list = || "read directory".to_owned();
    let mut all = BTreeSet::new();
    for entry in Dir::read_from(dir).named(list)? {
        let name = OsStr::from_bytes(entry.named(list)?.file_name().to_bytes()).to_owned();
        if name != "." && name != ".." {
            all.insert(name);
        }
    }
    Ok(all)
}

fn stat(dir: &OwnedFd, name: &OsStr) -> Result<Stat> {
    Ok(rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
        .named(|| format!("stat({})", name.to_string_lossy()))?)
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// What must be equal. The size of a directory is the file system's own; its time, and that of a whiteout, is of the moment
/// of unpacking where the archive has no entry of its own for it.
fn about(stat: &Stat) -> (u32, u32, u32, i64, u64, i64) {
    let (size, time) = match kind(stat) {
        FileType::Directory => (0, 0),
        FileType::CharacterDevice => (stat.st_size, 0),
        _ => (stat.st_size, stat.st_mtime),
    };
    (stat.st_mode, stat.st_uid, stat.st_gid, size, stat.st_rdev, time)
}

fn target(dir: &OwnedFd, name: &OsStr) -> Result<Vec<u8>> {
    let link =
        rustix::fs::readlinkat(dir, name, Vec::new()).named(|| format!("readlink({})", name.to_string_lossy()))?;
    Ok(link.into_bytes())
}

/// Bytes and attributes.
fn contents(dir_a: &OwnedFd, dir_b: &OwnedFd, name: &OsStr) -> Result<Option<&'static str>> {
    let open =
        |dir: &OwnedFd| -> Result<OwnedFd> { Ok(open_in_without_links(dir.as_fd(), Path::new(name), OFlags::RDONLY)?) };
    let (a, b) = (open(dir_a)?, open(dir_b)?);
    let mut left_out = 0;
    if xattrs::of_image(a.as_fd(), &mut left_out)? != xattrs::of_image(b.as_fd(), &mut left_out)? {
        return Ok(Some("attributes"));
    }
    let (mut buffer_a, mut buffer_b) = (vec![0; BUFFER], vec![0; BUFFER]);
    loop {
        let (length, other) = (fill(&a, &mut buffer_a)?, fill(&b, &mut buffer_b)?);
        if buffer_a[..length] != buffer_b[..other] {
            return Ok(Some("content"));
        }
        if length == 0 {
            return Ok(None);
        }
    }
}

fn fill(file: &OwnedFd, buffer: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match rustix::io::retry_on_intr(|| rustix::io::read(file, &mut buffer[filled..])).named(|| "read".to_owned())? {
            0 => break,
            length => filled += length,
        }
    }
    Ok(filled)
}
