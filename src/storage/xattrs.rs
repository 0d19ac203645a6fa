//! The extended attributes of a file that belong to its image.

use super::owners;
use super::unpack::{MAX_XATTR, shown};
use super::whiteout::OVERLAY_PREFIX;
use crate::sys::Named;
use anyhow::{Result, ensure};
use rustix::fs::XattrFlags;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// The kernel's limit for a list of names (xattr(7)).
const MAX_LIST: usize = 64 * 1024;

/// Names and values.
pub type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// Those of users and file capabilities, without overlay's own. What an archive cannot hold or nobody
/// can read is counted in `left_out`.
///
/// A capability set by root of the user namespace is seen as its first version, without the namespace's root (Linux
/// 4.14, capabilities(7), "File capability extended attribute versioning"), which is what images have.
pub fn of_image(file: BorrowedFd<'_>, left_out: &mut u64) -> Result<Xattrs> {
    let mut found = Vec::new();
    for name in names(file)? {
        if !(name.starts_with(b"user.") || name == b"security.capability") || name.starts_with(b"user.overlay.") {
            continue;
        }
        if name.contains(&b'=') {
            // A record of pax ends its key there.
            *left_out += 1;
            continue;
        }
        match value(file, &name) {
            Ok(Some(value)) => found.push((name, value)),
            Ok(None) => {}
            // Set by root of another namespace, or too long.
            Err(Errno::OVERFLOW | Errno::RANGE) => *left_out += 1,
            Err(errno) => return Err(errno).named(|| format!("getxattr({})", String::from_utf8_lossy(&name)))?,
        }
    }
    Ok(found)
}

/// Gives a file those of an archive: those of users, and its capability where that is worth something. What a disk or a user cannot
/// have is counted and comes back; overlay's own attributes and rbox's are nobody else's to set (`user.overlay.redirect` would
/// lead anywhere).
pub fn set(file: &OwnedFd, xattrs: &Xattrs, with_capability: bool) -> Result<u64> {
    let mut left_out = 0;
    for (name, value) in xattrs {
        let is_ours = name.starts_with(OVERLAY_PREFIX.as_bytes()) || name == owners::ATTRIBUTE.as_bytes();
        let is_capability = name == b"security.capability" && with_capability;
        let can_be = !is_ours && (name.starts_with(b"user.") || is_capability);
        ensure!(value.len() <= MAX_XATTR, "{}: an attribute of {} bytes", shown(name), value.len());
        let set = if can_be {
            rustix::fs::fsetxattr(file, OsStr::from_bytes(name), value, XattrFlags::empty())
        } else {
            Err(Errno::PERM)
        };
        match set {
            Ok(()) => {}
            // security.capability with a damaged value is EINVAL.
            Err(Errno::NOTSUP | Errno::PERM | Errno::INVAL | Errno::RANGE) => left_out += 1,
            Err(errno) => return Err(errno).named(|| format!("setxattr({})", shown(name)))?,
        }
    }
    Ok(left_out)
}

/// One attribute; `None` if it is not there.
pub fn value(file: BorrowedFd<'_>, name: &[u8]) -> std::result::Result<Option<Vec<u8>>, Errno> {
    let name = OsStr::from_bytes(name);
    let mut small = [0; 256];
    match rustix::fs::fgetxattr(file, name, &mut small) {
        Ok(length) => return Ok(Some(small[..length].to_vec())),
        Err(Errno::RANGE) => {}
        Err(Errno::NODATA | Errno::NOTSUP) => return Ok(None),
        Err(errno) => return Err(errno),
    }
    let mut large = vec![0; MAX_XATTR];
    match rustix::fs::fgetxattr(file, name, &mut large) {
        Ok(length) => {
            large.truncate(length);
            Ok(Some(large))
        }
        Err(Errno::NODATA) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn names(file: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>> {
    let mut small = [0; 1024];
    let split =
        |list: &[u8]| list.split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect();
    match rustix::fs::flistxattr(file, &mut small) {
        Ok(length) => return Ok(split(&small[..length])),
        Err(Errno::NOTSUP) => return Ok(vec![]),
        Err(Errno::RANGE) => {}
        Err(errno) => return Err(errno).named(|| "listxattr".to_owned())?,
    }
    let mut large = vec![0; MAX_LIST];
    let length = rustix::fs::flistxattr(file, &mut large).named(|| "listxattr".to_owned())?;
    Ok(split(&large[..length]))
}
