//! Where rbox keeps its files.

use crate::error::Advise;
use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::{AtFlags, CWD, FileType, Mode};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The directory for what dies with the session: `$XDG_RUNTIME_DIR/rbox`, else `/run/user/UID/rbox`, else
/// `/tmp/rbox-UID`. Made if it is missing.
///
/// `$XDG_RUNTIME_DIR` counts only if it belongs to the caller: after `su` it is often somebody else's.
pub fn runtime_dir() -> Result<PathBuf> {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    once(&FOUND, find_runtime_dir)
}

/// What was found once is there as long as this process.
fn once(found: &OnceLock<PathBuf>, find: fn() -> Result<PathBuf>) -> Result<PathBuf> {
    if let Some(path) = found.get() {
        return Ok(path.clone());
    }
    let path = find()?;
    Ok(found.get_or_init(|| path).clone())
}

fn find_runtime_dir() -> Result<PathBuf> {
    let uid = rustix::process::geteuid().as_raw();
    let named = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    for base in named.into_iter().chain([PathBuf::from(format!("/run/user/{uid}"))]) {
        if belongs_to(&base, uid) {
            return own_dir(&base.join("rbox"), uid);
        }
    }
    own_dir(Path::new(&format!("/tmp/rbox-{uid}")), uid)
}

/// The directory for what outlives a session: `$XDG_DATA_HOME/rbox`, else `~/.local/share/rbox`. Made if it is missing.
pub fn data_dir() -> Result<PathBuf> {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    once(&FOUND, find_data_dir)
}

fn find_data_dir() -> Result<PathBuf> {
    let uid = rustix::process::geteuid().as_raw();
    let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = match variable("XDG_DATA_HOME") {
        Some(path) => path,
        None => variable("HOME").context("neither XDG_DATA_HOME nor HOME is set")?.join(".local/share"),
    };
    fs_err::create_dir_all(&base)?;
    own_dir(&base.join("rbox"), uid)
}

/// A program of this name, from PATH. One that was found is not looked for again, as long as it is there.
pub fn program(name: &str) -> Option<PathBuf> {
    static FOUND: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = found.iter().find(|file| file.ends_with(name) && is_program(file)) {
        return Some(known.clone());
    }
    let path = std::env::var_os("PATH")?;
    let mut all = std::env::split_paths(&path).filter(|dir| dir.is_absolute()).map(|dir| dir.join(name));
    let file = all.find(|file| is_program(file))?;
    found.push(file.clone());
    Some(file)
}

/// True for a file that can be executed.
pub fn is_program(file: &Path) -> bool {
    rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok() && !file.is_dir()
}

/// True for a directory of the caller's.
pub fn belongs_to_caller(path: &Path) -> bool {
    belongs_to(path, rustix::process::geteuid().as_raw())
}

fn belongs_to(path: &Path, uid: u32) -> bool {
    rustix::fs::stat(path)
        .is_ok_and(|stat| stat.st_uid == uid && FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Makes a directory for the caller alone, or checks that it is one: in /tmp anybody may have made it before
/// (CWE-379).
fn own_dir(path: &Path, uid: u32) -> Result<PathBuf> {
    match rustix::fs::mkdir(path, Mode::RWXU) {
        Ok(()) => return Ok(path.to_owned()),
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(anyhow!("create {}: {}", path.display(), crate::sys::reason(errno))),
    }
    checked(
        path,
        AtFlags::SYMLINK_NOFOLLOW,
        uid,
        "remove it, or set XDG_RUNTIME_DIR to a directory that belongs to you",
    )
}

fn checked(path: &Path, flags: AtFlags, uid: u32, advice: &str) -> Result<PathBuf> {
    let stat = rustix::fs::statat(CWD, path, flags)
        .map_err(|errno| anyhow!("{}: {}", path.display(), crate::sys::reason(errno)))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory || stat.st_uid != uid {
        return Err(anyhow!("{}: not a directory of yours", path.display())).hint(|| advice.to_owned());
    }
    if stat.st_mode & 0o022 != 0 {
        bail!("{}: others can write there", path.display());
    }
    Ok(path.to_owned())
}
