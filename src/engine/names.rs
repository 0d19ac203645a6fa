//! Names of containers: symlinks to their ids, in the session for those that run and on disk for those that are kept.

use super::container::Found;
use super::record::{gone, ids_in, is_held, make_layout};
use super::{container, scratch};
use crate::error::Advise;
use crate::paths;
use crate::sys::Named;
use anyhow::{Result, anyhow};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Takes a name, in this session and, for a container that is kept, for good.
pub fn take(runtime: &Path, name: &str, id: &str, keep: bool) -> Result<Vec<PathBuf>> {
    let _turn = lock(runtime)?;
    let kept = paths::data_dir().map(|data| data.join("names").join(name));
    let is_kept = |holder: &str| bears(holder, name);
    let mut links = Vec::new();
    if keep {
        let link = kept?;
        fs_err::create_dir_all(link.parent().unwrap_or(Path::new("/")))?;
        links.push(take_link(link, name, id, is_kept)?);
    } else if let Some(holder) = kept.ok().and_then(|link| fs_err::read_link(link).ok()) {
        let holder = holder.display().to_string();
        if is_kept(&holder)? {
            return Err(taken(name, &holder));
        }
    }
    links.push(take_link(runtime.join("names").join(name), name, id, |holder| is_held(runtime, holder)).inspect_err(
        |_| {
            // The error is what is told.
            for link in &links {
                let _ = rustix::fs::unlink(link);
            }
        },
    )?);
    Ok(links)
}

/// Takes the name of a container that is kept for this session, too. It may have got another one meanwhile.
pub fn take_again(runtime: &Path, name: Option<&str>, id: &str) -> Result<Vec<PathBuf>> {
    let Some(name) = name else { return Ok(Vec::new()) };
    let _turn = lock(runtime)?;
    let link = runtime.join("names").join(name);
    let is_other = |holder: &str| Ok(holder != id && is_held(runtime, holder)?);
    Ok(vec![take_link(link, name, id, is_other)?])
}

/// A name is taken by a symlink, which exists or not: two at once cannot have it both. One whose container is no more
/// does not count.
fn take_link(link: PathBuf, name: &str, id: &str, counts: impl Fn(&str) -> Result<bool>) -> Result<PathBuf> {
    loop {
        match rustix::fs::symlink(id, &link) {
            Ok(()) => return Ok(link),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).named(|| format!("symlink({})", link.display())).map_err(Into::into),
        }
        let holder = fs_err::read_link(&link).map(|id| id.display().to_string()).unwrap_or_default();
        if counts(&holder)? {
            return Err(taken(name, &holder));
        }
        gone(rustix::fs::unlink(&link), &link)?;
    }
}

fn taken(name: &str, holder: &str) -> anyhow::Error {
    let taken: Result<()> = Err(Taken(format!("\"{name}\" is already in use by container {holder}")))
        .hint(|| "choose another name, or remove that container: rbox rm".to_owned());
    taken.err().unwrap_or_else(|| anyhow!("taken"))
}

/// A name is another container's.
#[derive(Debug)]
pub struct Taken(String);

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the container name {}", self.0)
    }
}

impl std::error::Error for Taken {}

/// Takes another name for a container that is kept.
pub fn take_other(_turn: &OwnedFd, found: &Found, name: &str) -> Result<PathBuf> {
    let all = paths::data_dir()?.join("names");
    take_link(all.join(name), name, &found.container.id, |holder| bears(holder, name))
}

/// Gives up the names that a container had.
pub fn give_up(_turn: &OwnedFd, runtime: &Path, found: &Found) -> Result<()> {
    let all = paths::data_dir()?.join("names");
    for old in found.container.name.iter().flat_map(|old| [all.join(old), runtime.join("names").join(old)]) {
        if fs_err::read_link(&old).is_ok_and(|of| of == Path::new(&found.container.id)) {
            gone(rustix::fs::unlink(&old), &old)?;
        }
    }
    Ok(())
}

/// True if a container that is kept has this name. One without a record is being made, or its maker has died; one whose record
/// cannot be read may have it.
fn bears(id: &str, name: &str) -> Result<bool> {
    let dir = container::places()?[0].join(id);
    match container::read(&dir) {
        Ok(Some(found)) => Ok(found.container.name.as_deref() == Some(name)),
        Ok(None) => scratch::is_locked(&dir),
        Err(_) => Ok(true),
    }
}

/// Removes the names of a container that is dead, and names that stay whose container is no more.
pub fn sweep(runtime: &Path, dead: &str) -> Result<()> {
    let _turn = lock(runtime)?;
    let remove = |names: &Path, is_free: &dyn Fn(&Path) -> bool| -> Result<()> {
        for name in ids_in(names)? {
            let link = names.join(name);
            if fs_err::read_link(&link).is_ok_and(|of| is_free(&of)) {
                gone(rustix::fs::unlink(&link), &link)?;
            }
        }
        Ok(())
    };
    remove(&runtime.join("names"), &|of| of == Path::new(dead))?;
    match container::places() {
        Ok([kept, _]) => remove(&kept.with_file_name("names"), &|of| !kept.join(of).exists()),
        Err(_) => Ok(()),
    }
}

/// True for what can be the name of a file in a directory of names.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains('/')
}

/// One at a time changes names that another one has.
pub fn lock(runtime: &Path) -> Result<OwnedFd> {
    let dir = runtime.join("names");
    let open = || rustix::fs::open(&dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let fd = match open() {
        Err(Errno::NOENT) => {
            make_layout(runtime)?;
            open()
        }
        opened => opened,
    };
    let fd = fd.named(|| format!("open({})", dir.display()))?;
    rustix::io::retry_on_intr(|| rustix::fs::flock(&fd, FlockOperation::LockExclusive))
        .named(|| format!("flock({})", dir.display()))?;
    Ok(fd)
}
