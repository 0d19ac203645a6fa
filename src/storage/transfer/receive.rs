//! From the stream to files.
//!
//! Runs in: the caller's namespaces for files of the host; the container's user and mount namespace, as its root, for its own.
//!
//! The stream is hostile until proven otherwise, and so is whoever else is in the tree at the same time. Every name is
//! resolved by the kernel below the one directory that is written to (openat2(2), RESOLVE_BENEATH); what is made is made new,
//! in a directory that is open, and its attributes are set by its descriptor.

use super::Report;
use super::find::{self, Target, kind, stat_of};
use crate::error::Advise;
use crate::storage::owners;
use crate::storage::remove;
use crate::storage::tar::{self, Entry, Kind, Piece, Reader};
use crate::storage::unpack::{MAX_ENTRIES, MAX_PATH, Owners, shown};
use crate::storage::xattrs;
use crate::sys::{Named, path};
use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

const CHUNK: usize = 256 * 1024;
/// As many zeros in a row become a hole.
const HOLE: usize = 64 * 1024;
/// How often somebody else may take a name first.
const ATTEMPTS: u32 = 16;

/// What becomes of owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Whose {
    /// All is the caller's. Nothing is made that acts in his name when others run it (set-user-id and set-group-id).
    Caller,
    /// All is root's.
    Root,
    /// As the stream says, in the container's way of having owners.
    Kept(Owners),
}

/// How it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// Owners.
    pub whose: Whose,
    /// A directory may take the place of a file, and the other way round.
    pub overwrite: bool,
}

/// Where it goes.
#[derive(Debug)]
pub enum Goal {
    /// What is in the stream below "." goes into this directory, which stays as it is itself.
    Directory(OwnedFd),
    /// What is "." in the stream gets this name in this directory.
    Entry(OwnedFd, OsString),
}

/// Where a stream goes, when it is known what comes and what is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// Into the directory that was found.
    Inside,
    /// Into the directory that was found, under this name.
    InsideAs(String),
    /// To the name that was looked for.
    Itself,
}

impl Target {
    /// Opens it for what comes.
    pub fn goal(self, place: &Place) -> Result<Goal> {
        let Target { parent, name, .. } = self;
        let inside = || remove::open_directory(parent.as_fd(), &name);
        Ok(match place {
            Place::Inside => Goal::Directory(inside()?),
            Place::InsideAs(name) => Goal::Entry(inside()?, name.into()),
            Place::Itself => Goal::Entry(parent, name),
        })
    }
}

/// True for an error that is no fault of this side: the stream broke off.
pub fn is_broken_off(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref::<tar::Error>(), Some(tar::Error::Truncated)))
}

/// Makes files of a stream. The umask is to be 0: modes are the stream's.
pub fn receive(source: impl Read, goal: Goal, rules: Rules) -> Result<Report> {
    let mut reader = Reader::new(source);
    let (top, entry) = match goal {
        Goal::Directory(directory) => (Some(directory), None),
        Goal::Entry(parent, name) => (None, Some((parent, name))),
    };
    let mut receiver = Receiver {
        top,
        entry,
        rules,
        here: None,
        directories: Vec::new(),
        report: Report::default(),
        buffer: vec![0; CHUNK],
    };
    while let Some(entry) = reader.next_entry()? {
        receiver.report.entries += 1;
        ensure!(receiver.report.entries <= MAX_ENTRIES, "more than {MAX_ENTRIES} entries");
        let made = receiver.one(&entry, &mut reader);
        if_read_only(match clean(&entry.path) {
            // It is called otherwise here.
            Ok(path) if path.as_os_str().is_empty() => made,
            _ => made.with_context(|| shown(&entry.path)),
        })?;
    }
    if_read_only(receiver.finish())?;
    // Whoever writes the stream may have more to say than its end.
    std::io::copy(&mut reader.into_inner(), &mut std::io::sink())?;
    Ok(receiver.report)
}

fn if_read_only(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if crate::sys::errno(&error) == Some(Errno::ROFS) => {
            Err(error).hint(|| "what is mounted there is read-only; volumes of a container may not be".to_owned())
        }
        result => result,
    }
}

struct Receiver {
    /// What "." is, once it is there.
    top: Option<OwnedFd>,
    /// Where that is to be made.
    entry: Option<(OwnedFd, OsString)>,
    rules: Rules,
    /// The directory that was used last, since entries come sorted.
    here: Option<(PathBuf, OwnedFd)>,
    /// Whatever is made in a directory changes its times, and its mode may forbid it: both are set at the end.
    directories: Vec<(PathBuf, Mode, (i64, u32))>,
    report: Report,
    buffer: Vec<u8>,
}

/// What is at a name before something is made there.
enum Room {
    /// Nothing, any more.
    Free,
    /// A directory, which the one that comes is to be one with.
    Directory,
    /// A file on which something is mounted: it cannot be taken away.
    Mounted,
}

impl Receiver {
    fn one<R: Read>(&mut self, entry: &Entry, reader: &mut Reader<R>) -> Result<()> {
        let path = clean(&entry.path)?;
        let Some(name) = path.file_name() else { return self.itself(entry, reader) };
        let parent = self.parent(path.parent().unwrap_or(Path::new("")))?;
        let made = self.make(entry, parent.1.as_fd(), name, &path, reader);
        self.here = Some(parent);
        made
    }

    /// The entry ".".
    fn itself<R: Read>(&mut self, entry: &Entry, reader: &mut Reader<R>) -> Result<()> {
        let Some((parent, name)) = self.entry.take() else {
            ensure!(entry.kind == Kind::Directory, "the stream has more than one beginning");
            return Ok(());
        };
        self.make(entry, parent.as_fd(), &name, Path::new(""), reader)?;
        if entry.kind == Kind::Directory {
            self.top = Some(remove::open_directory(parent.as_fd(), &name)?);
        }
        Ok(())
    }

    fn make<R: Read>(
        &mut self,
        entry: &Entry,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        path: &Path,
        reader: &mut Reader<R>,
    ) -> Result<()> {
        match entry.kind {
            Kind::Directory => self.directory(entry, parent, name, path),
            Kind::Regular => self.regular(entry, parent, name, reader),
            Kind::Symlink => {
                let target = OsStr::from_bytes(&entry.link);
                self.anew(parent, name, "symlink", || rustix::fs::symlinkat(target, parent, name))?;
                self.at(entry, parent, name)
            }
            Kind::Hardlink => self.hardlink(entry, parent, name),
            Kind::Fifo => {
                let mode = self.mode(entry);
                self.anew(parent, name, "mkfifo", || rustix::fs::mknodat(parent, name, FileType::Fifo, mode, 0))?;
                self.at(entry, parent, name)
            }
            Kind::CharDevice | Kind::BlockDevice => {
                self.report.devices += 1;
                Ok(())
            }
        }
    }

    /// The directory that an entry goes to; made, with those above, if the stream has none.
    fn parent(&mut self, path: &Path) -> Result<(PathBuf, OwnedFd)> {
        if let Some(here) = self.here.take().filter(|(known, _)| known == path) {
            return Ok(here);
        }
        let top = self.top()?;
        match beneath(top, path) {
            Err(error) if crate::sys::errno(&error) == Some(Errno::NOENT) => {}
            directory => return Ok((path.to_owned(), directory?)),
        }
        let mut directory = reopen(top)?;
        let mut above = PathBuf::new();
        for name in path {
            above.push(name);
            directory = match beneath(top, &above) {
                Err(error) if crate::sys::errno(&error) == Some(Errno::NOENT) => {
                    path::make_at(directory.as_fd(), name, path::Missing::Directory)?;
                    beneath(top, &above)?
                }
                there => there?,
            };
        }
        Ok((path.to_owned(), directory))
    }

    fn top(&self) -> Result<BorrowedFd<'_>> {
        Ok(self.top.as_ref().context("is not below what was announced")?.as_fd())
    }

    fn directory(&mut self, entry: &Entry, parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<()> {
        let mut attempt = 0;
        let directory = loop {
            attempt += 1;
            if let Room::Free | Room::Mounted = self.room(parent, name, true)? {
                match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
                    Err(Errno::EXIST) if attempt < ATTEMPTS => continue,
                    made => made.named(|| format!("mkdir({})", name.to_string_lossy()))?,
                }
            }
            match remove::open_directory(parent, name) {
                Err(error) if crate::sys::errno(&error) == Some(Errno::NOENT) && attempt < ATTEMPTS => {}
                opened => break opened?,
            }
        };
        self.owner(entry, Some(&directory), |uid, gid| rustix::fs::fchown(&directory, uid, gid))?;
        self.xattrs(entry, &directory)?;
        self.directories.push((path.to_owned(), self.mode(entry), entry.mtime));
        Ok(())
    }

    fn regular<R: Read>(
        &mut self,
        entry: &Entry,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        reader: &mut Reader<R>,
    ) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let make = || rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR);
        let Some(file) = self.anew(parent, name, "open", make)? else {
            // Its content is all that can be changed.
            let file = open_mounted(parent, name)?;
            return self.content(entry, &file, reader);
        };
        self.content(entry, &file, reader)?;
        self.owner(entry, Some(&file), |uid, gid| rustix::fs::fchown(&file, uid, gid))?;
        // After the owner, whose change clears set-user-id bits and capabilities.
        rustix::fs::fchmod(&file, self.mode(entry)).named(|| "fchmod".to_owned())?;
        self.xattrs(entry, &file)?;
        rustix::fs::futimens(&file, &times(entry.mtime)).named(|| "futimens".to_owned())?;
        Ok(())
    }

    fn content<R: Read>(&mut self, entry: &Entry, file: &OwnedFd, reader: &mut Reader<R>) -> Result<()> {
        let whole = [Piece { offset: 0, length: entry.size }];
        // What is zero at the end is not.
        let mut written = 0;
        for piece in entry.pieces.as_deref().unwrap_or(&whole) {
            let (mut offset, mut left) = (piece.offset, piece.length);
            while left > 0 {
                let limit = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
                let mut filled = 0;
                // Whole chunks: a pipe gives less at a time.
                while filled < limit {
                    let length = reader.read_data(&mut self.buffer[filled..limit])?;
                    ensure!(length > 0, "ends before its size");
                    filled += length;
                }
                written = write_all(file, &self.buffer[..limit], offset)?.max(written);
                offset += limit as u64;
                left -= limit as u64;
                self.report.bytes += limit as u64;
            }
        }
        if written < entry.size {
            rustix::fs::ftruncate(file, entry.size).named(|| format!("ftruncate({})", entry.size))?;
        }
        Ok(())
    }

    fn hardlink(&mut self, entry: &Entry, parent: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
        let target = clean(&entry.link)?;
        let call = || format!("link({})", shown(&entry.link));
        let file = target.file_name().with_context(call)?;
        let directory = beneath(self.top()?, target.parent().unwrap_or(Path::new(""))).with_context(call)?;
        // Without AT_SYMLINK_FOLLOW a symlink is linked itself.
        self.anew(parent, name, "link", || rustix::fs::linkat(&directory, file, parent, name, AtFlags::empty()))
            .with_context(call)?;
        Ok(())
    }

    /// Calls `make`, which fails if the name is taken; what was there gives way. `None`: it cannot.
    fn anew<T>(
        &self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        what: &str,
        make: impl Fn() -> std::result::Result<T, Errno>,
    ) -> Result<Option<T>> {
        for _ in 0..ATTEMPTS {
            match make() {
                Err(Errno::EXIST) => {}
                made => return Ok(Some(made.named(|| format!("{what}({})", name.to_string_lossy()))?)),
            }
            match self.room(parent, name, false)? {
                Room::Mounted if what == "open" => return Ok(None),
                Room::Mounted => bail!("something is mounted there"),
                Room::Free | Room::Directory => {}
            }
        }
        bail!("somebody else makes files of this name")
    }

    /// Makes room at a name. Without `overwrite` a directory and what is none do not take each other's place (moby,
    /// `archive.TarOptions.NoOverwriteDirNonDir`).
    fn room(&self, parent: BorrowedFd<'_>, name: &OsStr, for_directory: bool) -> Result<Room> {
        let Some(stat) = find::stat(parent, name)? else { return Ok(Room::Free) };
        let is_directory = kind(&stat) == FileType::Directory;
        match (is_directory, for_directory) {
            (true, true) => return Ok(Room::Directory),
            (false, false) => match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
                Err(Errno::BUSY) if kind(&stat) == FileType::RegularFile => return Ok(Room::Mounted),
                // Somebody else was faster.
                Err(Errno::NOENT | Errno::ISDIR) => {}
                result => result.named(|| format!("remove({})", name.to_string_lossy()))?,
            },
            _ if self.rules.overwrite => remove::entry(parent, name)?,
            _ => {
                let (there, comes) = if is_directory { ("directory", "file") } else { ("file", "directory") };
                return Err(anyhow!("a {there} is there, and a {comes} does not take its place"))
                    .hint(|| "--overwrite lets it".to_owned());
            }
        }
        Ok(Room::Free)
    }

    fn mode(&self, entry: &Entry) -> Mode {
        let mode = Mode::from_raw_mode(entry.mode);
        match self.rules.whose {
            Whose::Caller => mode.difference(Mode::SUID | Mode::SGID),
            Whose::Root | Whose::Kept(_) => mode,
        }
    }

    /// Owner and times of what cannot be opened and was just made.
    fn at(&mut self, entry: &Entry, parent: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
        self.owner(entry, None, |uid, gid| rustix::fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW))?;
        rustix::fs::utimensat(parent, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .named(|| "utimensat".to_owned())?;
        Ok(())
    }

    /// Sets the owner. Where there is one id it is written down on what can have attributes (`storage/owners.rs`).
    fn owner(
        &mut self,
        entry: &Entry,
        file: Option<&OwnedFd>,
        chown: impl Fn(Option<Uid>, Option<Gid>) -> std::result::Result<(), Errno>,
    ) -> Result<()> {
        let set = |uid, gid| chown(Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        let id = |value: u64| u32::try_from(value).ok().filter(|id| *id != u32::MAX);
        let ids = || match (id(entry.uid), id(entry.gid)) {
            (Some(uid), Some(gid)) => Ok((uid, gid)),
            _ => Err(anyhow!("{}:{}: there are no such ids", entry.uid, entry.gid)),
        };
        match self.rules.whose {
            Whose::Caller => Ok(()),
            // It is, but for the group of what is in some directories (set-group-id).
            Whose::Root if file.is_some_and(is_roots) => Ok(()),
            Whose::Root => set(0, 0).named(|| "chown(0:0)".to_owned()).hint(|| "the container has no root".to_owned()),
            Whose::Kept(Owners::Record) => {
                let (uid, gid) = ids()?;
                let (Some(file), Some(value)) = (file, owners::attribute(uid, gid)) else { return Ok(()) };
                match rustix::fs::fsetxattr(file, owners::ATTRIBUTE, &value, XattrFlags::empty()) {
                    Err(Errno::NOTSUP | Errno::PERM) => self.report.attributes += 1,
                    set => set.named(|| format!("setxattr({})", owners::ATTRIBUTE))?,
                }
                Ok(())
            }
            Whose::Kept(kept) => {
                let (uid, gid) = ids()?;
                match (set(uid, gid), kept) {
                    (Ok(()), _) => Ok(()),
                    // One of the two may be mapped.
                    (Err(Errno::INVAL), Owners::Overflow(other)) => set(uid, other)
                        .or_else(|_| set(other, gid))
                        .or_else(|_| set(other, other))
                        .named(|| format!("chown({other})"))
                        .map_err(Into::into),
                    (Err(Errno::INVAL), _) => {
                        Err(anyhow!("belongs to {uid}:{gid}, and the container does not have both ids"))
                            .hint(|| "without -a files belong to root".to_owned())
                    }
                    (Err(errno), _) => Err(errno).named(|| format!("chown({uid}:{gid})")).map_err(Into::into),
                }
            }
        }
    }

    /// What a disk or a user cannot have is counted. Overlay's own attributes and rbox's are nobody else's to set.
    fn xattrs(&mut self, entry: &Entry, file: &OwnedFd) -> Result<()> {
        // A capability is worth something to those who have the container's ids.
        self.report.attributes += xattrs::set(file, &entry.xattrs, self.rules.whose != Whose::Caller)?;
        Ok(())
    }

    /// Modes and times of directories: parents after what is below them, and what was said last of each.
    fn finish(&mut self) -> Result<()> {
        let directories = std::mem::take(&mut self.directories);
        if directories.is_empty() {
            return Ok(());
        }
        let top = self.top()?;
        let mut done: HashSet<&Path> = HashSet::new();
        for (path, mode, mtime) in directories.iter().rev().filter(|(path, ..)| done.insert(path)) {
            let place = if path.as_os_str().is_empty() { Path::new(".") } else { path };
            let directory = match path::open_in_without_links(top, place, OFlags::RDONLY | OFlags::DIRECTORY) {
                // A later entry has taken its place, or somebody else.
                Err(error) if matches!(error.errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                opened => opened?,
            };
            rustix::fs::fchmod(&directory, *mode).named(|| format!("chmod({})", path.display()))?;
            rustix::fs::futimens(&directory, &times(*mtime)).named(|| format!("utimens({})", path.display()))?;
        }
        Ok(())
    }
}

fn is_roots(file: &OwnedFd) -> bool {
    rustix::fs::fstat(file).is_ok_and(|stat| (stat.st_uid, stat.st_gid) == (0, 0))
}

/// A directory at a path that leads nowhere else.
fn beneath(top: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd> {
    let place = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    path::open_beneath(top, place, OFlags::RDONLY | OFlags::DIRECTORY).map_err(|error| match error.errno {
        Errno::XDEV => anyhow!("{}: leads out of the destination", path.display()),
        _ => error.into(),
    })
}

/// A file on which something is mounted, empty.
fn open_mounted(parent: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file =
        rustix::fs::openat(parent, name, flags, Mode::empty()).named(|| format!("open({})", name.to_string_lossy()))?;
    ensure!(kind(&stat_of(file.as_fd())?) == FileType::RegularFile, "something is mounted there");
    rustix::fs::ftruncate(&file, 0).named(|| "ftruncate(0)".to_owned())?;
    Ok(file)
}

/// The path below the destination without ".", "..", double and outer slashes; an empty one is the destination itself.
fn clean(path: &[u8]) -> Result<PathBuf> {
    ensure!(path.len() <= MAX_PATH, "a path of {} bytes", path.len());
    ensure!(!path.contains(&0), "a path with a NUL byte");
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                ensure!(parts.pop().is_some(), "leads out of the destination");
            }
            part => parts.push(part),
        }
    }
    Ok(PathBuf::from(OsString::from_vec(parts.join(&b'/'))))
}

fn times((seconds, nanos): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}

/// Writes what is not zero: the file is new, or was emptied. Returns how far it reaches then.
fn write_all(file: &OwnedFd, bytes: &[u8], mut offset: u64) -> Result<u64> {
    let mut end = 0;
    for part in bytes.chunks(HOLE) {
        if part.len() == HOLE && is_zero(part) {
            offset += HOLE as u64;
            continue;
        }
        let mut rest = part;
        while !rest.is_empty() {
            let written =
                rustix::io::retry_on_intr(|| rustix::io::pwrite(file, rest, offset)).named(|| "write".to_owned())?;
            rest = &rest[written..];
            offset += written as u64;
        }
        end = offset;
    }
    Ok(end)
}

fn is_zero(bytes: &[u8]) -> bool {
    const WORD: [u8; 16] = [0; 16];
    bytes.chunks(WORD.len()).all(|word| *word == WORD[..word.len()])
}

/// A descriptor of the same directory that is another's to close.
fn reopen(directory: BorrowedFd<'_>) -> Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(directory, 3).named(|| "dup".to_owned())?)
}
