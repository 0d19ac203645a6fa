//! What a layer on disk deletes from those below it.
//!
//! Overlay's forms are a character device 0/0 and the attribute `user.overlay.opaque` (overlayfs.rst, "whiteouts and
//! opaque directories", with the mount option userxattr). Where a file system has no room for them, as another overlay
//! has none, the archive's own are kept: `.wh.NAME` and `.wh..wh..opq` (OCI image-spec, layer.md). There the kernel
//! refuses an overlay, too; fuse-overlayfs knows them, and so do rbox's copies.

use crate::sys::{self, Named};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, XattrFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// What the attributes that overlay keeps for itself begin with.
pub const OVERLAY_PREFIX: &str = "user.overlay.";
/// On a directory: what lower layers have in it is hidden.
pub const OPAQUE_ATTRIBUTE: &str = "user.overlay.opaque";
/// The same in archives.
pub const OPAQUE: &str = ".wh..wh..opq";
/// Before the name of what is deleted, in archives.
pub const PREFIX: &str = ".wh.";

/// The name by which an archive deletes this one.
pub fn file_for(name: &OsStr) -> OsString {
    OsString::from_vec([PREFIX.as_bytes(), name.as_bytes()].concat())
}

/// Deletes a name that this layer does not have. True if only the archive's form was to be had.
pub fn make(directory: BorrowedFd<'_>, name: &OsStr) -> sys::Result<bool> {
    let call = || format!("mknod({}, c 0 0)", name.to_string_lossy());
    match rustix::fs::mknodat(directory, name, FileType::CharacterDevice, Mode::empty(), 0) {
        Ok(()) => Ok(false),
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::INVAL) => {
            file(directory, &file_for(name)).named(call)?;
            Ok(true)
        }
        Err(errno) => Err(errno).named(call),
    }
}

/// Hides what lower layers have in a directory.
pub fn set_opaque(directory: &OwnedFd) -> sys::Result<()> {
    match rustix::fs::fsetxattr(directory, OPAQUE_ATTRIBUTE, b"y", XattrFlags::empty()) {
        Err(Errno::NOTSUP | Errno::PERM) => file(directory.as_fd(), OsStr::new(OPAQUE)),
        set => set,
    }
    .named(|| format!("setxattr({OPAQUE_ATTRIBUTE})"))
}

/// True for a directory that hides what is below it in lower layers.
pub fn is_opaque(directory: &impl AsFd) -> sys::Result<bool> {
    let mut value = [0; 1];
    // A descriptor that only names the directory has no attributes but by way of /proc, which a sandbox does not have.
    let by_name = || format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd());
    let found = match rustix::fs::fgetxattr(directory, OPAQUE_ATTRIBUTE, &mut value) {
        Err(Errno::BADF) => rustix::fs::getxattr(by_name(), OPAQUE_ATTRIBUTE, &mut value),
        found => found,
    };
    match found {
        Ok(length) => Ok(length == 1 && value == *b"y"),
        Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE) => Ok(false),
        Err(errno) => Err(errno).named(|| format!("getxattr({OPAQUE_ATTRIBUTE})")),
    }
}

/// True if a directory has this file of an archive's form.
pub fn has(directory: BorrowedFd<'_>, file: &OsStr) -> bool {
    rustix::fs::statat(directory, file, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

fn file(directory: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::RUSR | Mode::RGRP | Mode::ROTH).map(drop)
}
