//! The mount interface by descriptors: fsopen(2), open_tree(2), move_mount(2), mount_setattr(2).

use super::{Named, Result, check};
use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};
use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

pub use rustix::mount::MountAttrFlags as Attr;
pub use rustix::mount::MountPropagationFlags as Propagation;

/// Changes the propagation of the mount at `path`.
pub fn set_propagation(path: &Path, flags: Propagation) -> Result<()> {
    rustix::mount::mount_change(path, flags).named(|| format!("mount({}, {flags:?})", path.display()))
}

/// A copy of the mount at `path`, and of all below it if `recursive`, that is attached nowhere yet (open_tree(2)).
pub fn clone_tree(path: &Path, recursive: bool) -> Result<OwnedFd> {
    clone_tree_at(CWD, path, recursive, OpenTreeFlags::empty())
}

/// The same for what `fd` refers to.
pub fn clone_tree_of(fd: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd> {
    clone_tree_at(fd, Path::new(""), recursive, OpenTreeFlags::AT_EMPTY_PATH)
}

/// The same for an entry of a directory.
pub fn clone_tree_in(directory: BorrowedFd<'_>, name: &Path, recursive: bool) -> Result<OwnedFd> {
    clone_tree_at(directory, name, recursive, OpenTreeFlags::AT_SYMLINK_NOFOLLOW)
}

fn clone_tree_at(dir: BorrowedFd<'_>, path: &Path, recursive: bool, flags: OpenTreeFlags) -> Result<OwnedFd> {
    let mut flags = flags | OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(dir, path, flags).named(|| format!("open_tree({})", path.display()))
}

/// A new filesystem of the given type with `key=value` or `flag` options, attached nowhere yet.
pub fn new_filesystem(kind: &str, options: &[(&str, Option<&str>)], attr: Attr) -> Result<OwnedFd> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).named(|| format!("fsopen({kind})"))?;
    for (key, value) in options {
        match value {
            Some(value) => rustix::mount::fsconfig_set_string(context.as_fd(), *key, *value),
            None => rustix::mount::fsconfig_set_flag(context.as_fd(), *key),
        }
        .named(|| format!("fsconfig({kind}, {key}{})", value.map(|v| format!("={v}")).unwrap_or_default()))?;
    }
    rustix::mount::fsconfig_create(context.as_fd()).named(|| format!("fsconfig({kind}, create)"))?;
    rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attr).named(|| format!("fsmount({kind})"))
}

/// Attaches a detached mount on what `target` refers to.
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>, name: &Path) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, "", target, "", flags).named(|| format!("move_mount({})", name.display()))
}

/// Attaches a detached mount on an entry of a directory. `name` must be one component; if it is a symlink it is not
/// followed, and the call fails because a symlink is no place for a mount.
pub fn attach_at(mount: BorrowedFd<'_>, directory: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    rustix::mount::move_mount(mount, "", directory, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .named(|| format!("move_mount({})", name.to_string_lossy()))
}

/// Binds the single file `source` of the host on the existing file `target`. For
/// places that rbox itself has just made and nobody else can reach, and for the caller's own root.
pub fn bind_file_here(source: &Path, target: &str) -> Result<()> {
    rustix::mount::mount_bind(source, target).named(|| format!("mount({}, {target}, bind)", source.display()))
}

/// Takes away the mount at `path`; whoever still uses it keeps it.
pub fn detach(path: &Path) -> Result<()> {
    rustix::mount::unmount(path, UnmountFlags::DETACH).named(|| format!("umount2({})", path.display()))
}

/// Mounts an overlay on a directory that the image does not control. Not through fsconfig(2): that takes at most 256 bytes per value, and
/// names of lower directories are longer.
pub fn overlay(target: &Path, options: &str) -> Result<()> {
    let data = CString::new(options).map_err(|_| Errno::INVAL).named(|| "mount(overlay)".to_owned())?;
    rustix::mount::mount("overlay", target, "overlay", rustix::mount::MountFlags::empty(), data.as_c_str())
        .named(|| format!("mount(overlay, {options})"))
}

/// Mounts an overlay on the current directory.
pub fn overlay_here(options: &str) -> Result<()> {
    overlay(Path::new("."), options)
}

/// Sets and clears attributes of an attached mount, and of all below it if `recursive`. Flags that the kernel locked
/// when the mount came from a more privileged namespace stay as they are: only the named bits change.
///
/// mount_setattr(2) is of 5.12; on 5.11 a remount does the same for one mount.
pub fn set_attr(mount: BorrowedFd<'_>, set: Attr, clear: Attr, recursive: bool, name: &Path) -> Result<()> {
    // The access time modes are one field, which is set as a whole (mount_setattr(2)); RELATIME is its 0.
    let times = Attr::from_bits_retain(linux_raw_sys::general::MOUNT_ATTR__ATIME);
    let cleared = if set.intersects(times) { clear | times } else { clear };
    let attr = linux_raw_sys::general::mount_attr {
        attr_set: set.bits().into(),
        attr_clr: cleared.bits().into(),
        propagation: 0,
        userns_fd: 0,
    };
    mount_setattr(mount, &attr, recursive).or_else(|errno| match errno {
        Errno::NOSYS if clear.is_empty() => remount(mount, set, recursive, name),
        errno => Err(errno).named(|| format!("mount_setattr({}, {set:?})", name.display())),
    })
}

/// Sets the propagation of an attached or detached mount.
pub fn set_propagation_of(mount: BorrowedFd<'_>, flags: Propagation, recursive: bool, name: &Path) -> Result<()> {
    let attr = linux_raw_sys::general::mount_attr {
        attr_set: 0,
        attr_clr: 0,
        propagation: (flags - MountPropagationFlags::REC).bits().into(),
        userns_fd: 0,
    };
    match mount_setattr(mount, &attr, recursive) {
        Err(Errno::NOSYS) => {
            let rec = if recursive { MountPropagationFlags::REC } else { MountPropagationFlags::empty() };
            set_propagation(&path_of(mount), flags | rec)
        }
        result => result.named(|| format!("mount_setattr({}, {flags:?})", name.display())),
    }
}

fn mount_setattr(
    mount: BorrowedFd<'_>,
    attr: &linux_raw_sys::general::mount_attr,
    recursive: bool,
) -> std::result::Result<(), Errno> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string and `attr` is a valid struct of the size given; both outlive the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<linux_raw_sys::general::mount_attr>(),
        )
    })
    .map(|_| ())
}

/// Linux 5.11: one remount through the caller's own /proc, with the flags that are there already, which may be locked.
fn remount(mount: BorrowedFd<'_>, set: Attr, recursive: bool, name: &Path) -> Result<()> {
    use rustix::fs::StatVfsMountFlags as Stat;
    use rustix::mount::MountFlags;
    if recursive {
        return Err(Errno::NOSYS).named(|| format!("mount_setattr({}, recursive): needs Linux 5.12", name.display()));
    }
    let there = rustix::fs::fstatvfs(mount).named(|| format!("fstatvfs({})", name.display()))?.f_flag;
    let mut flags = MountFlags::BIND;
    for (stat, attr, flag) in [
        (Stat::RDONLY, MountAttrFlags::MOUNT_ATTR_RDONLY, MountFlags::RDONLY),
        (Stat::NOSUID, MountAttrFlags::MOUNT_ATTR_NOSUID, MountFlags::NOSUID),
        (Stat::NODEV, MountAttrFlags::MOUNT_ATTR_NODEV, MountFlags::NODEV),
        (Stat::NOEXEC, MountAttrFlags::MOUNT_ATTR_NOEXEC, MountFlags::NOEXEC),
        (Stat::NOATIME, MountAttrFlags::MOUNT_ATTR_NOATIME, MountFlags::NOATIME),
        (Stat::RELATIME, MountAttrFlags::MOUNT_ATTR_RELATIME, MountFlags::RELATIME),
    ] {
        if there.contains(stat) || (set.contains(attr) && !attr.is_empty()) {
            flags |= flag;
        }
    }
    rustix::mount::mount_remount(path_of(mount), flags, "").named(|| format!("mount({}, {flags:?})", name.display()))
}

/// A path that leads to what a descriptor refers to, by way of the host's /proc.
pub fn path_of(fd: BorrowedFd<'_>) -> std::path::PathBuf {
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into()
}

/// Makes the current directory the root and drops the old one with all mounts below it.
///
/// `pivot_root(".", ".")` stacks the old root on the new one, so that no directory for it is needed in the image
/// (pivot_root(2), NOTES).
pub fn pivot_root_here() -> Result<()> {
    rustix::process::pivot_root(".", ".").named(|| "pivot_root(.)".to_owned())?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).named(|| "umount2(old root)".to_owned())?;
    rustix::process::chdir("/").named(|| "chdir(/)".to_owned())
}

/// A descriptor of the directory at `path` that serves as a place only.
pub fn place(path: &Path) -> Result<OwnedFd> {
    place_at(CWD, path)
}

/// The same, from another directory than the current one.
pub fn place_at(directory: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::DIRECTORY;
    rustix::fs::openat(directory, path, flags, rustix::fs::Mode::empty()).named(|| format!("open({})", path.display()))
}
