//! What a container has changed, as `docker diff` lists it.
//!
//! Runs in: [`walk`] in the sandbox of `storage/sandbox.rs`; [`changes`] with the caller.
//!
//! docker compares the two trees by what stat(2) says (moby, `archive.ChangesDirs`): a file has changed if its kind,
//! mode, owner, device number, length or time has, or its capabilities; a directory if its mode or owner has, or if
//! anything below it has. A deleted directory is one line, and so is one that a file replaced. What overlay copied up
//! and nobody changed is no change. Only what is in the upper directory is looked at: all else is as it was.

use super::frames;
use super::owners;
use super::stack::{Cursor, Found, Node, Stack};
use super::store::Store;
use super::tree::Tree;
use super::unpack::{MAX_ENTRIES, shown};
use super::worker::Task;
use super::xattrs;
use crate::sys::Named;
use anyhow::{Context, Result, ensure};
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What became of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// It was there and is another; or something below it is.
    Changed,
    /// It is no more.
    Deleted,
}

impl Change {
    /// docker's letter: A, C or D.
    pub fn letter(self) -> char {
        match self {
            Change::Added => 'A',
            Change::Changed => 'C',
            Change::Deleted => 'D',
        }
    }

    fn of_letter(letter: u8) -> Option<Change> {
        [Change::Added, Change::Changed, Change::Deleted].into_iter().find(|change| change.letter() as u8 == letter)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.letter())
    }
}

/// Calls `each` with every change of a container: a directory before what is in it, names by their bytes. `upper`: its
/// own directory; `layers`: what is below, the topmost first. Paths begin with a slash. The store has to be opened with
/// the container's ids. Fails at more than ten million changes.
pub fn changes(
    store: &Store,
    upper: &Path,
    layers: &[PathBuf],
    mut each: impl FnMut(Change, &Path) -> Result<()>,
) -> Result<()> {
    let mut lines = Lines::default();
    let task = Task::Changes { tree: Tree::new(store, Some(upper), layers) };
    frames::run::<()>(&task, |piece| lines.take(piece, &mut each)).context("changes")?;
    ensure!(lines.rest.is_empty(), "changes: a worker of the store ended within a path");
    Ok(())
}

/// Reads what [`write_line`] has written, in any pieces.
#[derive(Debug, Default)]
pub struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// Calls `each` with every change that is whole by now.
    pub fn take(&mut self, piece: &[u8], each: &mut impl FnMut(Change, &Path) -> Result<()>) -> Result<()> {
        self.rest.extend_from_slice(piece);
        let mut from = 0;
        while let Some(length) = self.rest[from..].iter().position(|byte| *byte == 0) {
            let line = &self.rest[from..from + length];
            let (letter, path) = line.split_first().context("changes: an empty line")?;
            let change = Change::of_letter(*letter).context("changes: an unknown letter")?;
            each(change, Path::new(OsStr::from_bytes(path)))?;
            from += length + 1;
        }
        self.rest.drain(..from);
        Ok(())
    }
}

/// The worker's words: the letter, the path, a NUL.
pub fn write_line(mut out: impl std::io::Write, change: Change, path: &Path) -> std::io::Result<()> {
    write!(out, "{change}")?;
    out.write_all(path.as_os_str().as_bytes())?;
    out.write_all(&[0])
}

/// A directory that is being compared.
struct Level {
    path: PathBuf,
    /// It was listed itself, or is the root.
    listed: bool,
    /// Nothing of lower layers is seen in it.
    opaque: bool,
    names: std::vec::IntoIter<(OsString, Both)>,
}

/// What the upper directory and the layers below have at a name.
#[derive(Default)]
struct Both {
    upper: Option<Node>,
    lower: Option<Found>,
}

/// Compares the first directory of a stack with the others.
pub fn walk(stack: &Stack, mut each: impl FnMut(Change, &Path) -> Result<()>) -> Result<()> {
    let mut cursors = (Cursor::new(stack), Cursor::new(stack));
    let root = level(stack, PathBuf::from(""), &stack.from(1), false)?;
    let mut levels = vec![Level { listed: true, ..root }];
    let mut count = 0;
    while let Some(level) = levels.last_mut() {
        let Some((name, Both { upper, lower })) = level.names.next() else {
            levels.pop();
            continue;
        };
        let (parent, opaque) = (level.path.clone(), level.opaque);
        let path = parent.join(&name);
        let change = match (upper, &lower) {
            (None | Some(Node::Whiteout), Some(_)) => Some(Change::Deleted),
            (None | Some(Node::Whiteout), None) => continue,
            (Some(_), None) => Some(Change::Added),
            (Some(_), Some(found)) => is_different(&mut cursors, &parent, &name, found)
                .with_context(|| shown(path.as_os_str().as_bytes()))?
                .then_some(Change::Changed),
        };
        let mut list = |change, path: &Path| {
            count += 1;
            ensure!(count <= MAX_ENTRIES, "more than {MAX_ENTRIES} changes");
            each(change, &Path::new("/").join(path))
        };
        if let Some(change) = change {
            for above in levels.iter_mut().filter(|level| !level.listed) {
                list(Change::Changed, &above.path)?;
                above.listed = true;
            }
            list(change, &path)?;
        }
        if upper == Some(Node::Directory) {
            let lower = match lower {
                Some(Found::Directory(layers)) => layers,
                // What is below another kind of thing is all new.
                Some(Found::Other(_)) | None => vec![],
            };
            let inner = self::level(stack, path, &lower, opaque)?;
            levels.push(Level { listed: change.is_some(), ..inner });
        }
    }
    Ok(())
}

/// `opaque`: that the directory above is.
fn level(stack: &Stack, path: PathBuf, lower: &[usize], opaque: bool) -> Result<Level> {
    let upper = stack.read(0, &path).with_context(|| shown(path.as_os_str().as_bytes()))?.unwrap_or_default();
    let opaque = opaque || upper.opaque;
    let mut names: BTreeMap<OsString, Both> = BTreeMap::new();
    for (name, node) in upper.names {
        names.insert(name, Both { upper: Some(node), lower: None });
    }
    for (name, found) in stack.merged(lower, &path).with_context(|| shown(path.as_os_str().as_bytes()))? {
        match names.get_mut(&name) {
            Some(both) => both.lower = Some(found),
            None if opaque => drop(names.insert(name, Both { upper: None, lower: Some(found) })),
            // As it was.
            None => {}
        }
    }
    Ok(Level { path, listed: false, opaque, names: names.into_iter().collect::<Vec<_>>().into_iter() })
}

/// Compares two entries of one name.
fn is_different(
    (upper, lower): &mut (Cursor<'_>, Cursor<'_>),
    parent: &Path,
    name: &OsStr,
    found: &Found,
) -> Result<bool> {
    let (Some(new), Some(old)) = (upper.stat(0, parent, name)?, lower.stat(found.layer(), parent, name)?) else {
        // Deleted a moment ago.
        return Ok(true);
    };
    let kind = FileType::from_raw_mode(new.st_mode);
    let known = |stat: &Stat| (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_rdev);
    let content = |stat: &Stat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
    if known(&new) != known(&old) || (kind != FileType::Directory && content(&new) != content(&old)) {
        return Ok(true);
    }
    if !matches!(kind, FileType::RegularFile | FileType::Directory) {
        return Ok(false);
    }
    Ok(recorded(upper, 0, parent, name)? != recorded(lower, found.layer(), parent, name)?)
}

/// What is known of a file by its attributes: its capabilities, and its owner where there is one id.
fn recorded(cursor: &mut Cursor<'_>, layer: usize, parent: &Path, name: &OsStr) -> Result<[Option<Vec<u8>>; 2]> {
    let Some(directory) = cursor.directory(layer, parent)? else { return Ok([None, None]) };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(directory, name, flags, Mode::empty()) {
        Ok(file) => file,
        // Gone, or of an owner who is nobody here.
        Err(Errno::NOENT | Errno::LOOP | Errno::NXIO | Errno::ACCESS) => return Ok([None, None]),
        Err(errno) => return Err(errno).named(|| "open".to_owned())?,
    };
    // One that cannot be read was not changed by the container.
    let value = |name: &str| xattrs::value(file.as_fd(), name.as_bytes()).unwrap_or(None);
    Ok([value("security.capability"), value(owners::ATTRIBUTE)])
}
