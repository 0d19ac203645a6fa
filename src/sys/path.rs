//! Paths inside a root that somebody else controls, resolved by the kernel: openat2(2) with RESOLVE_IN_ROOT.
//!
//! No name of a container's tree is ever resolved against the host's root: not through `..`, not through an absolute
//! symlink, not through a magic link of /proc (CVE-2021-30465, CVE-2024-21626, CVE-2026-47766).

use super::{Named, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, SeekFrom};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// As many as the kernel follows in one walk.
const MAX_LINKS: usize = 40;

/// What a missing last component becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// An error, ENOENT.
    Fails,
    /// A directory, mode 0755.
    Directory,
    /// An empty file, mode 0644; missing parents become directories.
    File,
}

/// Opens `path` below `root` with `flags`, as if `root` were "/".
pub fn open_in(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    open_with(root, path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
        .named(|| format!("openat2({})", path.display()))
}

/// The same, and a symlink anywhere on the way is an error (ELOOP).
pub fn open_in_without_links(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    open_with(root, path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS)
        .named(|| format!("openat2({})", path.display()))
}

/// The same, and so is a mount point on the way (EXDEV).
pub fn open_in_mount(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    open_with(root, path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV)
        .named(|| format!("openat2({})", path.display()))
}

/// The same as [`open_in`], and whatever leads out of `root`, an absolute symlink among that, is an error (EXDEV).
pub fn open_beneath(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    open_with(root, path, flags, ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS)
        .named(|| format!("openat2({})", path.display()))
}

fn open_with(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    resolve: ResolveFlags,
) -> std::result::Result<OwnedFd, Errno> {
    loop {
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            // A rename or mount went on elsewhere while ".." was resolved; the man page says to try again.
            Err(Errno::AGAIN | Errno::INTR) => continue,
            result => return result,
        }
    }
}

/// A place for a mount: `path` below `root`, made if it is missing. Symlinks are followed inside the root, also
/// dangling ones, whose target is then made, as docker does.
pub fn place_in(root: BorrowedFd<'_>, path: &Path, missing: Missing) -> Result<OwnedFd> {
    match open_in(root, path, OFlags::PATH) {
        Err(error) if error.errno == Errno::NOENT && missing != Missing::Fails => {
            walk_in(root, path, missing).map(|(_, place)| place)
        }
        result => result,
    }
}

/// Walks one component after the other and makes what is not there. Returns also where that is: a path without links,
/// which begins with a dot.
pub fn walk_in(root: BorrowedFd<'_>, path: &Path, missing: Missing) -> Result<(PathBuf, OwnedFd)> {
    let call = || format!("create {}", path.display());
    // What is still to be walked, the next one last; and where the walk stands, as a path without links.
    let mut ahead: Vec<PathBuf> = components(path);
    let mut here = PathBuf::from(".");
    let mut links = 0;
    while let Some(name) = ahead.pop() {
        if name == Path::new("..") {
            here.pop();
            if here.as_os_str().is_empty() {
                here.push(".");
            }
            continue;
        }
        let last = ahead.is_empty();
        let parent =
            open_with(root, &here, OFlags::PATH | OFlags::DIRECTORY, ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS)
                .named(call)?;
        match kind_of(&parent, name.as_os_str()) {
            Ok(FileType::Symlink) => {
                links += 1;
                let link = open_with(
                    root,
                    &here.join(&name),
                    OFlags::PATH,
                    ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
                );
                // ELOOP: a magic link of /proc, whose text is not where it leads.
                if links > MAX_LINKS || matches!(link, Err(Errno::LOOP)) {
                    return Err(Errno::LOOP).named(call);
                }
                let target = rustix::fs::readlinkat(&parent, &name, Vec::new()).named(call)?;
                let target = PathBuf::from(OsStr::from_bytes(target.as_bytes()));
                if target.is_absolute() {
                    here = PathBuf::from(".");
                }
                ahead.extend(components(&target));
                continue;
            }
            Ok(_) => {}
            Err(Errno::NOENT) => {
                let as_asked = last || missing == Missing::Fails;
                make_at(parent.as_fd(), name.as_os_str(), if as_asked { missing } else { Missing::Directory })?;
            }
            Err(errno) => return Err(errno).named(call),
        }
        here.push(name);
    }
    let place = open_with(root, &here, OFlags::PATH, ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS).named(call)?;
    Ok((here, place))
}

/// Makes an entry of a directory; one that is there already is left alone, whatever it is.
pub fn make_at(directory: BorrowedFd<'_>, name: &OsStr, missing: Missing) -> Result<()> {
    let made = match missing {
        Missing::Fails => Err(Errno::NOENT),
        Missing::Directory => rustix::fs::mkdirat(directory, name, Mode::from_raw_mode(0o755)),
        Missing::File => rustix::fs::mknodat(directory, name, FileType::RegularFile, Mode::from_raw_mode(0o644), 0),
    };
    match made {
        Err(Errno::EXIST) => Ok(()),
        made => made.named(|| format!("create {}", name.to_string_lossy())),
    }
}

/// True if an entry of a directory is a symlink.
pub fn is_link_at(directory: BorrowedFd<'_>, name: &OsStr) -> bool {
    rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_symlink())
}

fn components(path: &Path) -> Vec<PathBuf> {
    path.components()
        .rev()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(PathBuf::from(name)),
            Component::ParentDir => Some(PathBuf::from("..")),
            _ => None,
        })
        .collect()
}

fn kind_of(dir: &OwnedFd, name: &OsStr) -> std::result::Result<FileType, Errno> {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| FileType::from_raw_mode(stat.st_mode))
}

/// True if there is nothing in a directory that is open for reading.
pub fn is_empty(directory: &OwnedFd) -> Result<bool> {
    // Somebody may have read there before.
    rustix::fs::seek(directory, SeekFrom::Start(0)).named(|| "lseek".to_owned())?;
    let mut is_empty = true;
    each(directory, |_| {
        is_empty = false;
        false
    })
    .named(|| "getdents".to_owned())?;
    Ok(is_empty)
}

/// The names in a directory, but for those that are not UTF-8. The C library maps and unmaps memory for each directory that it reads;
/// here that is on the stack.
///
/// # Errors
///
/// ENOENT where there is none.
pub fn names(directory: &Path) -> Result<Vec<String>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened =
        rustix::fs::open(directory, flags, Mode::empty()).named(|| format!("open({})", directory.display()))?;
    let mut names = Vec::new();
    each(&opened, |name| {
        names.extend(std::str::from_utf8(name).ok().map(str::to_owned));
        true
    })
    .named(|| format!("getdents({})", directory.display()))?;
    Ok(names)
}

/// Calls `look` for each name in a directory, until it says false.
fn each(directory: &OwnedFd, mut look: impl FnMut(&[u8]) -> bool) -> rustix::io::Result<()> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") && !look(name) {
            break;
        }
    }
    Ok(())
}

/// True if `fd` refers to a directory.
pub fn is_directory(fd: impl AsFd) -> Result<bool> {
    let stat = rustix::fs::fstat(fd).named(|| "fstat".to_owned())?;
    Ok(FileType::from_raw_mode(stat.st_mode).is_dir())
}

/// The contents of a regular file below `root`, at most `limit` bytes; `None` if there is no such file. A fifo, a
/// device or a huge file put there by an image cannot hold rbox up.
pub fn read_in(root: BorrowedFd<'_>, path: &Path, limit: usize) -> Result<Option<Vec<u8>>> {
    let call = || format!("read {}", path.display());
    let file = match open_in(root, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY) {
        Ok(file) => file,
        Err(error) if matches!(error.errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
        Err(error) => return Err(error),
    };
    let stat = rustix::fs::fstat(&file).named(call)?;
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(Errno::INVAL).named(|| format!("read {}: not a regular file", path.display()));
    }
    if stat.st_size as u64 > limit as u64 {
        return Err(Errno::FBIG).named(|| format!("read {}: more than {limit} bytes", path.display()));
    }
    let mut bytes = vec![0; stat.st_size as usize + 1];
    let mut length = 0;
    loop {
        match rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut bytes[length..])).named(call)? {
            0 => break,
            n => length += n,
        }
        if length == bytes.len() {
            if length > limit {
                return Err(Errno::FBIG).named(|| format!("read {}: more than {limit} bytes", path.display()));
            }
            bytes.resize(length * 2, 0);
        }
    }
    bytes.truncate(length);
    Ok(Some(bytes))
}
