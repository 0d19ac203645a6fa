//! The lowest layer of every root that is an overlay: empty places for what is mounted in each container. Made in its upper
//! layer they would be changes of it, and on a disk they cost a good part of a start.

use crate::paths;
use crate::sys::Named;
use anyhow::Result;
use rustix::fs::{Access, Mode, OFlags};
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// What has another content has another name.
const NAME: &str = "skeleton-1";
/// The last one says that all are there.
const PLACES: [&str; 7] = ["dev", "proc", "sys", "etc", "etc/hostname", "etc/hosts", "etc/resolv.conf"];

/// The directory, made with its first use. `None` where it cannot be made: then the places are made as they are needed.
pub fn directory() -> Result<Option<PathBuf>> {
    let dir = paths::data_dir()?.join(NAME);
    let is_there = rustix::fs::access(dir.join(PLACES[6]), Access::EXISTS).is_ok();
    Ok((is_there || fill(&dir).is_ok()).then_some(dir))
}

/// Whoever is killed meanwhile, or comes at the same time, leaves the rest to the next one.
fn fill(dir: &Path) -> Result<()> {
    let made = |result: rustix::io::Result<()>, path: &Path| match result {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno).named(|| format!("create {}", path.display())),
    };
    let directory = |path: &Path| made(rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)), path);
    let file = |path: &Path| {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        made(rustix::fs::open(path, flags, Mode::from_raw_mode(0o644)).map(drop), path)
    };
    directory(dir)?;
    for name in PLACES {
        let path = dir.join(name);
        if name.starts_with("etc/") { file(&path)? } else { directory(&path)? }
    }
    Ok(())
}
