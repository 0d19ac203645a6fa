//! One layer, from a tar stream to a directory in the form that overlay takes.
//!
//! Runs in: a user and mount namespace of its own whose root is the layer's directory (`storage/sandbox.rs`), as root of
//! the container's ids. The archive is hostile until proven otherwise: names are resolved by the kernel below the
//! layer's root, nothing is ever followed out of it, and what is made is made new.
//!
//! In the archive a deleted file is `.wh.NAME` and a directory that hides what is below it has `.wh..wh..opq` (OCI
//! image-spec, layer.md); on disk they are a character device 0/0 and the attribute `user.overlay.opaque`
//! (overlayfs.rst, "whiteouts and opaque directories", with the mount option userxattr).

use super::owners::{self, Recorded};
use super::remove::{self, kind, open_directory};
use super::tar::{Entry, Kind, Reader};
use super::whiteout::{self, set_opaque};
use super::xattrs;
use crate::error::Advise;
use crate::sys::Named;
use crate::sys::path::{self, Missing};
use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;
use std::cell::Cell;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// What no image needs and no disk should have to bear.
pub const MAX_ENTRIES: u64 = 10_000_000;
/// The kernel's limit for a path (PATH_MAX, with the NUL).
pub const MAX_PATH: usize = 4095;
/// The kernel's limit for an attribute's value (xattr(7)).
pub const MAX_XATTR: usize = 64 * 1024;
const CHUNK: usize = 256 * 1024;

/// Before the name of a file that is deleted.
pub const WHITEOUT: &[u8] = whiteout::PREFIX.as_bytes();
/// In a directory that hides what lower layers have in it.
pub const OPAQUE: &[u8] = whiteout::OPAQUE.as_bytes();
/// aufs's own files, which every reader drops.
const AUFS: &[u8] = b".wh..wh.";

/// What happens to the owners of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Owners {
    /// They are set; an id that is not mapped is an error.
    Set,
    /// They are set; ids that are not mapped become this one, and are written down.
    Overflow(u32),
    /// There is one id. All owners are written down.
    Record,
}

/// What was unpacked.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Report {
    /// Entries of the archive.
    pub entries: u64,
    /// Bytes of file contents.
    pub bytes: u64,
    /// Device nodes that are empty files now.
    pub devices: u64,
    /// Extended attributes that this file system or this user cannot have.
    pub attributes: u64,
}

/// Unpacks all entries below `root`; lines about owners go to `table`.
pub fn unpack(source: impl Read, root: BorrowedFd<'_>, owners: Owners, table: impl Write) -> Result<Report> {
    let mut reader = Reader::new(source);
    let mut unpacker = Unpacker {
        root,
        owners,
        table,
        parent: None,
        replaces: Cell::new(false),
        removed: Cell::new(false),
        directories: Vec::new(),
        whiteouts: Vec::new(),
        report: Report::default(),
        buffer: vec![0; CHUNK],
    };
    while let Some(entry) = reader.next_entry()? {
        unpacker.report.entries += 1;
        ensure!(unpacker.report.entries <= MAX_ENTRIES, "more than {MAX_ENTRIES} entries");
        unpacker.entry(&entry, &mut reader).with_context(|| shown(&entry.path))?;
    }
    unpacker.finish()?;
    // Whoever computes the digest of the stream has to see what follows the archive, too.
    std::io::copy(&mut reader.into_inner(), &mut std::io::sink())?;
    Ok(unpacker.report)
}

struct Unpacker<'a, W> {
    root: BorrowedFd<'a>,
    owners: Owners,
    table: W,
    /// The directory that was used last, since entries come sorted.
    parent: Option<Parent>,
    /// This entry's name was there already: what is written down of that is not true of this one.
    replaces: Cell<bool>,
    /// A directory was there and is no more: the same is true of all names that were in it.
    removed: Cell<bool>,
    /// Whatever is made in a directory changes its times: they are set at the end.
    directories: Vec<(PathBuf, (i64, u32))>,
    /// Whiteouts that are files: the directory and the name that is deleted.
    whiteouts: Vec<(PathBuf, OsString)>,
    report: Report,
    buffer: Vec<u8>,
}

/// A directory that entries go to.
struct Parent {
    /// As the archive names it.
    named: PathBuf,
    /// Where it is: no link leads there.
    path: PathBuf,
    fd: OwnedFd,
}

impl<W: Write> Unpacker<'_, W> {
    fn entry<R: Read>(&mut self, entry: &Entry, reader: &mut Reader<R>) -> Result<()> {
        self.replaces.set(false);
        let Some(path) = clean(&entry.path)? else {
            // "./" is the root of the layer itself.
            ensure!(entry.kind == Kind::Directory, "the root is no directory");
            let root = reopen(self.root)?;
            return self.directory_attributes(entry, &root, PathBuf::from("."));
        };
        let name = path.file_name().unwrap_or_default().to_owned();
        let parent_path = path.parent().unwrap_or(Path::new("")).to_owned();
        if name.as_bytes().starts_with(WHITEOUT) {
            return self.whiteout(parent_path, name.as_bytes());
        }
        let at = self.parent(parent_path)?;
        let (parent, path) = (&at.fd, at.path.join(&name));
        match entry.kind {
            Kind::Directory => self.directory(entry, parent.as_fd(), &name, path)?,
            Kind::Regular => self.regular(entry, parent.as_fd(), &name, &path, reader)?,
            Kind::Hardlink => self.hardlink(entry, parent.as_fd(), &name, &path)?,
            Kind::Symlink => self.symlink(entry, parent.as_fd(), &name, &path)?,
            Kind::Fifo => {
                self.node(parent.as_fd(), &name, FileType::Fifo)?;
                self.attributes(entry, parent.as_fd(), &name, &path)?;
            }
            Kind::CharDevice | Kind::BlockDevice => {
                // A node cannot be made without real privilege, and the container has its own /dev. The table knows.
                self.node(parent.as_fd(), &name, FileType::RegularFile)?;
                self.report.devices += 1;
                self.attributes(entry, parent.as_fd(), &name, &path)?;
            }
        }
        self.keep(at);
        Ok(())
    }

    /// What a link leads to may be another one for the next entry.
    fn keep(&mut self, parent: Parent) {
        self.parent = Some(parent).filter(|parent| parent.path == parent.named);
    }

    /// The directory that an entry goes to; made, with its parents, if the archive has none.
    fn parent(&mut self, named: PathBuf) -> Result<Parent> {
        if let Some(parent) = self.parent.take().filter(|known| known.named == named) {
            return Ok(parent);
        }
        let (fd, path) = match self.existing(&named) {
            Err(error) if crate::sys::errno(&error) == Some(Errno::NOENT) => self.walked(&named, Missing::Directory)?,
            existing => existing?,
        };
        Ok(Parent { named, path, fd })
    }

    /// Calls `make`, which fails if the name is taken; what was there, from an earlier entry, gives way.
    fn anew<T>(
        &self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        what: &str,
        make: impl Fn() -> std::result::Result<T, Errno>,
    ) -> Result<T> {
        let call = || format!("{what}({})", shown(name.as_bytes()));
        match make() {
            Err(Errno::EXIST) => {
                self.replaces.set(true);
                if kind(parent, name)?.0 == FileType::Directory {
                    self.removed.set(true);
                }
                remove::entry(parent, name)?;
                Ok(make().named(call)?)
            }
            result => Ok(result.named(call)?),
        }
    }

    fn node(&self, parent: BorrowedFd<'_>, name: &OsStr, kind: FileType) -> Result<()> {
        self.anew(parent, name, "mknod", || rustix::fs::mknodat(parent, name, kind, Mode::RUSR | Mode::WUSR, 0))
    }

    fn directory(&mut self, entry: &Entry, parent: BorrowedFd<'_>, name: &OsStr, path: PathBuf) -> Result<()> {
        let make =
            || rustix::fs::mkdirat(parent, name, Mode::RWXU).named(|| format!("mkdir({})", shown(name.as_bytes())));
        match make() {
            Err(error) if error.errno == Errno::EXIST => {
                self.replaces.set(true);
                match kind(parent, name)? {
                    // The same directory twice, or one that was made for an entry below it: it gets these attributes.
                    (FileType::Directory, _) => {}
                    (_, was_whiteout) => {
                        remove::entry(parent, name)?;
                        make()?;
                        if was_whiteout {
                            // Deleted and made again in one layer: what is below in other layers stays hidden.
                            set_opaque(&open_directory(parent, name)?)?;
                        }
                    }
                }
            }
            result => result?,
        }
        let directory = open_directory(parent, name)?;
        self.directory_attributes(entry, &directory, path)
    }

    fn directory_attributes(&mut self, entry: &Entry, directory: &OwnedFd, path: PathBuf) -> Result<()> {
        self.owner(entry, path.as_os_str().as_bytes(), |uid, gid| rustix::fs::fchown(directory, uid, gid))?;
        rustix::fs::fchmod(directory, Mode::from_raw_mode(entry.mode)).named(|| "fchmod".to_owned())?;
        self.xattrs(entry, directory)?;
        self.directories.push((path, entry.mtime));
        Ok(())
    }

    fn regular<R: Read>(
        &mut self,
        entry: &Entry,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        path: &Path,
        reader: &mut Reader<R>,
    ) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file =
            self.anew(parent, name, "open", || rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR))?;
        self.content(entry, &file, reader)?;
        self.owner(entry, path.as_os_str().as_bytes(), |uid, gid| rustix::fs::fchown(&file, uid, gid))?;
        // After the owner, whose change clears set-user-id bits and capabilities.
        rustix::fs::fchmod(&file, Mode::from_raw_mode(entry.mode)).named(|| "fchmod".to_owned())?;
        self.xattrs(entry, &file)?;
        rustix::fs::futimens(&file, &times(entry.mtime)).named(|| "futimens".to_owned())?;
        Ok(())
    }

    fn content<R: Read>(&mut self, entry: &Entry, file: &OwnedFd, reader: &mut Reader<R>) -> Result<()> {
        let whole = [super::tar::Piece { offset: 0, length: entry.size }];
        for piece in entry.pieces.as_deref().unwrap_or(&whole) {
            let (mut offset, mut left) = (piece.offset, piece.length);
            while left > 0 {
                let limit = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
                // In large pieces: so the page cache keeps them, and a program that lies there in many small ones takes a sixth
                // longer to start.
                let mut length = 0;
                while length < limit {
                    let read = reader.read_data(&mut self.buffer[length..limit])?;
                    ensure!(read > 0, "ends before its size");
                    length += read;
                }
                write_all(file, &self.buffer[..length], offset)?;
                offset += length as u64;
                left -= length as u64;
                self.report.bytes += length as u64;
            }
        }
        if entry.pieces.is_some() {
            // The last hole.
            rustix::fs::ftruncate(file, entry.size).named(|| format!("ftruncate({})", entry.size))?;
        }
        Ok(())
    }

    fn hardlink(&mut self, entry: &Entry, parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<()> {
        let target = clean(&entry.link)?.context("a hard link to the root")?;
        let call = || format!("link({})", shown(&entry.link));
        let named = target.parent().unwrap_or(Path::new(""));
        let (directory, real) = self.existing(named).with_context(call)?;
        let target = target.file_name().unwrap_or_default();
        self.anew(parent, name, "link", || {
            // Without AT_SYMLINK_FOLLOW a symlink is linked itself.
            rustix::fs::linkat(&directory, target, parent, name, AtFlags::empty())
        })
        .with_context(call)?;
        let (path, target) = (path.as_os_str().as_bytes(), real.join(target));
        owners::write_link(&mut self.table, path, target.as_os_str().as_bytes()).context("table of owners")
    }

    /// A directory that is there, and where that is without links.
    fn existing(&self, named: &Path) -> Result<(OwnedFd, PathBuf)> {
        if named.as_os_str().is_empty() {
            return Ok((reopen(self.root)?, PathBuf::new()));
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match path::open_in_without_links(self.root, named, flags) {
            Ok(fd) => Ok((fd, named.to_owned())),
            Err(error) if error.errno == Errno::LOOP => self.walked(named, Missing::Fails),
            Err(error) => Err(error.into()),
        }
    }

    fn walked(&self, named: &Path, missing: Missing) -> Result<(OwnedFd, PathBuf)> {
        let (path, _) = path::walk_in(self.root, named, missing)?;
        let fd = path::open_in_without_links(self.root, &path, OFlags::PATH | OFlags::DIRECTORY)?;
        Ok((fd, path.strip_prefix(".").unwrap_or(&path).to_owned()))
    }

    fn symlink(&mut self, entry: &Entry, parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<()> {
        let target = OsStr::from_bytes(&entry.link);
        self.anew(parent, name, "symlink", || rustix::fs::symlinkat(target, parent, name))?;
        self.owner(entry, path.as_os_str().as_bytes(), |uid, gid| {
            rustix::fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
        })?;
        rustix::fs::utimensat(parent, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .named(|| "utimensat".to_owned())?;
        Ok(())
    }

    /// Owner, mode, attributes and times of a node that was just made.
    fn attributes(&mut self, entry: &Entry, parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<()> {
        self.owner(entry, path.as_os_str().as_bytes(), |uid, gid| {
            rustix::fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
        })?;
        rustix::fs::chmodat(parent, name, Mode::from_raw_mode(entry.mode), AtFlags::empty())
            .named(|| "fchmodat".to_owned())?;
        rustix::fs::utimensat(parent, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .named(|| "utimensat".to_owned())?;
        Ok(())
    }

    /// Sets the owner, or writes down what cannot be set.
    fn owner(
        &mut self,
        entry: &Entry,
        path: &[u8],
        chown: impl Fn(Option<rustix::fs::Uid>, Option<rustix::fs::Gid>) -> std::result::Result<(), Errno>,
    ) -> Result<()> {
        let id = |value: u64, what: &str| match u32::try_from(value) {
            Ok(id) if id != u32::MAX => Ok(id),
            _ => Err(anyhow!("{what} {value}: there is no such id")),
        };
        let (uid, gid) = (id(entry.uid, "owner")?, id(entry.gid, "group")?);
        let set = |uid, gid| chown(Some(rustix::fs::Uid::from_raw(uid)), Some(rustix::fs::Gid::from_raw(gid)));
        let squashed = match self.owners {
            Owners::Record => (uid, gid) != (0, 0),
            Owners::Set | Owners::Overflow(_) => match (set(uid, gid), self.owners) {
                (Ok(()), _) => false,
                (Err(Errno::INVAL), Owners::Overflow(overflow)) => {
                    // One of the two may be mapped.
                    set(uid, overflow)
                        .or_else(|_| set(overflow, gid))
                        .or_else(|_| set(overflow, overflow))
                        .named(|| format!("chown({overflow})"))?;
                    true
                }
                (Err(Errno::INVAL), _) => {
                    return Err(anyhow!("belongs to {uid}:{gid}, and not both ids are mapped")).hint(|| {
                        format!(
                            "root can give this user more ids: usermod --add-subuids and --add-subgids, so that {uid} and {gid} are among them;\n\
                             --id-overflow squash gives such files to another owner"
                        )
                    });
                }
                (Err(errno), _) => return Err(errno).named(|| format!("chown({uid}:{gid})")).map_err(Into::into),
            },
        };
        if let Some(recorded) = Recorded::of(entry, uid, gid, squashed || self.replaces.get() || self.removed.get()) {
            owners::write_line(&mut self.table, path, &recorded).context("table of owners")?;
        }
        Ok(())
    }

    /// The attributes of the archive, and the owner where it is to be one. What a disk or a user cannot have is
    /// counted; overlay's own attributes are not the image's to set (`user.overlay.redirect` would lead anywhere).
    fn xattrs(&mut self, entry: &Entry, file: &OwnedFd) -> Result<()> {
        if self.owners == Owners::Record {
            // Checked to fit by `owner`.
            if let Some(value) = owners::attribute(entry.uid as u32, entry.gid as u32) {
                match rustix::fs::fsetxattr(file, owners::ATTRIBUTE, &value, XattrFlags::empty()) {
                    // The table has it, too.
                    Ok(()) | Err(Errno::NOTSUP) => {}
                    Err(errno) => return Err(errno).named(|| format!("setxattr({})", owners::ATTRIBUTE))?,
                }
            }
        }
        self.report.attributes += xattrs::set(file, &entry.xattrs, true)?;
        Ok(())
    }

    fn whiteout(&mut self, directory: PathBuf, name: &[u8]) -> Result<()> {
        if name == OPAQUE {
            let at = self.parent(directory)?;
            set_opaque(&reopen(at.fd.as_fd())?)?;
            self.keep(at);
            return Ok(());
        }
        if name.starts_with(AUFS) {
            return Ok(());
        }
        let hidden = OsStr::from_bytes(&name[WHITEOUT.len()..]);
        if matches!(hidden.as_bytes(), b"" | b"." | b"..") {
            bail!("a whiteout of no file");
        }
        let at = self.parent(directory)?;
        let parent = &at.fd;
        match kind(parent.as_fd(), hidden) {
            // What this layer itself has stays; a directory of it hides those below.
            Ok((FileType::Directory, _)) => set_opaque(&open_directory(parent.as_fd(), hidden)?)?,
            Ok(_) => {}
            Err(error) if error.errno == Errno::NOENT => {
                if whiteout::make(parent.as_fd(), hidden)? {
                    self.whiteouts.push((at.path.clone(), hidden.to_owned()));
                }
            }
            Err(error) => return Err(error.into()),
        }
        self.keep(at);
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.table.flush().context("table of owners")?;
        self.settle()?;
        // Parents after what is below them, and what was said last of each.
        let directories = std::mem::take(&mut self.directories);
        let mut done: HashSet<&Path> = HashSet::new();
        for (path, mtime) in directories.iter().rev().filter(|(path, _)| done.insert(path)) {
            // A later entry may have replaced it.
            match path::open_in_without_links(self.root, path, OFlags::RDONLY | OFlags::DIRECTORY) {
                Ok(directory) => {
                    rustix::fs::futimens(&directory, &times(*mtime)).named(|| "futimens".to_owned())?;
                }
                Err(error) if matches!(error.errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// What a layer deletes and makes again stays; a directory of it hides those below. Where whiteouts are files, they
    /// do not give way by themselves.
    fn settle(&mut self) -> Result<()> {
        for (directory, name) in std::mem::take(&mut self.whiteouts) {
            let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { &directory };
            let parent = match path::open_in_without_links(self.root, directory, OFlags::PATH | OFlags::DIRECTORY) {
                Err(error) if matches!(error.errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                parent => parent?,
            };
            match kind(parent.as_fd(), &name) {
                Ok((FileType::Directory, _)) => set_opaque(&open_directory(parent.as_fd(), &name)?)?,
                Ok(_) => {}
                Err(error) if error.errno == Errno::NOENT => continue,
                Err(error) => return Err(error.into()),
            }
            remove::entry(parent.as_fd(), &whiteout::file_for(&name))?;
        }
        Ok(())
    }
}

/// The path below the root without ".", "..", double and outer slashes, as docker reads it; `None` is the root itself.
fn clean(path: &[u8]) -> Result<Option<PathBuf>> {
    ensure!(path.len() <= MAX_PATH, "a path of {} bytes", path.len());
    ensure!(!path.contains(&0), "a path with a NUL byte");
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                ensure!(parts.pop().is_some(), "leads out of the image");
            }
            part => parts.push(part),
        }
    }
    Ok((!parts.is_empty()).then(|| PathBuf::from(OsString::from_vec(parts.join(&b'/')))))
}

/// A path for a message.
pub fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

fn times((seconds, nanos): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}

fn write_all(file: &OwnedFd, mut bytes: &[u8], mut offset: u64) -> Result<()> {
    while !bytes.is_empty() {
        let written =
            rustix::io::retry_on_intr(|| rustix::io::pwrite(file, bytes, offset)).named(|| "write".to_owned())?;
        bytes = &bytes[written..];
        offset += written as u64;
    }
    Ok(())
}

/// A descriptor of the same directory that can be read and changed.
fn reopen(directory: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(directory, ".", flags, Mode::empty()).named(|| "open(.)".to_owned())?)
}
