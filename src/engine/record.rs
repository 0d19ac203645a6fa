//! A container's directories: what rbox knows of it, and nothing that outlives it unseen.
//!
//! `RUNTIME/locks/ID` is locked as long as a process is responsible for the container; it is made first and removed
//! last. `RUNTIME/containers/ID/` has config.json (the bundle) and process.json (its first process).
//! `RUNTIME/names/NAME` is a symlink to the ID. `DATA/containers/ID/` has the upper layers of overlays and is locked
//! itself, since several sessions with runtime directories of their own share it. Whoever makes the next container
//! removes what nobody holds any more.

use super::ids::{self, Caller};
use crate::error::Advise;
use crate::paths;
use crate::runtime::state::Identity;
use crate::spec::options::{IdMode, Options};
use crate::sys::{Alone, Named};
use crate::userns::write::HelperFailed;
use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// A container that this process is responsible for. Dropped, its directories are removed.
#[derive(Debug)]
pub struct Record {
    /// 64 hexadecimal digits.
    pub id: String,
    /// The runtime directory, the bundle.
    pub dir: PathBuf,
    runtime: PathBuf,
    name: Option<PathBuf>,
    scratch: Option<(PathBuf, OwnedFd)>,
    _lock: OwnedFd,
}

impl Record {
    /// Takes the lock and makes the directory; removes what dead processes left.
    pub fn create(name: Option<&str>) -> Result<Record> {
        let runtime = paths::runtime_dir()?;
        sweep(&runtime)?;
        let (id, lock) = new_lock(&runtime)?;
        let dir = container_dir(&runtime, &id);
        if rustix::fs::mkdir(&dir, Mode::RWXU).is_err() {
            // Some clean /tmp of what is old.
            make_layout(&runtime)?;
            rustix::fs::mkdir(&dir, Mode::RWXU).named(|| format!("mkdir({})", dir.display()))?;
        }
        let mut record = Record { id, dir, runtime, name: None, scratch: None, _lock: lock };
        if let Some(name) = name {
            record.name = Some(take_name(&record.runtime, name, &record.id)?);
        }
        Ok(record)
    }

    /// Writes config.json.
    pub fn write_config(&self, spec: &oci_spec::runtime::Spec) -> Result<()> {
        Ok(fs_err::write(self.dir.join(CONFIG), serde_json::to_vec(spec)?)?)
    }

    /// Writes down the first process: aside, then renamed, so that nobody reads half of it.
    pub fn started(&self, identity: &Identity) -> Result<()> {
        let aside = self.dir.join(".process.json");
        fs_err::write(&aside, serde_json::to_vec(identity)?)?;
        Ok(fs_err::rename(aside, self.dir.join(PROCESS))?)
    }

    /// An empty directory for an overlay to be mounted on; the mount is seen by the container only.
    pub fn mount_point(&self) -> Result<PathBuf> {
        let dir = self.dir.join(ROOT);
        rustix::fs::mkdir(&dir, Mode::RWXU).named(|| format!("mkdir({})", dir.display()))?;
        Ok(dir)
    }

    /// A new directory on disk for an overlay's upper and work directory.
    pub fn scratch(&mut self) -> Result<PathBuf> {
        let base = paths::data_dir()?.join("containers");
        fs_err::create_dir_all(&base)?;
        if self.scratch.is_none() {
            sweep_scratch(&base)?;
            self.scratch = Some(new_scratch(&base.join(&self.id))?);
        }
        let dir = self.scratch.as_ref().map(|(dir, _)| dir.clone()).context("no scratch directory")?;
        let number = fs_err::read_dir(&dir)?.count();
        let own = dir.join(number.to_string());
        fs_err::create_dir(&own)?;
        Ok(own)
    }
}

const CONFIG: &str = "config.json";
const ROOT: &str = "rootfs";
const PROCESS: &str = "process.json";

impl Drop for Record {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next one: the lock's file is still there then.
        if self.scratch.as_ref().is_some_and(|(scratch, _)| remove_scratch(scratch).is_err()) {
            return;
        }
        if let Some(name) = &self.name {
            let _ = rustix::fs::unlink(name);
        }
        let _ = remove_record(&self.runtime, &self.id);
    }
}

/// The first process of a running container, by name, id or the beginning of an id.
pub fn process_of(name: &str) -> Result<i32> {
    let text = fs_err::read(find(name)?.join(PROCESS)).map_err(|_| anyhow!("container {name} is not running"))?;
    let identity: Identity = serde_json::from_slice(&text)?;
    identity.open().with_context(|| format!("container {name} is not running"))?;
    Ok(identity.pid)
}

/// The Spec of a container that somebody is responsible for.
pub fn spec_of(name: &str) -> Result<oci_spec::runtime::Spec> {
    let text = fs_err::read(find(name)?.join(CONFIG)).map_err(|_| anyhow!("no such container: {name}"))?;
    Ok(serde_json::from_slice(&text)?)
}

/// The directory of a container, by name, id or the beginning of an id.
fn find(name: &str) -> Result<PathBuf> {
    let runtime = paths::runtime_dir()?;
    let all = runtime.join("containers");
    let id = match rustix::fs::readlink(runtime.join("names").join(name), Vec::new()) {
        Ok(id) if !name.contains('/') => id.to_string_lossy().into_owned(),
        _ => by_prefix(&all, name)?.with_context(|| format!("no such container: {name}"))?,
    };
    Ok(all.join(id))
}

fn by_prefix(all: &Path, prefix: &str) -> Result<Option<String>> {
    if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let mut found = None;
    for id in ids_in(all)? {
        if id.starts_with(prefix) && found.replace(id).is_some() {
            bail!("{prefix}: more than one container has an id that starts like this");
        }
    }
    Ok(found)
}

/// The names in a directory, which may be missing.
pub(super) fn ids_in(dir: &Path) -> Result<Vec<String>> {
    match fs_err::read_dir(dir) {
        Ok(entries) => entries
            .map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default()))
            .filter(|name: &Result<String>| !matches!(name, Ok(name) if name.is_empty()))
            .collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// A name is taken by a symlink, which exists or not: two at once cannot have it both. One whose container is no more
/// does not count.
fn take_name(runtime: &Path, name: &str, id: &str) -> Result<PathBuf> {
    let _turn = lock_names(runtime)?;
    let link = runtime.join("names").join(name);
    loop {
        match rustix::fs::symlink(id, &link) {
            Ok(()) => return Ok(link),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).named(|| format!("symlink({})", link.display())).map_err(Into::into),
        }
        let holder = fs_err::read_link(&link).map(|id| id.display().to_string()).unwrap_or_default();
        if is_held(runtime, &holder)? {
            return Err(anyhow!("the container name \"{name}\" is already in use by container {holder}"))
                .hint(|| "choose another name, or end that container".to_owned());
        }
        gone(rustix::fs::unlink(&link), &link)?;
    }
}

/// One at a time changes names that another one has.
fn lock_names(runtime: &Path) -> Result<OwnedFd> {
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

/// True if a process is responsible for the container.
pub(super) fn is_held(runtime: &Path, id: &str) -> Result<bool> {
    match lock(&lock_file(runtime, id), OFlags::empty()) {
        Ok(held) => Ok(held.is_none()),
        Err(error) if crate::sys::errno(&error) == Some(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes what is left of containers whose lock nobody holds. One in use costs an open and a flock.
fn sweep(runtime: &Path) -> Result<()> {
    for id in ids_in(&runtime.join("locks"))? {
        if let Ok(Some(_held)) = lock(&lock_file(runtime, &id), OFlags::empty()) {
            // What fails stays for the next one, with its lock.
            let _ = remove_dead(runtime, &id);
        }
    }
    Ok(())
}

fn remove_dead(runtime: &Path, id: &str) -> Result<()> {
    let names = runtime.join("names");
    let turn = lock_names(runtime)?;
    for name in ids_in(&names)? {
        let link = names.join(name);
        if fs_err::read_link(&link).is_ok_and(|of| of == Path::new(id)) {
            gone(rustix::fs::unlink(&link), &link)?;
        }
    }
    drop(turn);
    // Without a home there was no place for any.
    if let Ok(data) = paths::data_dir() {
        sweep_scratch(&data.join("containers"))?;
    }
    remove_record(runtime, id)?;
    super::volumes::sweep()
}

/// Makes a directory for upper layers, and locks it. A sweep may come in between; then it is made again.
pub(super) fn new_scratch(dir: &Path) -> Result<(PathBuf, OwnedFd)> {
    loop {
        fs_err::create_dir(dir)?;
        match lock(dir, OFlags::DIRECTORY) {
            Ok(Some(held)) if dir.exists() => return Ok((dir.to_owned(), held)),
            Ok(_) => {}
            Err(error) if crate::sys::errno(&error) == Some(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Removes upper layers of containers that are no more.
fn sweep_scratch(base: &Path) -> Result<()> {
    for id in ids_in(base)? {
        let dir = base.join(&id);
        if let Ok(Some(_held)) = lock(&dir, OFlags::DIRECTORY) {
            let _ = remove_scratch(&dir);
        }
    }
    Ok(())
}

/// Removes a tree as root of a user namespace with all of the caller's ids: files in it belong to some of them, and the
/// kernel leaves a work directory of mode 0. Where the ids cannot be mapped, none were when it was filled.
pub(super) fn remove_scratch(dir: &Path) -> Result<()> {
    // Mostly there is nothing in it, or nothing of others.
    if crate::storage::remove::tree(dir).is_ok() {
        return Ok(());
    }
    let remove = |id_mode| -> Result<()> {
        let maps = ids::ids(&Options { id_mode, ..Options::default() }, Caller::this())?.maps;
        crate::userns::run::run(&Alone::check()?, &maps, || {
            crate::storage::remove::tree(dir)?;
            Ok(0)
        })?;
        Ok(())
    };
    remove(IdMode::Auto).or_else(|error| match error.chain().any(|cause| cause.is::<HelperFailed>()) {
        true => remove(IdMode::Single),
        false => Err(error),
    })
}

/// The lock goes last: as long as it is there the next one finds what is left.
fn remove_record(runtime: &Path, id: &str) -> Result<()> {
    let dir = container_dir(runtime, id);
    for file in [CONFIG, PROCESS] {
        gone(rustix::fs::unlink(dir.join(file)), &dir)?;
    }
    match rustix::fs::rmdir(&dir) {
        // The mount point of an overlay is there, too, or a file that somebody died while writing.
        Err(Errno::NOTEMPTY) => fs_err::remove_dir_all(&dir)?,
        result => gone(result, &dir)?,
    }
    gone(rustix::fs::unlink(lock_file(runtime, id)), &dir)
}

/// Not being there is what is wanted.
fn gone(result: rustix::io::Result<()>, path: &Path) -> Result<()> {
    match result {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno).named(|| format!("remove({})", path.display())).map_err(Into::into),
    }
}

fn container_dir(runtime: &Path, id: &str) -> PathBuf {
    runtime.join("containers").join(id)
}

fn lock_file(runtime: &Path, id: &str) -> PathBuf {
    runtime.join("locks").join(id)
}

/// The three directories, made once a session.
fn make_layout(runtime: &Path) -> Result<()> {
    for name in ["names", "containers", "locks"] {
        match rustix::fs::mkdir(runtime.join(name), Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).named(|| format!("mkdir({name})")).map_err(Into::into),
        }
    }
    Ok(())
}

/// A new id and its lock. A sweep may take a lock between its making and its taking; then another is made.
fn new_lock(runtime: &Path) -> Result<(String, OwnedFd)> {
    loop {
        let id = random_id()?;
        let path = lock_file(runtime, &id);
        let held = match lock(&path, OFlags::CREATE | OFlags::EXCL) {
            Err(error) if crate::sys::errno(&error) == Some(Errno::NOENT) => {
                make_layout(runtime)?;
                continue;
            }
            result => result?,
        };
        let Some(lock) = held else { continue };
        if rustix::fs::fstat(&lock).named(|| "fstat(lock)".to_owned())?.st_nlink > 0 {
            return Ok((id, lock));
        }
    }
}

/// Takes a lock without waiting; `None` if somebody holds it. Closed on exec, so that no payload keeps it.
fn lock(path: &Path, flags: OFlags) -> Result<Option<OwnedFd>> {
    let access = if flags.contains(OFlags::DIRECTORY) { OFlags::RDONLY } else { OFlags::RDWR };
    let file = rustix::fs::open(path, flags | access | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)
        .named(|| format!("open({})", path.display()))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(errno).named(|| format!("flock({})", path.display())).map_err(Into::into),
    }
}

pub(super) fn random_id() -> Result<String> {
    let mut bytes = [0u8; 32];
    let mut filled = 0;
    while filled < bytes.len() {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
            .named(|| "getrandom".to_owned())?;
    }
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut id = String::with_capacity(64);
    for byte in bytes {
        id.push(DIGITS[usize::from(byte >> 4)].into());
        id.push(DIGITS[usize::from(byte & 15)].into());
    }
    Ok(id)
}
