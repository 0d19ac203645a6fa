//! A container's directories: what rbox knows of it, and nothing that outlives it unseen.
//!
//! `RUNTIME/locks/ID` is locked as long as a process is responsible for the container; it is made first and removed
//! last. `RUNTIME/containers/ID/` has config.json (the bundle) and process.json (its first process).
//! `RUNTIME/names/NAME` is a symlink to the ID. `DATA/scratch/ID/` has the upper layers of overlays and is locked itself,
//! since several sessions with runtime directories of their own share it. Whoever makes the next container removes what
//! nobody holds any more. A container without `--rm` has `DATA/containers/ID/` and `DATA/names/NAME` instead, which stay.

use super::aside::write_whole;
use super::cgroup;
use super::container::{self, Container, Found};
use super::scratch::{self, lock};
use super::state::{Exit, Run};
use super::sweep::{self, Sweeping};
use super::{etc, health, names, restart};
use crate::net::port::Published;
use crate::paths;
use crate::runtime::state::Identity;
use crate::sys::{Alone, Named, fd, path};
use crate::time::Time;
use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::fmt;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// A container that this process is responsible for. Dropped, its directories are removed, but for those of one that is
/// kept and was started.
#[derive(Debug)]
pub struct Record {
    /// 64 hexadecimal digits.
    pub id: String,
    /// The runtime directory, the bundle.
    pub dir: PathBuf,
    /// It has a directory that can stay.
    keep: bool,
    /// It does.
    stays: AtomicBool,
    /// It goes at the end all the same: who waits for that has its status from a file that has no name any more.
    once: bool,
    runtime: PathBuf,
    /// Symlinks.
    names: Vec<PathBuf>,
    scratch: Option<(PathBuf, OwnedFd)>,
    /// How many overlays have a directory in it.
    overlays: u32,
    /// In its work directory is nothing that would be in the next container's way.
    is_clean: bool,
    /// What dead processes left is gone.
    swept: AtomicBool,
    lock: OwnedFd,
}

impl Record {
    /// Takes the lock and makes the directory.
    pub fn create(name: Option<&str>, keep: bool) -> Result<Record> {
        let runtime = paths::runtime_dir()?;
        let (id, lock) = new_lock(&runtime)?;
        let dir = container_dir(&runtime, &id);
        if rustix::fs::mkdir(&dir, Mode::RWXU).is_err() {
            // Some clean /tmp of what is old.
            make_layout(&runtime)?;
            rustix::fs::mkdir(&dir, Mode::RWXU).named(|| format!("mkdir({})", dir.display()))?;
        }
        let stays = AtomicBool::new(false);
        let (names, scratch) = (Vec::new(), None);
        let (overlays, once, is_clean, swept) = Default::default();
        let mut record =
            Record { id, dir, keep, stays, runtime, names, scratch, overlays, once, is_clean, swept, lock };
        if keep {
            // Before its name: a name whose container has no directory is free.
            record.on_disk()?;
        }
        if let Some(name) = name {
            record.names = names::take(&record.runtime, name, &record.id, keep)?;
        }
        Ok(record)
    }

    /// Takes over a container that was made before: nobody else is responsible for it.
    pub fn open(found: &Found) -> Result<Record> {
        let record = Record::open_if_free(found)?.ok_or(InUse)?;
        restart::forget(&found.dir)?;
        Ok(record)
    }

    /// The same; `None` if somebody is.
    pub fn open_if_free(found: &Found) -> Result<Option<Record>> {
        let id = found.container.id.clone();
        let runtime = paths::runtime_dir()?;
        sweep::all(&runtime)?;
        let Some(held) = scratch::hold(&found.dir)? else { return Ok(None) };
        match lock_again(&runtime, &id)? {
            Some(lock) => Record::held(found, runtime, lock, held).map(Some),
            None => Ok(None),
        }
    }

    /// Takes over a container whose locks this process has from the one before: its runtime directory is made anew.
    pub fn adopt(found: &Found, [lock, held]: [OwnedFd; 2]) -> Result<Record> {
        let runtime = paths::runtime_dir()?;
        let dir = container_dir(&runtime, &found.container.id);
        match fs_err::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        make_layout(&runtime)?;
        // After an attempt that failed there is none of this name any more.
        let is_there = lock_file(&runtime, &found.container.id).exists();
        let again = if is_there { None } else { lock_again(&runtime, &found.container.id)? };
        Record::held(found, runtime, again.unwrap_or(lock), held)
    }

    fn held(found: &Found, runtime: PathBuf, lock: OwnedFd, held: OwnedFd) -> Result<Record> {
        let id = found.container.id.clone();
        let dir = container_dir(&runtime, &id);
        match rustix::fs::mkdir(&dir, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).named(|| format!("mkdir({})", dir.display())).map_err(Into::into),
        }
        let names = names::take_again(&runtime, found.container.name.as_deref(), &id)?;
        // What `-v SRC:DST:O` has changed ends with each run.
        for number in ids_in(&found.dir)?.iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
            if number != "0" || found.container.layers.is_empty() {
                scratch::remove(&found.dir.join(number))?;
            }
        }
        let scratch = Some((found.dir.clone(), held));
        let stays = AtomicBool::new(true);
        Ok(Record {
            id,
            dir,
            keep: true,
            stays,
            runtime,
            names,
            scratch,
            overlays: 0,
            once: found.container.once,
            is_clean: false,
            swept: AtomicBool::new(false),
            lock,
        })
    }

    /// Its locks, for whoever goes on with the container in this process's place; they stay open on exec from now on. `None` for
    /// one that is not kept.
    pub fn locks(&self) -> Result<Option<[i32; 2]>> {
        let Some((_, held)) = self.scratch.as_ref().filter(|_| self.keep) else { return Ok(None) };
        for lock in [&self.lock, held] {
            fd::keep_on_exec(lock)?;
        }
        Ok(Some([self.lock.as_raw_fd(), held.as_raw_fd()]))
    }

    /// Where it is on disk, if it is there.
    pub fn disk(&self) -> Option<&Path> {
        self.scratch.as_ref().map(|(dir, _)| dir.as_path())
    }

    /// True if something of it stays.
    pub fn is_kept(&self) -> bool {
        self.keep
    }

    /// The same of one that is kept.
    pub fn kept(&self) -> Option<&Path> {
        self.disk().filter(|_| self.keep)
    }

    /// From here on nobody else can become responsible for it, as before, and it does not look as if it ran. False if
    /// somebody was faster.
    pub fn share(&self) -> Result<bool> {
        let Some((dir, held)) = &self.scratch else { return Ok(true) };
        match rustix::fs::flock(held, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(errno) => Err(errno).named(|| format!("flock({})", dir.display())).map_err(Into::into),
        }
    }

    /// It stays when this value goes, started or not.
    pub fn stay(&self) {
        self.stays.store(true, Ordering::Relaxed);
    }

    /// Writes container.json: from now on the container can be found, and its image is in use. One that is kept aside, then
    /// renamed. `spec`: config.json.
    pub fn describe(&self, container: &Container, spec: &[u8]) -> Result<()> {
        let Some((dir, _)) = self.scratch.as_ref() else {
            // Nobody but this session need know of it.
            return write_whole(&self.dir, container::ABOUT, container);
        };
        if !self.keep {
            return scratch::overwrite(&dir.join(container::ABOUT), serde_json::to_vec(container)?);
        }
        fs_err::write(dir.join(container::SPEC), spec)?;
        write_whole(dir, container::ABOUT, container)
    }

    /// A name stands for content that is on disk, in case the machine loses its power. A start does not wait for that.
    pub fn sync(&self) -> Result<()> {
        self.kept().map_or(Ok(()), |dir| Ok(fs_err::File::open(dir.join(container::ABOUT))?.sync_all()?))
    }

    /// Writes down how it ended, if anything of it stays.
    pub fn ended(&self, status: u8, error: &str, oom: bool) -> Result<()> {
        let dir = self.scratch.as_ref().map_or(&self.dir, |(dir, _)| dir);
        let exit = Exit { status, finished: Time::now(), error: error.to_owned(), oom };
        if self.keep && !self.once {
            return write_whole(dir, container::EXIT, &exit);
        }
        // Made by those who wait, who have it still when it is gone.
        match fs_err::OpenOptions::new().write(true).open(dir.join(container::EXIT)) {
            Ok(mut file) => Ok(std::io::Write::write_all(&mut file, &serde_json::to_vec(&exit)?)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes config.json.
    pub fn write_config(&self, spec: &[u8]) -> Result<()> {
        Ok(fs_err::write(self.dir.join(CONFIG), spec)?)
    }

    /// Writes ports.json.
    pub fn write_ports(&self, published: &[Published]) -> Result<()> {
        Ok(fs_err::write(self.dir.join(PORTS), serde_json::to_vec(published)?)?)
    }

    /// Writes down the first process.
    pub fn started(&self, identity: &Identity) -> Result<()> {
        let Some((disk, _)) = self.scratch.as_ref().filter(|_| self.keep) else {
            let run = Run { process: *identity, supervisor: None, started: Time::now(), boot: None };
            return write_whole(&self.dir, PROCESS, &run);
        };
        health::forget(disk)?;
        // For other sessions of the user, and after the next boot.
        let run = Run::now(*identity);
        write_whole(disk, PROCESS, &run)?;
        gone(rustix::fs::unlink(disk.join(container::EXIT)), disk)?;
        write_whole(&self.dir, PROCESS, &run)?;
        self.stay();
        Ok(())
    }

    /// Called while the container runs: does what would otherwise be done after its end.
    pub fn prepare_end(&mut self) {
        let Some((dir, _)) = self.scratch.as_ref().filter(|_| self.overlays > 0) else { return };
        // Whatever is left is removed at the end.
        let is_gone = scratch::forget_old(dir).is_ok();
        self.is_clean = is_gone && !self.keep && scratch::forget_marks(dir).unwrap_or(false);
    }

    /// Has what dead processes left removed while the container runs: it may be much, so another process does it.
    pub fn begin_sweep(&self, alone: &Alone) -> Option<Sweeping> {
        self.swept.store(true, Ordering::Relaxed);
        sweep::begin(alone, &self.runtime, &self.id)
    }

    fn sweep(&self) {
        if !self.swept.swap(true, Ordering::Relaxed) {
            let _ = sweep::all(&self.runtime);
        }
    }

    /// An empty directory for an overlay to be mounted on; the mount is seen by the container only.
    pub fn mount_point(&self) -> Result<PathBuf> {
        let dir = self.dir.join(ROOT);
        rustix::fs::mkdir(&dir, Mode::RWXU).named(|| format!("mkdir({})", dir.display()))?;
        Ok(dir)
    }

    /// A new directory on disk for an overlay, with its empty upper and work directory.
    pub fn scratch(&mut self) -> Result<PathBuf> {
        let dir = self.on_disk()?;
        let own = dir.join(self.overlays.to_string());
        self.overlays += 1;
        // The first one may be there from a container before.
        for place in [own.clone(), own.join("upper"), own.join("work")] {
            match rustix::fs::mkdir(&place, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno).named(|| format!("mkdir({})", place.display())).map_err(Into::into),
            }
        }
        Ok(own)
    }

    /// The container's directory on disk, made with its first use.
    pub fn on_disk(&mut self) -> Result<PathBuf> {
        if let Some((dir, _)) = &self.scratch {
            return Ok(dir.clone());
        }
        let [kept, rest] = container::places()?;
        let base = if self.keep { kept } else { rest };
        scratch::base(&base)?;
        let free = if self.keep { None } else { scratch::take(&base)? };
        let made = match free {
            Some(free) => free,
            None => scratch::make(&base.join(&self.id))?,
        };
        let dir = made.0.clone();
        self.scratch = Some(made);
        Ok(dir)
    }
}

/// Somebody else is responsible for a container.
#[derive(Debug)]
pub struct InUse;

impl std::error::Error for InUse {}

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("is running, or somebody is about to change it")
    }
}

/// Writes container.json of a container that is kept anew.
pub fn rewrite(dir: &Path, container: &Container) -> Result<()> {
    write_whole(dir, container::ABOUT, container)
}

/// How often a lock is tried for that somebody has who only looks, a millisecond apart.
const LOOKS: u32 = 100;

/// Waits for a turn to change containers that are there, which is kept until the value that comes back goes.
pub(super) fn turn() -> Result<OwnedFd> {
    let runtime = paths::runtime_dir()?;
    make_layout(&runtime)?;
    let dir = runtime.join("containers");
    let call = || format!("flock({})", dir.display());
    let fd = rustix::fs::open(&dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).named(call)?;
    rustix::io::retry_on_intr(|| rustix::fs::flock(&fd, FlockOperation::LockExclusive)).named(call)?;
    Ok(fd)
}

const CONFIG: &str = "config.json";
const ROOT: &str = "rootfs";
/// Its first process.
pub const PROCESS: &str = "process.json";
/// Where its supervisor is asked.
pub const CONTROL: &str = "control";
/// Somebody has paused it.
pub const PAUSED: &str = "paused";
/// Its published ports, if it has any.
pub const PORTS: &str = "ports.json";

impl Drop for Record {
    fn drop(&mut self) {
        self.sweep();
        let stays = self.keep && self.stays.load(Ordering::Relaxed);
        // What cannot be removed now is removed by the next one: the lock's file is still there then.
        let give = if self.is_clean { scratch::give_back } else { scratch::remove };
        if !stays && self.scratch.as_ref().is_some_and(|(scratch, _)| give(scratch).is_err()) {
            return;
        }
        for name in self.names.iter().filter(|name| !stays || name.starts_with(&self.runtime)) {
            // It may have got another name, and somebody else this one.
            if fs_err::read_link(name).is_ok_and(|of| of == Path::new(&self.id)) {
                let _ = rustix::fs::unlink(name);
            }
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

/// The Spec of a container that somebody is responsible for, or of one that is kept.
pub fn spec_of(name: &str) -> Result<oci_spec::runtime::Spec> {
    let dir = match find(name) {
        Ok(dir) if dir.join(CONFIG).exists() => dir,
        _ => container::find(name)?.dir,
    };
    let text = fs_err::read(dir.join(CONFIG)).map_err(|_| anyhow!("no such container: {name}"))?;
    Ok(serde_json::from_slice(&text)?)
}

/// The directory of a container, by name, id or the beginning of an id.
pub(super) fn find(name: &str) -> Result<PathBuf> {
    let runtime = paths::runtime_dir()?;
    let all = runtime.join("containers");
    let id = match rustix::fs::readlink(runtime.join("names").join(name), Vec::new()) {
        Ok(id) if !name.contains('/') => id.to_string_lossy().into_owned(),
        _ => match by_prefix(&all, name)? {
            Some(id) => id,
            // It may have got that name since it was started.
            None => match container::find_if_there(name) {
                Ok(Some(found)) => found.container.id,
                _ => bail!("no such container: {name}"),
            },
        },
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
    match path::names(dir) {
        Err(error) if error.errno == Errno::NOENT => Ok(Vec::new()),
        names => Ok(names?),
    }
}

/// True if a process is responsible for the container.
pub(super) fn is_held(runtime: &Path, id: &str) -> Result<bool> {
    match lock(&lock_file(runtime, id), OFlags::empty()) {
        Ok(held) => Ok(held.is_none()),
        Err(error) if crate::sys::errno(&error) == Some(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The lock goes last: as long as it is there the next one finds what is left.
pub(super) fn remove_record(runtime: &Path, id: &str) -> Result<()> {
    let dir = container_dir(runtime, id);
    // Of whoever was killed, or could not remove it: as long as it is there this says where.
    cgroup::sweep(&dir)?;
    for file in [CONFIG, PROCESS, PORTS, CONTROL, container::ABOUT].into_iter().chain(etc::FILES) {
        gone(rustix::fs::unlink(dir.join(file)), &dir)?;
    }
    // The mount point of an overlay.
    let _ = rustix::fs::rmdir(dir.join(ROOT));
    match rustix::fs::rmdir(&dir) {
        // A file that somebody died while writing is there, too.
        Err(Errno::NOTEMPTY) => fs_err::remove_dir_all(&dir)?,
        result => gone(result, &dir)?,
    }
    gone(rustix::fs::unlink(lock_file(runtime, id)), &dir)
}

/// Not being there is what is wanted.
pub fn gone(result: rustix::io::Result<()>, path: &Path) -> Result<()> {
    match result {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno).named(|| format!("remove({})", path.display())).map_err(Into::into),
    }
}

/// The directory of a container in this session.
pub fn runtime_of(id: &str) -> Result<PathBuf> {
    Ok(container_dir(&paths::runtime_dir()?, id))
}

fn container_dir(runtime: &Path, id: &str) -> PathBuf {
    runtime.join("containers").join(id)
}

pub(super) fn lock_file(runtime: &Path, id: &str) -> PathBuf {
    runtime.join("locks").join(id)
}

/// The three directories, made once a session.
pub fn make_layout(runtime: &Path) -> Result<()> {
    for name in ["names", "containers", "locks"] {
        match rustix::fs::mkdir(runtime.join(name), Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).named(|| format!("mkdir({name})")).map_err(Into::into),
        }
    }
    Ok(())
}

/// The lock of a container that was made before; its directory on disk is locked already. `None` if somebody else has it.
pub(super) fn lock_again(runtime: &Path, id: &str) -> Result<Option<OwnedFd>> {
    let path = lock_file(runtime, id);
    let mut looks = 0;
    loop {
        match lock(&path, OFlags::CREATE) {
            Err(error) if crate::sys::errno(&error) == Some(Errno::NOENT) => make_layout(runtime)?,
            // A sweep may have removed it between its making and its taking.
            Ok(Some(lock)) if path.exists() => return Ok(Some(lock)),
            Ok(Some(_)) => {}
            // Nobody else is responsible, for the other lock is held: somebody only looks.
            Ok(None) if looks < LOOKS => {
                looks += 1;
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            Ok(None) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
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
