//! Directories that lie on one another, read as overlay would show them, but by rbox itself.
//!
//! Runs in: the sandbox of `storage/sandbox.rs`, whose directories these are.
//!
//! Not a mount, because what is packed needs to know which layer a file is from (its owners are in the layer's table),
//! because an upper directory that a container still uses must not be part of a second overlay (overlayfs.rst,
//! "Sharing and copying layers"), and because neither the number of layers nor the file system below then matters.
//! Rules as in overlayfs.rst: the topmost entry of a name wins; directories of one name are one, down to the first that
//! is opaque or to the first entry that is none; a whiteout hides what is below it.

use super::remove;
use super::whiteout::OPAQUE_ATTRIBUTE;
use crate::sys::{Named, path};
use anyhow::{Context, Result};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// On an empty file in a directory whose [`OPAQUE_ATTRIBUTE`] is `x`: it is a whiteout (Linux 6.7).
const WHITEOUT_ATTRIBUTE: &str = "user.overlay.whiteout";

/// The directories, the topmost first.
#[derive(Debug)]
pub struct Stack {
    layers: Vec<OwnedFd>,
}

/// What one layer has at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Directory,
    /// A whiteout in one of its forms.
    Whiteout,
    /// Anything else.
    Other,
}

/// A directory of one layer.
#[derive(Debug, Default)]
pub struct Listing {
    /// Lower layers have nothing to add.
    pub opaque: bool,
    /// Sorted by bytes.
    pub names: Vec<(OsString, Node)>,
}

/// What the stack has at a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A directory, in these layers as far as they are known: an opaque one among them ends the list when it is read.
    Directory(Vec<usize>),
    /// Something else, in this layer.
    Other(usize),
}

impl Found {
    /// The layer that its owner and its attributes are from.
    pub fn layer(&self) -> usize {
        match self {
            // There is always one.
            Found::Directory(layers) => layers.first().copied().unwrap_or_default(),
            Found::Other(layer) => *layer,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opaque {
    No,
    Yes,
    /// It may have whiteouts that are files.
    HasWhiteouts,
}

impl Stack {
    /// These directories, the topmost first.
    pub fn new(layers: Vec<OwnedFd>) -> Stack {
        Stack { layers }
    }

    /// The layers from `first` on.
    pub fn from(&self, first: usize) -> Vec<usize> {
        (first..self.layers.len()).collect()
    }

    /// Opens a directory of one layer; `None` if it is not there, or no directory, any more.
    pub fn open(&self, layer: usize, path: &Path) -> Result<Option<OwnedFd>> {
        let root = self.layers.get(layer).context("no such layer")?;
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        match path::open_in_without_links(root.as_fd(), path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW) {
            Ok(directory) => Ok(Some(directory)),
            Err(error) if matches!(error.errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What one layer has in a directory; `None` if there is none.
    pub fn read(&self, layer: usize, path: &Path) -> Result<Option<Listing>> {
        let Some(directory) = self.open(layer, path)? else { return Ok(None) };
        let opaque = opaque(directory.as_fd())?;
        let list = || format!("read directory {}", path.display());
        let mut names = Vec::new();
        for item in Dir::read_from(&directory).named(list)? {
            let item = item.named(list)?;
            let name = OsStr::from_bytes(item.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let node = match item.file_type() {
                FileType::Directory => Some(Node::Directory),
                FileType::RegularFile if opaque != Opaque::HasWhiteouts => Some(Node::Other),
                FileType::Symlink | FileType::Fifo | FileType::Socket | FileType::BlockDevice => Some(Node::Other),
                _ => node(directory.as_fd(), name, opaque)?.map(|(node, _)| node),
            };
            // None: it was deleted while it was read.
            names.extend(node.map(|node| (name.to_owned(), node)));
        }
        names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(Some(Listing { opaque: opaque == Opaque::Yes, names }))
    }

    /// What some layers, the topmost first, show together in a directory, sorted by bytes.
    pub fn merged(&self, layers: &[usize], path: &Path) -> Result<Vec<(OsString, Found)>> {
        /// A name that was seen: hidden by a whiteout, or found; and whether lower layers can add to it.
        struct Seen {
            found: Option<Found>,
            open: bool,
        }
        let mut all: BTreeMap<OsString, Seen> = BTreeMap::new();
        for layer in layers {
            let Some(listing) = self.read(*layer, path)? else { continue };
            for (name, node) in listing.names {
                match all.get_mut(&name) {
                    Some(seen) if !seen.open => {}
                    Some(Seen { found: Some(Found::Directory(layers)), open }) => match node {
                        Node::Directory => layers.push(*layer),
                        Node::Whiteout | Node::Other => *open = false,
                    },
                    _ => {
                        let seen = match node {
                            Node::Directory => Seen { found: Some(Found::Directory(vec![*layer])), open: true },
                            Node::Whiteout => Seen { found: None, open: false },
                            Node::Other => Seen { found: Some(Found::Other(*layer)), open: false },
                        };
                        all.insert(name, seen);
                    }
                }
            }
            if listing.opaque {
                break;
            }
        }
        Ok(all.into_iter().filter_map(|(name, seen)| Some((name, seen.found?))).collect())
    }

    /// What some layers, the topmost first, show at a path; the layer that it is from.
    pub fn find(&self, layers: Vec<usize>, path: &Path) -> Result<Option<(usize, Stat)>> {
        let mut layers = layers;
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
        let mut above = PathBuf::new();
        for part in parent {
            let mut next = Vec::new();
            for layer in layers {
                let Some(directory) = self.open(layer, &above)? else { continue };
                let opaque = opaque(directory.as_fd())?;
                match node(directory.as_fd(), part, opaque)? {
                    Some((Node::Directory, _)) => next.push(layer),
                    Some(_) => break,
                    None => {}
                }
                if opaque == Opaque::Yes {
                    break;
                }
            }
            above.push(part);
            layers = next;
        }
        for layer in layers {
            let Some(directory) = self.open(layer, &above)? else { continue };
            let opaque = opaque(directory.as_fd())?;
            match node(directory.as_fd(), name, opaque)? {
                Some((Node::Whiteout, _)) => return Ok(None),
                Some((_, stat)) => return Ok(Some((layer, stat))),
                None if opaque == Opaque::Yes => return Ok(None),
                None => {}
            }
        }
        Ok(None)
    }
}

/// The directory that was used last, since entries come sorted.
#[derive(Debug)]
pub struct Cursor<'a> {
    /// The stack that it moves in.
    pub stack: &'a Stack,
    here: Option<(usize, PathBuf, OwnedFd)>,
}

impl<'a> Cursor<'a> {
    /// At no place yet.
    pub fn new(stack: &'a Stack) -> Cursor<'a> {
        Cursor { stack, here: None }
    }

    /// A directory of one layer, opened; `None` if it has gone.
    pub fn directory(&mut self, layer: usize, path: &Path) -> Result<Option<BorrowedFd<'_>>> {
        if !matches!(&self.here, Some((known, there, _)) if *known == layer && there == path) {
            self.here = self.stack.open(layer, path)?.map(|directory| (layer, path.to_owned(), directory));
        }
        Ok(self.here.as_ref().map(|(_, _, directory)| directory.as_fd()))
    }

    /// An entry of such a directory; `None` if it has gone.
    pub fn stat(&mut self, layer: usize, path: &Path, name: &OsStr) -> Result<Option<Stat>> {
        match self.directory(layer, path)? {
            Some(directory) => stat(directory, name),
            None => Ok(None),
        }
    }
}

/// An entry of a directory, not followed; `None` if it is not there.
pub fn stat(directory: BorrowedFd<'_>, name: &OsStr) -> Result<Option<Stat>> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno).named(|| format!("stat({})", name.to_string_lossy())).map_err(Into::into),
    }
}

fn node(directory: BorrowedFd<'_>, name: &OsStr, opaque: Opaque) -> Result<Option<(Node, Stat)>> {
    let Some(stat) = stat(directory, name)? else { return Ok(None) };
    let node = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Node::Directory,
        FileType::CharacterDevice if remove::is_whiteout(&stat) => Node::Whiteout,
        FileType::RegularFile if opaque == Opaque::HasWhiteouts && stat.st_size == 0 => {
            // A fifo that took its place meanwhile does not block.
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            match rustix::fs::openat(directory, name, flags, Mode::empty()) {
                Ok(file) if attribute(file.as_fd(), WHITEOUT_ATTRIBUTE)?.is_some() => Node::Whiteout,
                Ok(_) => Node::Other,
                Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => Node::Other,
                Err(errno) => return Err(errno).named(|| format!("open({})", name.to_string_lossy()))?,
            }
        }
        _ => Node::Other,
    };
    Ok(Some((node, stat)))
}

fn opaque(directory: BorrowedFd<'_>) -> Result<Opaque> {
    Ok(match attribute(directory, OPAQUE_ATTRIBUTE)? {
        Some(Some(b'y')) => Opaque::Yes,
        Some(Some(b'x')) => Opaque::HasWhiteouts,
        _ => Opaque::No,
    })
}

/// An attribute that is there, and its only byte, if it is one.
fn attribute(file: BorrowedFd<'_>, name: &str) -> Result<Option<Option<u8>>> {
    let mut value = [0; 1];
    match rustix::fs::fgetxattr(file, name, &mut value) {
        Ok(length) => Ok(Some((length == 1).then_some(value[0]))),
        Err(Errno::RANGE) => Ok(Some(None)),
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
        Err(errno) => Err(errno).named(|| format!("getxattr({name})")).map_err(Into::into),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::XattrFlags;

    /// Layers below a temporary directory, the topmost first, each given as its paths: `d/` is a directory, `d//` an
    /// opaque one, `d/?` one with whiteouts that are files, `-f` such a whiteout.
    fn stack(layers: &[&[&str]]) -> (tempfile::TempDir, Stack) {
        let dir = tempfile::tempdir().expect("a directory");
        let mut open = Vec::new();
        for (number, paths) in layers.iter().enumerate() {
            let root = dir.path().join(number.to_string());
            fs_err::create_dir(&root).expect("made");
            for path in *paths {
                let place = root.join(path.trim_start_matches('-').trim_end_matches(['/', '?']));
                let set = |name: &str, value: &[u8]| {
                    rustix::fs::setxattr(&place, name, value, XattrFlags::empty()).expect("attributes of users");
                };
                if path.ends_with(['/', '?']) {
                    fs_err::create_dir_all(&place).expect("made");
                } else {
                    fs_err::create_dir_all(place.parent().expect("one")).expect("made");
                    fs_err::write(&place, "").expect("made");
                }
                match path {
                    path if path.ends_with("//") => set(OPAQUE_ATTRIBUTE, b"y"),
                    path if path.ends_with('?') => set(OPAQUE_ATTRIBUTE, b"x"),
                    path if path.starts_with('-') => set(WHITEOUT_ATTRIBUTE, b""),
                    _ => {}
                }
            }
            open.push(
                path::open_in(crate::sys::mount::place(&root).expect("there").as_fd(), Path::new("."), OFlags::PATH)
                    .expect("there"),
            );
        }
        (dir, Stack::new(open))
    }

    /// The whole tree: `path@layers`.
    fn shown(stack: &Stack) -> Vec<String> {
        let mut all = Vec::new();
        let mut ahead = vec![(PathBuf::new(), stack.from(0))];
        while let Some((path, layers)) = ahead.pop() {
            for (name, found) in stack.merged(&layers, &path).expect("read") {
                let path = path.join(name);
                let (layer, _) = stack.find(stack.from(0), &path).expect("read").expect("there");
                assert_eq!(layer, found.layer(), "{path:?}");
                match found {
                    Found::Other(layer) => all.push(format!("{}@{layer}", path.display())),
                    Found::Directory(layers) => {
                        all.push(format!("{}/@{layers:?}", path.display()));
                        ahead.push((path, layers));
                    }
                }
            }
        }
        all.sort();
        all
    }

    #[test]
    fn the_topmost_wins_and_directories_are_one() {
        let (_dir, stack) = stack(&[
            &["d/top", "was-dir", "was-file/"],
            &["d/both", "was-dir/x", "was-file"],
            &["d/both", "d/sub/low", "was-dir/y", "low"],
        ]);
        assert_eq!(
            shown(&stack),
            ["d/@[0, 1, 2]", "d/both@1", "d/sub/@[2]", "d/sub/low@2", "d/top@0", "low@2", "was-dir@0", "was-file/@[0]"]
        );
    }

    #[test]
    fn nothing_comes_through_an_opaque_directory_or_a_file() {
        let (_dir, stack) = stack(&[
            &["d/", "e//", "e/new"],
            &["d//", "d/mid", "e/old", "f/top"],
            &["d/low", "e/older", "f"],
            &["f/hidden"],
        ]);
        assert_eq!(shown(&stack), ["d/@[0, 1, 2]", "d/mid@1", "e/@[0, 1, 2]", "e/new@0", "f/@[1]", "f/top@1"]);
        assert_eq!(stack.find(stack.from(0), Path::new("e/old")).expect("read").map(|found| found.0), None);
        assert_eq!(stack.find(stack.from(1), Path::new("e/old")).expect("read").map(|found| found.0), Some(1));
        assert!(stack.find(stack.from(0), Path::new("f/hidden")).expect("read").is_none());
        assert!(stack.find(stack.from(0), Path::new("no/such")).expect("read").is_none());
    }

    #[test]
    fn whiteouts_hide_what_is_below() {
        let (_dir, stack) =
            stack(&[&["d?", "-d/gone", "-d/again/", "plain/", "-plain/file"], &["d/gone", "d/stays", "d/again/x"]]);
        // `-d/again/` is a directory, so the attribute says nothing; nor does it where the directory has no mark.
        assert_eq!(
            shown(&stack),
            ["d/@[0, 1]", "d/again/@[0, 1]", "d/again/x@1", "d/stays@1", "plain/@[0]", "plain/file@0"]
        );
        assert!(stack.find(stack.from(0), Path::new("d/gone")).expect("read").is_none());
        assert!(stack.find(stack.from(1), Path::new("d/gone")).expect("read").is_some());
    }
}
