//! From files to the stream.
//!
//! Runs in: the caller's namespaces for files of the host; the container's user and mount namespace, as its root, for its own.
//! The tree may change while it is read: whoever is in the container may be hostile. Nothing is followed.

use super::Report;
use super::find::{self, Source, kind, stat_of};
use crate::storage::archive::content;
use crate::storage::owners;
use crate::storage::tar::{Entry, Kind, Writer};
use crate::storage::unpack::{MAX_ENTRIES, MAX_PATH, shown};
use crate::storage::xattrs::{self, Xattrs};
use crate::sys::{Named, path};
use anyhow::{Context, Result, ensure};
use rustix::fs::{Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const CHUNK: usize = 256 * 1024;

/// What the kernel makes up, and is no file of a container's (linux/magic.h): proc, sysfs, cgroup2, cgroup, devpts, mqueue,
/// debugfs, tracefs, securityfs, bpf.
const MADE_UP: [u64; 10] = [
    0x9fa0,
    0x6265_6572,
    0x6367_7270,
    0x0027_e0eb,
    0x1cd1,
    0x1980_0202,
    0x6462_6720,
    0x7472_6163,
    0x7363_6673,
    0xcafe_4a11,
];

/// How it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Form {
    /// What the stream calls what is copied, instead of ".": for those who read it as any archive.
    pub name: Option<String>,
    /// Times with their nanoseconds, which few archives have.
    pub nanoseconds: bool,
    /// Where there is one id: the owner that the image names is in an attribute.
    pub recorded: bool,
}

/// Writes the stream. What the kernel makes up is left out, unless it is what was asked for: its directories are empty.
pub fn send(source: &Source, form: &Form, sink: impl Write) -> Result<Report> {
    let tar = Writer::new(sink);
    let name = form.name.as_deref().unwrap_or(".");
    let mut sender = Sender {
        form,
        prefix: if name == "." { PathBuf::new() } else { PathBuf::from(name) },
        tar: if form.nanoseconds { tar.with_nanoseconds() } else { tar },
        links: HashMap::new(),
        report: Report::default(),
        buffer: vec![0; CHUNK],
    };
    sender.all(source)?;
    sender.tar.finish()?;
    Ok(sender.report)
}

struct Sender<'a, W> {
    form: &'a Form,
    /// Before all paths.
    prefix: PathBuf,
    tar: Writer<W>,
    /// The first name of files that have several, and how many may still come.
    links: HashMap<find::Identity, (PathBuf, u32)>,
    report: Report,
    buffer: Vec<u8>,
}

/// A directory that is being sent.
struct Level {
    /// From what is copied.
    path: PathBuf,
    device: u64,
    names: std::vec::IntoIter<OsString>,
}

impl<W: Write> Sender<'_, W> {
    fn all(&mut self, source: &Source) -> Result<()> {
        if !source.about.is_directory {
            return self.entry(source.parent.as_fd(), &source.name, Path::new(""));
        }
        let top = open_directory(source.parent.as_fd(), &source.name)?;
        let stat = stat_of(top.as_fd())?;
        self.directory(&top, &stat, Path::new(""))?;
        let mut levels = vec![level(&top, PathBuf::new(), stat.st_dev)?];
        // The directory that was opened last: most that comes next is in it.
        let mut here = (PathBuf::new(), top.try_clone()?);
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.next() else {
                levels.pop();
                continue;
            };
            let (path, device) = (level.path.join(&name), level.device);
            if here.0 != level.path {
                let place = if level.path.as_os_str().is_empty() { Path::new(".") } else { &level.path };
                match path::open_in_without_links(top.as_fd(), place, OFlags::RDONLY | OFlags::DIRECTORY) {
                    Ok(directory) => here = (level.path.clone(), directory),
                    // It was taken away, or became something else, after it was listed.
                    Err(error) if matches!(error.errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                        levels.pop();
                        continue;
                    }
                    Err(error) => return Err(error).with_context(|| shown(path.as_os_str().as_bytes())),
                }
            }
            let inner =
                self.one(here.1.as_fd(), &name, &path, device).with_context(|| shown(path.as_os_str().as_bytes()))?;
            levels.extend(inner);
        }
        Ok(())
    }

    /// One name of a directory; what is in it, if it is one itself.
    fn one(&mut self, parent: BorrowedFd<'_>, name: &OsStr, path: &Path, device: u64) -> Result<Option<Level>> {
        ensure!(path.as_os_str().len() <= MAX_PATH, "a path of {} bytes", path.as_os_str().len());
        // Not what the directory says of it, which knows nothing of a device that is mounted on a file, as in /dev: whoever
        // opens one may have it do something.
        let Some(stat) = find::stat(parent, name)? else { return Ok(None) };
        if kind(&stat) != FileType::Directory {
            return self.entry(parent, name, path).map(|()| None);
        }
        let directory = match open_directory(parent, name) {
            Ok(directory) => directory,
            Err(error) if matches!(crate::sys::errno(&error), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let stat = stat_of(directory.as_fd())?;
        self.directory(&directory, &stat, path)?;
        if stat.st_dev != device && is_made_up(&directory)? {
            return Ok(None);
        }
        level(&directory, path.to_owned(), stat.st_dev).map(Some)
    }

    fn directory(&mut self, directory: &OwnedFd, stat: &Stat, path: &Path) -> Result<()> {
        let (owner, xattrs) = self.described(stat, Some(directory))?;
        self.begin(&Entry { xattrs, ..self.of(Kind::Directory, path, stat, owner) })
    }

    /// What is no directory.
    fn entry(&mut self, parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<()> {
        let Some(stat) = find::stat(parent, name)? else { return Ok(()) };
        match kind(&stat) {
            FileType::RegularFile => return self.file(parent, name, path),
            FileType::Symlink => match rustix::fs::readlinkat(parent, name, Vec::new()) {
                Ok(target) if !self.is_another_name(path, &stat, None)? => {
                    let (owner, _) = self.described(&stat, None)?;
                    let link = target.into_bytes();
                    return self.begin(&Entry { link, ..self.of(Kind::Symlink, path, &stat, owner) });
                }
                Ok(_) | Err(Errno::NOENT | Errno::INVAL) => {}
                Err(errno) => return Err(errno).named(|| "readlink".to_owned())?,
            },
            FileType::Fifo if !self.is_another_name(path, &stat, None)? => {
                let (owner, _) = self.described(&stat, None)?;
                return self.begin(&self.of(Kind::Fifo, path, &stat, owner));
            }
            FileType::Socket => self.report.sockets += 1,
            kind @ (FileType::CharacterDevice | FileType::BlockDevice) => {
                let kind = if kind == FileType::BlockDevice { Kind::BlockDevice } else { Kind::CharDevice };
                let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
                let (owner, _) = self.described(&stat, None)?;
                return self.begin(&Entry { device, ..self.of(kind, path, &stat, owner) });
            }
            // Another name of one that was sent; or it became one since it was looked at.
            FileType::Fifo | FileType::Directory | FileType::Unknown => {}
        }
        Ok(())
    }

    fn file(&mut self, parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<()> {
        // What took its place since then is neither followed nor waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(parent, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(()),
            Err(errno) => return Err(errno).named(|| "open".to_owned())?,
        };
        let stat = stat_of(file.as_fd())?;
        if kind(&stat) != FileType::RegularFile || self.is_another_name(path, &stat, Some(&file))? {
            return Ok(());
        }
        let (owner, xattrs) = self.described(&stat, Some(&file))?;
        let size = stat.st_size as u64;
        self.begin(&Entry { xattrs, size, ..self.of(Kind::Regular, path, &stat, owner) })?;
        content(&mut self.tar, &mut self.buffer, &file, size)?;
        self.report.bytes += size;
        let after = stat_of(file.as_fd())?;
        let state = |stat: &Stat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
        self.report.changed += u64::from(state(&after) != state(&stat));
        Ok(())
    }

    /// Writes a hard link if the file has been sent under another name; else remembers this one.
    fn is_another_name(&mut self, path: &Path, stat: &Stat, file: Option<&OwnedFd>) -> Result<bool> {
        if stat.st_nlink < 2 {
            return Ok(false);
        }
        let Some((first, left)) = self.links.get_mut(&find::identity(stat)) else {
            self.links.insert(find::identity(stat), (path.to_owned(), stat.st_nlink as u32 - 1));
            return Ok(false);
        };
        *left -= 1;
        let (first, is_last) = (first.clone(), *left == 0);
        let link = self.named(&first);
        if is_last {
            self.links.remove(&find::identity(stat));
        }
        let (owner, _) = self.described(stat, file)?;
        self.begin(&Entry { link, ..self.of(Kind::Hardlink, path, stat, owner) })?;
        Ok(true)
    }

    /// The owner of something, and the attributes of it that others may have.
    fn described(&mut self, stat: &Stat, file: Option<&OwnedFd>) -> Result<((u32, u32), Xattrs)> {
        let mut xattrs = match file {
            Some(file) => xattrs::of_image(file.as_fd(), &mut self.report.attributes)?,
            None => vec![],
        };
        let at = xattrs.iter().position(|(name, _)| name == owners::ATTRIBUTE.as_bytes());
        let recorded = at.filter(|_| self.form.recorded).map(|at| xattrs.swap_remove(at).1);
        let owner = recorded.and_then(|value| owners::of_attribute(&value)).unwrap_or((stat.st_uid, stat.st_gid));
        Ok((owner, xattrs))
    }

    /// What the stream calls it.
    fn named(&self, path: &Path) -> Vec<u8> {
        let whole = if path.as_os_str().is_empty() { self.prefix.clone() } else { self.prefix.join(path) };
        let bytes = whole.as_os_str().as_bytes();
        if bytes.is_empty() { b".".to_vec() } else { bytes.to_vec() }
    }

    fn of(&self, kind: Kind, path: &Path, stat: &Stat, (uid, gid): (u32, u32)) -> Entry {
        Entry {
            kind,
            path: self.named(path),
            link: vec![],
            mode: stat.st_mode & 0o7777,
            uid: uid.into(),
            gid: gid.into(),
            mtime: (stat.st_mtime, stat.st_mtime_nsec as u32),
            size: 0,
            pieces: None,
            device: (0, 0),
            xattrs: vec![],
        }
    }

    fn begin(&mut self, entry: &Entry) -> Result<()> {
        self.report.entries += 1;
        ensure!(self.report.entries <= MAX_ENTRIES, "more than {MAX_ENTRIES} entries");
        Ok(self.tar.entry(entry)?)
    }
}

fn open_directory(parent: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, name, flags, Mode::empty()).named(|| "open".to_owned())?)
}

/// What is in a directory, sorted by bytes.
fn level(directory: &OwnedFd, path: PathBuf, device: u64) -> Result<Level> {
    let list = || "read directory".to_owned();
    let mut names = Vec::new();
    for item in Dir::read_from(directory).named(list)? {
        let item = item.named(list)?;
        let name = OsStr::from_bytes(item.file_name().to_bytes());
        if name != "." && name != ".." {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(Level { path, device, names: names.into_iter() })
}

/// True for a directory of a file system that is none.
fn is_made_up(directory: &OwnedFd) -> Result<bool> {
    let about = rustix::fs::fstatfs(directory).named(|| "fstatfs".to_owned())?;
    Ok(MADE_UP.contains(&(about.f_type as u64)))
}
