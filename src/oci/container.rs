//! The state directory of one container: `ROOT/ID/` with state.json and, until the start, two FIFOs.

use crate::runtime::create::Gate;
use crate::runtime::state::Identity;
use crate::sys::Named;
use anyhow::{Context, Result, anyhow, bail};
use oci_spec::runtime::Spec;
use rustix::fs::{CWD, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

const STATE: &str = "state.json";
/// A byte in it starts the container. While it is there the container was not started.
pub const START_FIFO: &str = "exec.fifo";
/// Why a start failed; closed by a start that did not.
pub const SAID_FIFO: &str = "said.fifo";

/// What is stored; the status is not, it is derived.
#[derive(Debug, Serialize, Deserialize)]
pub struct Stored {
    /// The first process; none while the container is being made.
    pub process: Option<Identity>,
    /// Absolute path.
    pub bundle: PathBuf,
    /// RFC 3339.
    pub created: String,
    /// config.json as it was at the creation: later changes do not count (runtime-spec runtime.md, "Lifecycle").
    pub spec: Spec,
}

/// runtime-spec runtime.md, "State", with runc's additions.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    oci_version: &'static str,
    id: String,
    /// creating, created, running or stopped.
    pub status: &'static str,
    pid: i32,
    bundle: PathBuf,
    created: String,
    annotations: HashMap<String, String>,
}

/// A container's directory.
#[derive(Debug)]
pub struct Container {
    /// Its name.
    pub id: String,
    /// The directory.
    pub dir: PathBuf,
    _lock: Option<OwnedFd>,
}

impl Container {
    /// Makes the directory and the FIFO. Ids become names of files: what could lead elsewhere is refused.
    pub fn make(root: &Path, id: &str) -> Result<Container> {
        check(id)?;
        fs_err::create_dir_all(root)?;
        let dir = root.join(id);
        match rustix::fs::mkdir(&dir, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => bail!("container with id exists: {id}"),
            Err(errno) => return Err(errno).named(|| format!("mkdir({})", dir.display())).map_err(Into::into),
        }
        // Locked by its maker, for as long as that is at it.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let lock = rustix::fs::open(&dir, flags, Mode::empty()).named(|| format!("open({})", dir.display()))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).named(|| "flock".to_owned())?;
        let container = Container { id: id.to_owned(), dir, _lock: Some(lock) };
        for name in [START_FIFO, SAID_FIFO] {
            rustix::fs::mknodat(CWD, container.dir.join(name), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
                .named(|| format!("mkfifo({name})"))?;
        }
        Ok(container)
    }

    /// Where the container waits for its start.
    pub fn gate(&self) -> Result<Gate> {
        Ok(Gate { start: self.open_fifo(START_FIFO, OFlags::RDWR)?, said: self.open_fifo(SAID_FIFO, OFlags::RDWR)? })
    }

    /// Opens one of the two FIFOs of a container that waits for its start.
    pub fn open_fifo(&self, name: &str, flags: OFlags) -> Result<OwnedFd> {
        let path = self.dir.join(name);
        let fifo = rustix::fs::open(&path, flags | OFlags::CLOEXEC, Mode::empty());
        Ok(fifo.named(|| format!("open({})", path.display()))?)
    }

    /// One that exists.
    pub fn open(root: &Path, id: &str) -> Result<Container> {
        check(id)?;
        let dir = root.join(id);
        if !dir.is_dir() {
            bail!("container does not exist: {id}");
        }
        Ok(Container { id: id.to_owned(), dir, _lock: None })
    }

    /// Written aside and renamed: a reader never sees half of it.
    pub fn store(&self, stored: &Stored) -> Result<()> {
        let aside = self.dir.join(".state.json");
        fs_err::write(&aside, serde_json::to_vec(stored)?)?;
        Ok(fs_err::rename(aside, self.dir.join(STATE))?)
    }

    /// What is stored; none if the maker died before it wrote anything.
    pub fn stored(&self) -> Result<Option<Stored>> {
        let path = self.dir.join(STATE);
        match fs_err::read(&path) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text).with_context(|| path.display().to_string())?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The truth: the process lives or not, the FIFO is there or not.
    pub fn state(&self) -> Result<Shown> {
        let stored = self.stored()?;
        let process = stored.as_ref().and_then(|stored| stored.process);
        let alive = process.is_some_and(|process| process.open().is_some());
        let waits = self.dir.join(START_FIFO).exists();
        let status = match (process, alive, waits) {
            // As long as its maker lives.
            (None, ..) if self.is_being_made() => "creating",
            (None, ..) => "stopped",
            (_, true, true) => "created",
            (_, true, false) => "running",
            (_, false, _) => "stopped",
        };
        let (bundle, created, annotations) =
            stored.map(|stored| (stored.bundle, stored.created, annotations(&stored.spec))).unwrap_or_default();
        let pid = process.filter(|_| alive).map(|process| process.pid).unwrap_or(0);
        Ok(Shown { oci_version: "1.2.0", id: self.id.clone(), status, pid, bundle, created, annotations })
    }

    fn is_being_made(&self) -> bool {
        let open = rustix::fs::open(&self.dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        open.is_ok_and(|dir| rustix::fs::flock(&dir, FlockOperation::NonBlockingLockShared).is_err())
    }

    /// The first process, if it lives.
    pub fn process(&self) -> Result<Identity> {
        let process = self.stored()?.and_then(|stored| stored.process);
        process.filter(|process| process.open().is_some()).ok_or_else(|| anyhow!("container not running: {}", self.id))
    }

    /// Removes the directory.
    pub fn remove(&self) -> Result<()> {
        Ok(fs_err::remove_dir_all(&self.dir)?)
    }
}

fn annotations(spec: &Spec) -> HashMap<String, String> {
    spec.annotations().clone().unwrap_or_default()
}

fn check(id: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
    if id.is_empty() || id == "." || id == ".." || id.len() > 255 || !id.bytes().all(plain) {
        bail!("invalid container id: {id:?}: letters, digits and _+-. only");
    }
    Ok(())
}
