//! Where a path of a copy leads: at its beginning and at its end.
//!
//! Runs in: the caller's namespaces for paths of the host; the container's user and mount namespace for its own.

use crate::sys::path;
use crate::sys::{self, Named};
use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// As many symlinks as the kernel follows in one walk.
const MAX_LINKS: usize = 40;
/// A directory is not deeper than the kernel's longest path (PATH_MAX).
const MAX_DEPTH: usize = 4096;

/// A path as it was typed, without `.` and `..`, and what its end says. As in docker `..` takes away what is before it in the
/// text, whatever symlinks say (moby, `archive.SplitPathDirEntry`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Typed {
    /// It begins with a slash.
    pub path: PathBuf,
    /// It ended in a slash or in `/.`: it can only be a directory, and a symlink to one is followed.
    pub is_directory: bool,
    /// It ended in `/.`, or is the root: what is in the directory is meant, not the directory itself.
    pub is_contents: bool,
}

impl Typed {
    /// Of a text that is meant from the directory `base`.
    pub fn new(base: &Path, text: &str) -> Typed {
        let mut path = PathBuf::from("/");
        for part in base.join(text).components() {
            match part {
                Component::Normal(name) => path.push(name),
                Component::ParentDir => drop(path.pop()),
                _ => {}
            }
        }
        let ends_in_dot = text == "." || text.ends_with("/.");
        let is_root = path == Path::new("/");
        Typed { path, is_directory: ends_in_dot || is_root || text.ends_with('/'), is_contents: ends_in_dot || is_root }
    }

    /// Its last name; none is the root's.
    pub fn name(&self) -> Option<&OsStr> {
        self.path.file_name()
    }
}

/// The tree that paths are of.
#[derive(Debug)]
pub enum View {
    /// The caller's own, with all that the kernel does with a path.
    Own,
    /// As if this directory were "/"; links of /proc lead nowhere (see `sys/path.rs`).
    Below(OwnedFd),
}

impl View {
    fn open(&self, path: &Path, flags: OFlags) -> sys::Result<OwnedFd> {
        match self {
            View::Own => rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())
                .named(|| format!("open({})", path.display())),
            View::Below(root) => path::open_in(root.as_fd(), path, flags),
        }
    }
}

/// What tells a file from all others: device and inode.
pub type Identity = (u64, u64);

/// What is copied: an entry of a directory, which is opened.
#[derive(Debug)]
pub struct Source {
    /// The directory.
    pub parent: OwnedFd,
    /// The entry; "." if it is the directory itself.
    pub name: OsString,
    /// What others are told.
    pub about: AboutSource,
}

/// What others need to know of what is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AboutSource {
    /// It is a directory.
    pub is_directory: bool,
    /// Which file it is.
    pub identity: Identity,
}

/// Finds what is copied. A symlink is copied itself, unless `follow` or the end of the path says otherwise.
pub fn source(view: &View, typed: &Typed, follow: bool) -> Result<Source> {
    let Located { parent, name, found } = locate(view, &typed.path, follow || typed.is_directory)?;
    let Some(stat) = found else { bail!("no such file or directory") };
    let is_directory = kind(&stat) == FileType::Directory;
    ensure!(is_directory || !typed.is_directory, "not a directory");
    Ok(Source { parent, name, about: AboutSource { is_directory, identity: identity(&stat) } })
}

/// Where it goes.
#[derive(Debug)]
pub struct Target {
    /// The directory that has it, or will.
    pub parent: OwnedFd,
    /// Its name there; "." is the directory itself.
    pub name: OsString,
    /// What others are told.
    pub about: AboutTarget,
}

/// What is at the end of the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AboutTarget {
    /// A directory.
    Directory,
    /// A file.
    File,
    /// Nothing yet, in a directory that is there.
    Nothing,
}

/// Finds where something goes. Symlinks are followed, also one that leads to nothing: its target is what will be made, as
/// in docker. `source`: what is copied, if that is known: it must not be copied into or onto itself.
pub fn target(view: &View, typed: &Typed, source: Option<&AboutSource>) -> Result<Target> {
    let Located { parent, name, found } = locate(view, &typed.path, true)?;
    let about = match found.as_ref().map(kind) {
        None => AboutTarget::Nothing,
        Some(FileType::Directory) => AboutTarget::Directory,
        Some(FileType::RegularFile) => AboutTarget::File,
        Some(_) => bail!("neither a directory nor a regular file"),
    };
    ensure!(about != AboutTarget::File || !typed.is_directory, "not a directory");
    if let Some(source) = source {
        let is_same = found.as_ref().is_some_and(|stat| identity(stat) == source.identity);
        ensure!(!is_same, "is the same as what is to be copied");
        if source.is_directory {
            ensure!(!is_below(&parent, source.identity)?, "is in the directory that is to be copied");
        }
    }
    Ok(Target { parent, name, about })
}

/// A place in a directory.
struct Located {
    parent: OwnedFd,
    name: OsString,
    found: Option<Stat>,
}

/// The directory that a path's last name is in, and what it has there. With `follow` a symlink leads on.
fn locate(view: &View, path: &Path, follow: bool) -> Result<Located> {
    let mut path = path.to_owned();
    for _ in 0..=MAX_LINKS {
        let (above, name) = match (path.parent(), path.file_name()) {
            (Some(above), Some(name)) => (above.to_owned(), name.to_owned()),
            // The root, or what a symlink says that ends in "..".
            _ => (path.clone(), OsString::from(".")),
        };
        let parent = view.open(&above, OFlags::PATH | OFlags::DIRECTORY).map_err(|error| match error.errno {
            Errno::NOENT | Errno::NOTDIR => {
                anyhow::anyhow!("no such file or directory").context(above.display().to_string())
            }
            _ => error.into(),
        })?;
        let found = stat(parent.as_fd(), &name)?;
        if !follow || !found.as_ref().is_some_and(|stat| kind(stat) == FileType::Symlink) {
            return Ok(Located { parent, name, found });
        }
        let target = rustix::fs::readlinkat(&parent, &name, Vec::new())
            .named(|| format!("readlink({})", path.display()))
            .context("symlink")?;
        path = above.join(OsStr::from_bytes(target.as_bytes()));
    }
    Err(Errno::LOOP).named(|| path.display().to_string()).map_err(Into::into)
}

/// True if a directory is this one or below it.
fn is_below(directory: &OwnedFd, wanted: Identity) -> Result<bool> {
    let mut here = directory.try_clone()?;
    let mut own = identity(&stat_of(here.as_fd())?);
    for _ in 0..MAX_DEPTH {
        if own == wanted {
            return Ok(true);
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        here = match rustix::fs::openat(&here, "..", flags, Mode::empty()) {
            Ok(above) => above,
            // Whoever may not look further has been given this directory by somebody who could.
            Err(Errno::ACCESS | Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(errno).named(|| "open(..)".to_owned())?,
        };
        let above = identity(&stat_of(here.as_fd())?);
        if above == own {
            return Ok(false);
        }
        own = above;
    }
    Ok(false)
}

/// An entry of a directory, not followed; `None` if it is not there.
pub fn stat(directory: BorrowedFd<'_>, name: &OsStr) -> Result<Option<Stat>> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno).named(|| format!("stat({})", name.to_string_lossy())).map_err(Into::into),
    }
}

/// What a descriptor refers to.
pub fn stat_of(fd: BorrowedFd<'_>) -> Result<Stat> {
    Ok(rustix::fs::fstat(fd).named(|| "fstat".to_owned())?)
}

/// Which file this is.
pub fn identity(stat: &Stat) -> Identity {
    (stat.st_dev, stat.st_ino)
}

/// What kind of file this is.
pub fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed() {
        for (base, text, path, is_directory, is_contents) in [
            ("/", "etc", "/etc", false, false),
            ("/", "/etc/", "/etc", true, false),
            ("/", "/etc/.", "/etc", true, true),
            ("/", "", "/", true, true),
            ("/", "/", "/", true, true),
            ("/", "../..", "/", true, true),
            ("/a/b", ".", "/a/b", true, true),
            ("/a/b", "..", "/a", false, false),
            ("/a/b", "./c/../d//e", "/a/b/d/e", false, false),
            ("/a/b", "/c/..", "/", true, true),
            ("/a/b", "x.", "/a/b/x.", false, false),
        ] {
            let path = PathBuf::from(path);
            assert_eq!(Typed::new(Path::new(base), text), Typed { path, is_directory, is_contents }, "{base} {text}");
        }
    }

    #[test]
    fn where_paths_lead() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join("root");
        fs_err::create_dir_all(root.join("a/b")).expect("made");
        fs_err::write(root.join("a/file"), "x").expect("made");
        fs_err::write(dir.path().join("outside"), "x").expect("made");
        for (link, to) in [
            ("file", "/a/file"),
            ("dir", "a/b"),
            ("out", "../../outside"),
            ("dangling", "a/b/new"),
            ("loop", "loop"),
            ("up", "a/b/.."),
        ] {
            fs_err::os::unix::fs::symlink(to, root.join(link)).expect("made");
        }
        let view = View::Below(sys::mount::place(&root).expect("there"));
        let typed = |text| Typed::new(Path::new("/"), text);
        let inode = |path: &str| {
            let stat = rustix::fs::statat(rustix::fs::CWD, root.join(path), AtFlags::SYMLINK_NOFOLLOW).expect("there");
            identity(&stat)
        };
        let of = |text, follow| source(&view, &typed(text), follow).map(|found| found.about.identity);
        assert_eq!(of("file", false).expect("there"), inode("file"));
        assert_eq!(of("file", true).expect("there"), inode("a/file"));
        assert_eq!(of("dir/", false).expect("there"), inode("a/b"));
        assert_eq!(of("up", true).expect("there"), inode("a"));
        assert_eq!(of("..", false).expect("there"), inode("."));
        for (text, follow, error) in [
            ("out", true, "no such file"),
            ("file/", false, "not a directory"),
            ("nothing", false, "no such file"),
            ("a/file/x", false, "no such file"),
            ("loop", true, "ymbolic link"),
        ] {
            let found = of(text, follow).map_err(|error| format!("{error:#}"));
            assert!(found.as_ref().is_err_and(|text| text.contains(error)), "{text}: {found:?}");
        }
        let to = |text| target(&view, &typed(text), None).map(|found| (found.about, found.name));
        assert_eq!(to("dangling").expect("a place"), (AboutTarget::Nothing, "new".into()));
        assert_eq!(to("file").expect("a place"), (AboutTarget::File, "file".into()));
        assert_eq!(to("/").expect("a place"), (AboutTarget::Directory, ".".into()));
        let about = source(&view, &typed("a"), false).expect("there").about;
        for text in ["a", "a/b", "a/b/new", "dangling", "up"] {
            assert!(target(&view, &typed(text), Some(&about)).is_err(), "{text}");
        }
        target(&view, &typed("new"), Some(&about)).expect("beside it");
    }
}
