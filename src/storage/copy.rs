//! Copies of trees: by descriptors, following nothing, with all that a file is.
//!
//! Runs in: whatever namespaces its caller is in, as root of the ids that the files have. Source and target are
//! directories that somebody else has filled: every name is resolved by the kernel below them.

use super::remove;
use super::whiteout::{self, OVERLAY_PREFIX};
use crate::sys::{Named, path};
use anyhow::{Context, Result, ensure};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const CHUNK: usize = 256 * 1024;

/// Copies everything in the directory `source` into the directory `target`, which gets the owner, mode, attributes and
/// times of `source`, too. What another filesystem has mounted in `source` stays away.
///
/// What the caller may not read is there, and empty. Attributes that the disk or the caller cannot have are left out, and a
/// device that the caller cannot make becomes an empty file, as when an image is unpacked.
pub fn tree(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    copy(source, target, false)
}

/// The same for a layer on top of those that are in `target` already: its whiteouts delete and its opaque directories
/// hide what was there, in either form (`whiteout.rs`). Overlay's own attributes are not copied.
pub fn layer(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    copy(source, target, true)
}

fn copy(source: BorrowedFd<'_>, target: BorrowedFd<'_>, is_layer: bool) -> Result<()> {
    let mut copier = Copier {
        source,
        target,
        itself: identity(&stat_of(target)?),
        links: HashMap::new(),
        directories: Vec::new(),
        left: vec![PathBuf::from(".")],
        clones: true,
        is_layer,
    };
    while let Some(directory) = copier.left.pop() {
        copier.directory(&directory).with_context(|| shown(&directory))?;
    }
    copier.finish()
}

struct Copier<'a> {
    source: BorrowedFd<'a>,
    target: BorrowedFd<'a>,
    /// The target itself, which may lie in the source.
    itself: (u64, u64),
    /// Where in the target a file went that has several names.
    links: HashMap<(u64, u64), PathBuf>,
    /// Whatever is made in a directory changes its times, and its mode may forbid it: both are set at the end.
    directories: Vec<(PathBuf, Mode, Timestamps)>,
    left: Vec<PathBuf>,
    /// Until a file system says that it cannot share blocks.
    clones: bool,
    /// What begins with `.wh.` deletes.
    is_layer: bool,
}

impl Copier<'_> {
    fn directory(&mut self, path: &Path) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let source = match path::open_in_mount(self.source, path, flags) {
            // Something is mounted there.
            Err(error) if error.errno == Errno::XDEV => return Ok(()),
            // The caller may not look into it, and there will be nothing in it.
            Err(error) if error.errno == Errno::ACCESS => return Ok(()),
            source => source?,
        };
        let stat = stat_of(source.as_fd())?;
        let target = path::open_in_mount(self.target, path, flags)?;
        let hides = || {
            Ok::<_, anyhow::Error>(
                whiteout::is_opaque(&source)? || whiteout::has(source.as_fd(), OsStr::new(whiteout::OPAQUE)),
            )
        };
        if self.is_layer && hides()? {
            remove::contents(target.as_fd())?;
        }
        chown(&stat, |uid, gid| rustix::fs::fchown(&target, uid, gid))?;
        attributes(&source, &target)?;
        self.directories.push((path.to_owned(), Mode::from_raw_mode(stat.st_mode), times(&stat)));
        let list = || "read directory".to_owned();
        for item in Dir::read_from(&source).named(list)? {
            let item = item.named(list)?;
            let name = OsStr::from_bytes(item.file_name().to_bytes());
            if name != "." && name != ".." {
                self.entry(source.as_fd(), target.as_fd(), path, name)
                    .with_context(|| name.to_string_lossy().into_owned())?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, source: BorrowedFd<'_>, target: BorrowedFd<'_>, parent: &Path, name: &OsStr) -> Result<()> {
        let stat = rustix::fs::statat(source, name, AtFlags::SYMLINK_NOFOLLOW).named(|| "stat".to_owned())?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::CharacterDevice && stat.st_rdev == 0 {
            return remove::entry(target, name);
        }
        if let Some(hidden) = name.as_bytes().strip_prefix(whiteout::PREFIX.as_bytes()).filter(|_| self.is_layer) {
            return match hidden.starts_with(whiteout::PREFIX.as_bytes()) {
                true => Ok(()),
                false => remove::entry(target, OsStr::from_bytes(hidden)),
            };
        }
        if kind == FileType::Directory {
            if identity(&stat) != self.itself {
                directory_at(target, name)?;
                self.left.push(parent.join(name));
            }
            return Ok(());
        }
        if stat.st_nlink > 1 && self.link(&stat, target, name)? {
            return Ok(());
        }
        match kind {
            FileType::RegularFile => self.regular(source, target, name)?,
            FileType::Symlink => {
                let link = rustix::fs::readlinkat(source, name, Vec::new()).named(|| "readlink".to_owned())?;
                anew(target, name, "symlink", || rustix::fs::symlinkat(&link, target, name))?;
                at(&stat, target, name)?;
            }
            kind => {
                let mode = Mode::from_raw_mode(stat.st_mode);
                let make = |kind| rustix::fs::mknodat(target, name, kind, mode, stat.st_rdev);
                anew(target, name, "mknod", || match make(kind) {
                    Err(Errno::PERM) => make(FileType::RegularFile),
                    made => made,
                })?;
                at(&stat, target, name)?;
                rustix::fs::chmodat(target, name, mode, AtFlags::empty()).named(|| "chmod".to_owned())?;
            }
        }
        if stat.st_nlink > 1 {
            self.links.insert(identity(&stat), parent.join(name));
        }
        Ok(())
    }

    /// Links a file to the name that it has in the target already; false if it has none.
    fn link(&self, stat: &Stat, target: BorrowedFd<'_>, name: &OsStr) -> Result<bool> {
        let Some(first) = self.links.get(&identity(stat)) else { return Ok(false) };
        let (Some(parent), Some(file)) = (first.parent(), first.file_name()) else { return Ok(false) };
        let parent = path::open_in_mount(self.target, parent, OFlags::PATH | OFlags::DIRECTORY)?;
        let made = anew(target, name, "link", || rustix::fs::linkat(&parent, file, target, name, AtFlags::empty()));
        match made {
            Err(error) if crate::sys::errno(&error) == Some(Errno::MLINK) => Ok(false),
            result => result.map(|()| true),
        }
    }

    fn regular(&mut self, source: BorrowedFd<'_>, target: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let from = match rustix::fs::openat(source, name, flags, Mode::empty()) {
            // As in the source, there is something that nobody may read.
            Err(Errno::ACCESS) => {
                let make = || rustix::fs::mknodat(target, name, FileType::RegularFile, Mode::empty(), 0);
                return anew(target, name, "mknod", make);
            }
            from => from.named(|| "open".to_owned())?,
        };
        let stat = stat_of(from.as_fd())?;
        ensure!(FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile, "changes while it is copied");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let to = anew(target, name, "open", || rustix::fs::openat(target, name, flags, Mode::RUSR | Mode::WUSR))?;
        self.content(&from, &to, &stat)?;
        chown(&stat, |uid, gid| rustix::fs::fchown(&to, uid, gid))?;
        // After the owner, whose change clears set-user-id bits and capabilities.
        rustix::fs::fchmod(&to, Mode::from_raw_mode(stat.st_mode)).named(|| "fchmod".to_owned())?;
        attributes(&from, &to)?;
        rustix::fs::futimens(&to, &times(&stat)).named(|| "futimens".to_owned())?;
        Ok(())
    }

    /// Shares the blocks if the file system can, or copies what is no hole.
    fn content(&mut self, from: &OwnedFd, to: &OwnedFd, stat: &Stat) -> Result<()> {
        let size = stat.st_size as u64;
        if size == 0 {
            return Ok(());
        }
        if self.clones {
            match rustix::fs::ioctl_ficlone(to, from) {
                Ok(()) => return Ok(()),
                // This file cannot, others may (ioctl_ficlone(2)).
                Err(Errno::INVAL | Errno::TXTBSY | Errno::PERM) => {}
                Err(_) => self.clones = false,
            }
        }
        let is_sparse = (stat.st_blocks as u64).saturating_mul(512) < size;
        if !is_sparse {
            return piece(from, to, 0, size);
        }
        let mut offset = 0;
        while offset < size {
            let seek = |to| rustix::fs::seek(from, to);
            let (start, end) = match seek(SeekFrom::Data(offset)) {
                Ok(start) => (start, seek(SeekFrom::Hole(start)).unwrap_or(size).min(size)),
                // Nothing but a hole.
                Err(Errno::NXIO) => break,
                // A file system that knows of none.
                Err(_) => (offset, size),
            };
            if start >= size {
                break;
            }
            piece(from, to, start, end - start)?;
            offset = end;
        }
        rustix::fs::ftruncate(to, size).named(|| format!("ftruncate({size})"))?;
        Ok(())
    }

    fn finish(self) -> Result<()> {
        // Parents after what is below them.
        for (path, mode, times) in self.directories.into_iter().rev() {
            let directory = path::open_in_mount(self.target, &path, OFlags::RDONLY | OFlags::DIRECTORY)?;
            rustix::fs::fchmod(&directory, mode).named(|| format!("fchmod({})", shown(&path)))?;
            rustix::fs::futimens(&directory, &times).named(|| format!("futimens({})", shown(&path)))?;
        }
        Ok(())
    }
}

/// A directory of the target, which may be there from a lower layer; what is no directory gives way.
fn directory_at(target: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    let make = || rustix::fs::mkdirat(target, name, Mode::RWXU);
    match make() {
        Err(Errno::EXIST) if remove::kind(target, name)?.0 == FileType::Directory => Ok(()),
        Err(Errno::EXIST) => {
            remove::entry(target, name)?;
            Ok(make().named(|| "mkdir".to_owned())?)
        }
        made => Ok(made.named(|| "mkdir".to_owned())?),
    }
}

/// Calls `make`, which fails if the name is taken; what a lower layer has there gives way.
fn anew<T>(
    target: BorrowedFd<'_>,
    name: &OsStr,
    what: &str,
    make: impl Fn() -> std::result::Result<T, Errno>,
) -> Result<T> {
    match make() {
        Err(Errno::EXIST) => {
            remove::entry(target, name)?;
            Ok(make().named(|| what.to_owned())?)
        }
        result => Ok(result.named(|| what.to_owned())?),
    }
}

/// Copies `length` bytes from `offset` on. A source that ends before leaves the rest out.
fn piece(from: &OwnedFd, to: &OwnedFd, offset: u64, length: u64) -> Result<()> {
    let (mut read, mut written, end) = (offset, offset, offset + length);
    while read < end {
        let left = usize::try_from(end - read).unwrap_or(usize::MAX).min(1 << 30);
        match rustix::fs::copy_file_range(from, Some(&mut read), to, Some(&mut written), left) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::IO)) => {
                return Err(errno).named(|| "copy_file_range".to_owned()).map_err(Into::into);
            }
            // Across file systems, or of one that has no such call.
            Err(_) => break,
        }
    }
    let mut buffer = vec![0; if read < end { CHUNK } else { 0 }];
    while read < end {
        let limit = usize::try_from(end - read).unwrap_or(CHUNK).min(CHUNK);
        let length = rustix::io::retry_on_intr(|| rustix::io::pread(from, &mut buffer[..limit], read))
            .named(|| "read".to_owned())?;
        if length == 0 {
            break;
        }
        let mut done = 0;
        while done < length {
            done += rustix::io::retry_on_intr(|| rustix::io::pwrite(to, &buffer[done..length], read + done as u64))
                .named(|| "write".to_owned())?;
        }
        read += length as u64;
    }
    Ok(())
}

/// Sets an owner. One that is not mapped here cannot be named; the file stays its maker's.
fn chown(
    stat: &Stat,
    set: impl Fn(Option<rustix::fs::Uid>, Option<rustix::fs::Gid>) -> std::result::Result<(), Errno>,
) -> Result<()> {
    match set(Some(rustix::fs::Uid::from_raw(stat.st_uid)), Some(rustix::fs::Gid::from_raw(stat.st_gid))) {
        Err(Errno::INVAL) => Ok(()),
        result => Ok(result.named(|| format!("chown({}:{})", stat.st_uid, stat.st_gid))?),
    }
}

/// Owner and times of what cannot be opened.
fn at(stat: &Stat, target: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    chown(stat, |uid, gid| rustix::fs::chownat(target, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW))?;
    rustix::fs::utimensat(target, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW).named(|| "utimensat".to_owned())?;
    Ok(())
}

/// Copies extended attributes, access control lists and file capabilities among them.
fn attributes(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    for name in names_of(from)? {
        if name.as_bytes().starts_with(OVERLAY_PREFIX.as_bytes()) || name.as_bytes().starts_with(b"trusted.") {
            continue;
        }
        let Some(value) = value_of(from, &name)? else { continue };
        match rustix::fs::fsetxattr(to, &name, &value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::NOTSUP | Errno::PERM | Errno::INVAL | Errno::RANGE | Errno::ACCESS) => {}
            Err(errno) => return Err(errno).named(|| format!("setxattr({})", name.to_string_lossy()))?,
        }
    }
    Ok(())
}

fn names_of(file: &OwnedFd) -> Result<Vec<CString>> {
    let call = || "listxattr".to_owned();
    match rustix::fs::flistxattr_query(file) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(Vec::new()),
        length => length.named(call)?,
    };
    // The kernel's limit (xattr(7)).
    let mut list = vec![0; 64 * 1024];
    let length = rustix::fs::flistxattr(file, &mut list[..]).named(call)?;
    let names = list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(CString::new).collect::<std::result::Result<_, _>>()?)
}

fn value_of(file: &OwnedFd, name: &CString) -> Result<Option<Vec<u8>>> {
    // The kernel's limit (xattr(7)).
    let mut value = vec![0; 64 * 1024];
    match rustix::fs::fgetxattr(file, name, &mut value[..]) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
        // Gone, or not this user's to read.
        Err(Errno::NODATA | Errno::NOTSUP | Errno::PERM | Errno::ACCESS) => Ok(None),
        Err(errno) => Err(errno).named(|| format!("getxattr({})", name.to_string_lossy())).map_err(Into::into),
    }
}

fn stat_of(fd: BorrowedFd<'_>) -> Result<Stat> {
    Ok(rustix::fs::fstat(fd).named(|| "fstat".to_owned())?)
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec as _),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec as _),
    }
}

/// A path for a message: `./a` is `/a`.
fn shown(path: &Path) -> String {
    format!("/{}", path.strip_prefix(".").unwrap_or(path).display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

    fn plain(from: &Path, to: &Path) -> Result<()> {
        let place = |path| crate::sys::mount::place(path).expect("there");
        tree(place(from).as_fd(), place(to).as_fd())
    }

    #[test]
    fn all_that_a_file_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs_err::create_dir_all(from.join("closed/deep")).expect("made");
        fs_err::create_dir(&to).expect("made");
        fs_err::write(from.join("closed/file"), "text").expect("made");
        fs_err::hard_link(from.join("closed/file"), from.join("closed/deep/hard")).expect("made");
        fs_err::os::unix::fs::symlink("/nowhere", from.join("link")).expect("made");
        rustix::fs::mknodat(rustix::fs::CWD, from.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o640), 0)
            .expect("made");
        let sparse = fs_err::File::create(from.join("sparse")).expect("made");
        sparse.set_len(64 << 20).expect("long");
        std::os::unix::fs::FileExt::write_all_at(sparse.file(), b"middle", 32 << 20).expect("written");
        let own = rustix::fs::setxattr(from.join("closed"), "user.test", b"value", XattrFlags::empty());
        own.expect("attributes");
        let hidden = format!("{OVERLAY_PREFIX}origin");
        rustix::fs::setxattr(from.join("closed"), &hidden, b"x", XattrFlags::empty()).expect("attributes");
        fs_err::set_permissions(from.join("closed/file"), PermissionsExt::from_mode(0o4751)).expect("a mode");
        let old = Timestamps {
            last_access: Timespec { tv_sec: 7, tv_nsec: 0 },
            last_modification: Timespec { tv_sec: 1000, tv_nsec: 5 },
        };
        for name in ["closed/file", "closed/deep", "link", ""] {
            rustix::fs::utimensat(rustix::fs::CWD, from.join(name), &old, AtFlags::SYMLINK_NOFOLLOW).expect("times");
        }
        fs_err::set_permissions(from.join("closed"), PermissionsExt::from_mode(0o555)).expect("a mode");
        plain(&from, &to).expect("copied");

        let about = |path: &Path| fs_err::symlink_metadata(path).expect("there");
        for name in ["closed/file", "closed/deep/hard", "closed/deep", "closed", "link", "fifo", "sparse", ""] {
            let (a, b) = (about(&from.join(name)), about(&to.join(name)));
            let all = |meta: &std::fs::Metadata| {
                let size = if meta.is_dir() { 0 } else { meta.size() };
                (meta.mode(), meta.uid(), meta.gid(), size, meta.nlink())
            };
            assert_eq!(all(&a), all(&b), "{name}");
            assert_eq!((a.mtime(), a.mtime_nsec()), (b.mtime(), b.mtime_nsec()), "{name}");
        }
        assert_eq!(about(&to.join("closed/file")).ino(), about(&to.join("closed/deep/hard")).ino());
        assert!(about(&to.join("fifo")).file_type().is_fifo());
        assert_eq!(fs_err::read_link(to.join("link")).expect("a link"), Path::new("/nowhere"));
        let content = fs_err::read(to.join("sparse")).expect("readable");
        assert_eq!(content, fs_err::read(from.join("sparse")).expect("readable"));
        assert!(about(&to.join("sparse")).blocks() * 512 < 32 << 20, "the holes stay");
        let mut value = [0; 8];
        assert_eq!(rustix::fs::getxattr(to.join("closed"), "user.test", &mut value), Ok(5));
        assert_eq!(rustix::fs::getxattr(to.join("closed"), &hidden, &mut value), Err(Errno::NODATA));
        fs_err::set_permissions(from.join("closed"), PermissionsExt::from_mode(0o755)).expect("a mode");
        fs_err::set_permissions(to.join("closed"), PermissionsExt::from_mode(0o755)).expect("a mode");
    }

    fn on_top(from: &Path, to: &Path) -> Result<()> {
        let place = |path| crate::sys::mount::place(path).expect("there");
        layer(place(from).as_fd(), place(to).as_fd())
    }

    #[test]
    fn a_layer_on_top() {
        let dir = tempfile::tempdir().expect("a directory");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        for name in ["from/merged", "from/hidden", "from/dir", "to/merged", "to/hidden/x", "to/file"] {
            fs_err::create_dir_all(dir.path().join(name)).expect("made");
        }
        for name in ["from/merged/new", "from/file", "from/hidden/new", "to/merged/old", "to/hidden/old", "to/dir"] {
            fs_err::write(dir.path().join(name), name).expect("made");
        }
        let opaque = rustix::fs::setxattr(from.join("hidden"), whiteout::OPAQUE_ATTRIBUTE, b"y", XattrFlags::empty());
        opaque.expect("attributes");
        for name in ["files/old", "files/sub/old"] {
            fs_err::create_dir_all(to.join(name)).expect("made");
        }
        fs_err::create_dir_all(from.join("files/sub")).expect("made");
        fs_err::write(from.join("files/.wh.old"), "").expect("made");
        fs_err::write(from.join("files/sub/.wh..wh..opq"), "").expect("made");
        on_top(&from, &to).expect("copied");
        let names = |path: &str| {
            let mut names: Vec<String> = fs_err::read_dir(to.join(path))
                .expect("there")
                .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
                .collect();
            names.sort();
            names.join(" ")
        };
        assert_eq!(names("."), "dir file files hidden merged");
        assert_eq!((names("files").as_str(), names("files/sub").as_str()), ("sub", ""));
        assert_eq!((names("merged").as_str(), names("hidden").as_str(), names("dir").as_str()), ("new old", "new", ""));
        assert_eq!(fs_err::read_to_string(to.join("file")).expect("a file"), "from/file");
    }

    #[test]
    fn a_target_in_the_source() {
        let dir = tempfile::tempdir().expect("a directory");
        fs_err::write(dir.path().join("file"), "x").expect("made");
        fs_err::create_dir_all(dir.path().join("a/copy")).expect("made");
        plain(dir.path(), &dir.path().join("a/copy")).expect("copied");
        assert_eq!(fs_err::read_dir(dir.path().join("a/copy/a")).expect("there").count(), 0);
    }
}
