//! A tree as an archive: the way back of `storage/unpack.rs`.
//!
//! Runs in: the sandbox of `storage/sandbox.rs`, as root of the container's ids. The tree is hostile, and may change
//! while it is read.
//!
//! The order is the same for the same tree: a directory before what is in it, whiteouts before other names (OCI
//! image-spec, layer.md, "Whiteouts"), names by their bytes.

use super::owners;
use super::ownership::{Owner, Ownership};
use super::remove;
use super::stack::{Cursor, Found, Node, Stack};
use super::tar::{Entry, Kind, Writer};
use super::unpack::{MAX_ENTRIES, MAX_PATH, OPAQUE, WHITEOUT, shown};
use super::xattrs::{self, Xattrs};
use crate::error::Advise;
use crate::sys::Named;
use anyhow::{Context, Result, anyhow, ensure};
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A layer is not longer (the limit of a pull).
const MAX_ARCHIVE: u64 = 1 << 40;
const CHUNK: usize = 256 * 1024;

/// What an archive is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// The first directory of the stack as an OCI layer: what is deleted in it has whiteouts.
    Changes,
    /// All of the stack as it is seen, as an OCI layer.
    Layer,
    /// All of the stack as it is seen, for any reader: names that would be whiteouts in a layer are names.
    Files,
}

/// What was packed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Entries of the archive, whiteouts among them.
    pub entries: u64,
    /// Bytes of file contents.
    pub bytes: u64,
    /// Names that are deleted and directories that hide what is below.
    pub whiteouts: u64,
    /// Sockets, which no archive can hold: left out.
    pub sockets: u64,
    /// Attributes that no archive can hold, or that cannot be read: left out.
    pub attributes: u64,
    /// Files that changed while they were read. They have the length that they had at first.
    pub changed: u64,
    /// Names that were deleted while the tree was read: left out.
    pub gone: u64,
}

/// Writes the archive of a stack.
pub fn write(stack: &Stack, ownership: &Ownership, form: Form, upper: bool, sink: impl Write) -> Result<Report> {
    let mut packer = Packer {
        cursor: Cursor::new(stack),
        ownership,
        form,
        tar: Writer::new(sink),
        links: HashMap::new(),
        written: 0,
        report: Report::default(),
        buffer: vec![0; CHUNK],
    };
    packer.tree(upper)?;
    packer.tar.finish()?;
    Ok(packer.report)
}

enum Item {
    Whiteout,
    Found(Found),
}

/// A directory that is being packed.
struct Level {
    path: PathBuf,
    names: std::vec::IntoIter<(OsString, Item)>,
}

/// Several names of one file.
struct Links {
    first: Vec<u8>,
    /// How many may still come.
    left: u32,
}

struct Packer<'a, W> {
    cursor: Cursor<'a>,
    ownership: &'a Ownership,
    form: Form,
    tar: Writer<W>,
    /// By layer, device and inode.
    links: HashMap<(usize, u64, u64), Links>,
    /// Bytes of the archive, roughly.
    written: u64,
    report: Report,
    buffer: Vec<u8>,
}

impl<W: Write> Packer<'_, W> {
    fn tree(&mut self, upper: bool) -> Result<()> {
        let all = match self.form {
            Form::Changes => vec![0],
            Form::Layer | Form::Files => self.cursor.stack.from(0),
        };
        if self.form == Form::Layer {
            // Of a container's own directory rbox has made the root: what the image says of it is in the layers.
            let root = if upper && all.len() > 1 { 1 } else { 0 };
            self.directory(root, Path::new("")).context("/")?;
        }
        let mut levels = vec![self.level(PathBuf::new(), &all)?];
        while let Some(level) = levels.last_mut() {
            let Some((name, item)) = level.names.next() else {
                levels.pop();
                continue;
            };
            let path = level.path.join(&name);
            let inner = self.item(&path, &name, item).with_context(|| shown(path.as_os_str().as_bytes()))?;
            levels.extend(inner);
        }
        Ok(())
    }

    /// What is to be packed of a directory.
    fn level(&mut self, path: PathBuf, layers: &[usize]) -> Result<Level> {
        let stack = self.cursor.stack;
        let names: Vec<(OsString, Item)> = if self.form == Form::Changes {
            let Some(listing) = stack.read(0, &path)? else {
                self.report.gone += 1;
                return Ok(Level { path, names: vec![].into_iter() });
            };
            if listing.opaque {
                self.whiteout(&path, OsStr::from_bytes(OPAQUE))?;
            }
            let (whiteouts, others): (Vec<_>, Vec<_>) =
                listing.names.into_iter().partition(|(_, node)| *node == Node::Whiteout);
            let item = |(name, node)| match node {
                Node::Whiteout => (name, Item::Whiteout),
                Node::Directory => (name, Item::Found(Found::Directory(vec![0]))),
                Node::Other => (name, Item::Found(Found::Other(0))),
            };
            whiteouts.into_iter().chain(others).map(item).collect()
        } else {
            stack.merged(layers, &path)?.into_iter().map(|(name, found)| (name, Item::Found(found))).collect()
        };
        Ok(Level { path, names: names.into_iter() })
    }

    /// One name; what is in it, if it is a directory.
    fn item(&mut self, path: &Path, name: &OsStr, item: Item) -> Result<Option<Level>> {
        ensure!(path.as_os_str().len() <= MAX_PATH, "a path of {} bytes", path.as_os_str().len());
        if self.form != Form::Files && name.as_bytes().starts_with(WHITEOUT) {
            return Err(anyhow!("a layer cannot have a name that begins with .wh., which stands for a deleted file"))
                .hint(|| "rename or remove it".to_owned());
        }
        let parent = path.parent().unwrap_or(Path::new(""));
        match item {
            Item::Whiteout => {
                let name = [WHITEOUT, name.as_bytes()].concat();
                self.whiteout(parent, OsStr::from_bytes(&name))?;
            }
            Item::Found(Found::Directory(layers)) => {
                let Some(layer) = layers.first() else { return Ok(None) };
                if self.directory(*layer, path)? {
                    return self.level(path.to_owned(), &layers).map(Some);
                }
            }
            Item::Found(Found::Other(layer)) => self.other(layer, parent, name, path)?,
        }
        Ok(None)
    }

    /// The mark of something deleted: an empty file whose time, like all else, is not that of this moment.
    fn whiteout(&mut self, directory: &Path, name: &OsStr) -> Result<()> {
        let path = directory.join(name);
        ensure!(path.as_os_str().len() <= MAX_PATH, "a path of {} bytes", path.as_os_str().len());
        self.report.whiteouts += 1;
        self.begin(&Entry {
            kind: Kind::Regular,
            path: path.as_os_str().as_bytes().to_vec(),
            link: vec![],
            mode: 0o600,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
            size: 0,
            pieces: None,
            device: (0, 0),
            xattrs: vec![],
        })
    }

    /// A directory itself; false if it has gone.
    fn directory(&mut self, layer: usize, path: &Path) -> Result<bool> {
        let directory = match self.cursor.stack.open(layer, path) {
            Ok(Some(directory)) => directory,
            Ok(None) => {
                self.report.gone += 1;
                return Ok(false);
            }
            Err(error) => {
                // An error that says more, if there is one.
                if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
                    if let Some(stat) = self.cursor.stat(layer, parent, name)? {
                        self.ownership.on_disk(&stat)?;
                    }
                }
                return Err(error);
            }
        };
        let stat = rustix::fs::fstat(&directory).named(|| "fstat".to_owned())?;
        // The root is "./".
        let name = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let (owner, xattrs) = self.described(layer, path, &stat, Some(&directory))?;
        self.begin(&Entry { xattrs, ..entry(Kind::Directory, name, &stat, owner) })?;
        Ok(true)
    }

    fn other(&mut self, layer: usize, parent: &Path, name: &OsStr, path: &Path) -> Result<()> {
        let Some(stat) = self.cursor.stat(layer, parent, name)? else {
            self.report.gone += 1;
            return Ok(());
        };
        // Before it is opened: this error says more than that it cannot be.
        self.ownership.on_disk(&stat)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => return self.file(layer, parent, name, path),
            FileType::Socket => self.report.sockets += 1,
            FileType::Symlink => {
                let Some(directory) = self.cursor.directory(layer, parent)? else { return Ok(()) };
                match rustix::fs::readlinkat(directory, name, Vec::new()) {
                    Ok(target) => {
                        let link = target.into_bytes();
                        return self.node(layer, path, &stat, |entry| Entry { kind: Kind::Symlink, link, ..entry });
                    }
                    Err(Errno::NOENT | Errno::INVAL) => self.report.gone += 1,
                    Err(errno) => return Err(errno).named(|| "readlink".to_owned())?,
                }
            }
            FileType::Fifo => return self.node(layer, path, &stat, |entry| Entry { kind: Kind::Fifo, ..entry }),
            // It became one since it was listed.
            FileType::Directory | FileType::Unknown => self.report.gone += 1,
            FileType::CharacterDevice if remove::is_whiteout(&stat) => self.report.gone += 1,
            kind @ (FileType::CharacterDevice | FileType::BlockDevice) => {
                let kind = if kind == FileType::BlockDevice { Kind::BlockDevice } else { Kind::CharDevice };
                let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
                return self.node(layer, path, &stat, |entry| Entry { kind, device, ..entry });
            }
        }
        Ok(())
    }

    /// What has neither data nor attributes.
    fn node(&mut self, layer: usize, path: &Path, stat: &Stat, make: impl FnOnce(Entry) -> Entry) -> Result<()> {
        if self.is_another_name(layer, path, stat)? {
            return Ok(());
        }
        let (owner, _) = self.described(layer, path, stat, None)?;
        self.begin(&make(entry(Kind::Fifo, path, stat, owner)))
    }

    fn file(&mut self, layer: usize, parent: &Path, name: &OsStr, path: &Path) -> Result<()> {
        let Some(directory) = self.cursor.directory(layer, parent)? else { return Ok(()) };
        // What took its place since then is neither followed nor waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(directory, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => {
                self.report.gone += 1;
                return Ok(());
            }
            Err(errno) => return Err(errno).named(|| "open".to_owned())?,
        };
        let stat = rustix::fs::fstat(&file).named(|| "fstat".to_owned())?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            self.report.gone += 1;
            return Ok(());
        }
        if self.is_another_name(layer, path, &stat)? {
            return Ok(());
        }
        let (owner, xattrs) = self.described(layer, path, &stat, Some(&file))?;
        if let Some((kind, major, minor)) = owner.device {
            let kind = if kind == 'b' { Kind::BlockDevice } else { Kind::CharDevice };
            return self.begin(&Entry { device: (major, minor), ..entry(kind, path, &stat, owner) });
        }
        let size = stat.st_size as u64;
        self.begin(&Entry { xattrs, size, ..entry(Kind::Regular, path, &stat, owner) })?;
        content(&mut self.tar, &mut self.buffer, &file, size)?;
        self.report.bytes += size;
        let after = rustix::fs::fstat(&file).named(|| "fstat".to_owned())?;
        let state = |stat: &Stat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
        if state(&after) != state(&stat) {
            self.report.changed += 1;
        }
        Ok(())
    }

    /// Writes a hard link if the file has been packed under another name; else remembers this one.
    fn is_another_name(&mut self, layer: usize, path: &Path, stat: &Stat) -> Result<bool> {
        if stat.st_nlink < 2 {
            return Ok(false);
        }
        let key = (layer, stat.st_dev, stat.st_ino);
        let path_bytes = path.as_os_str().as_bytes().to_vec();
        let Some(links) = self.links.get_mut(&key) else {
            self.links.insert(key, Links { first: path_bytes, left: stat.st_nlink as u32 - 1 });
            return Ok(false);
        };
        let link = links.first.clone();
        links.left -= 1;
        if links.left == 0 {
            self.links.remove(&key);
        }
        let (owner, _) = self.described(layer, path, stat, None)?;
        self.begin(&Entry { link, ..entry(Kind::Hardlink, path, stat, owner) })?;
        Ok(true)
    }

    /// The owner of something, and the attributes of it that an image can have.
    fn described(&mut self, layer: usize, path: &Path, stat: &Stat, file: Option<&OwnedFd>) -> Result<(Owner, Xattrs)> {
        let mut xattrs = match file {
            Some(file) => xattrs::of_image(file.as_fd(), &mut self.report.attributes)?,
            None => vec![],
        };
        let mut recorded = None;
        if self.ownership.in_attributes() {
            let at = xattrs.iter().position(|(name, _)| name == owners::ATTRIBUTE.as_bytes());
            recorded = at.map(|at| xattrs.swap_remove(at).1);
        }
        let owner = self.ownership.of(self.cursor.stack, layer, path, stat, recorded.as_deref())?;
        Ok((owner, xattrs))
    }

    fn begin(&mut self, entry: &Entry) -> Result<()> {
        self.report.entries += 1;
        ensure!(self.report.entries <= MAX_ENTRIES, "more than {MAX_ENTRIES} entries");
        self.written = self.written.saturating_add(entry.size.saturating_add(1024));
        ensure!(self.written <= MAX_ARCHIVE, "an archive of more than 1 TiB");
        Ok(self.tar.entry(entry)?)
    }
}

fn entry(kind: Kind, path: &Path, stat: &Stat, owner: Owner) -> Entry {
    Entry {
        kind,
        path: path.as_os_str().as_bytes().to_vec(),
        link: vec![],
        mode: stat.st_mode & 0o7777,
        uid: owner.uid.into(),
        gid: owner.gid.into(),
        mtime: (stat.st_mtime, stat.st_mtime_nsec as u32),
        size: 0,
        pieces: None,
        device: (0, 0),
        xattrs: vec![],
    }
}

/// As many bytes as were announced: zeros in the place of those that are there no more. `buffer`: as much is read at once.
pub fn content(tar: &mut Writer<impl Write>, buffer: &mut [u8], file: &OwnedFd, size: u64) -> Result<()> {
    let mut left = size;
    while left > 0 {
        let limit = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let mut length =
            rustix::io::retry_on_intr(|| rustix::io::read(file, &mut buffer[..limit])).named(|| "read".to_owned())?;
        if length == 0 {
            buffer[..limit].fill(0);
            length = limit;
        }
        tar.data(&buffer[..length])?;
        left -= length as u64;
    }
    Ok(())
}
