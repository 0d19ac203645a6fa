//! The state directory of one container: `ROOT/ID/` with state.json and, until the start, exec.fifo.

use crate::runtime::init::EXEC_FIFO;
use crate::runtime::state::Identity;
use crate::sys::Named;
use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::{CWD, FileType, Mode};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

const STATE: &str = "state.json";

/// What is stored; the status is not, it is derived.
#[derive(Debug, Serialize, Deserialize)]
pub struct Stored {
    /// The first process; none while the container is being made.
    pub process: Option<Identity>,
    /// Absolute path.
    pub bundle: PathBuf,
    /// RFC 3339.
    pub created: String,
    /// config.json's.
    pub annotations: HashMap<String, String>,
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
        let container = Container { id: id.to_owned(), dir };
        rustix::fs::mknodat(CWD, container.dir.join(EXEC_FIFO), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
            .named(|| "mkfifo".to_owned())?;
        Ok(container)
    }

    /// One that exists.
    pub fn open(root: &Path, id: &str) -> Result<Container> {
        check(id)?;
        let dir = root.join(id);
        if !dir.is_dir() {
            bail!("container does not exist: {id}");
        }
        Ok(Container { id: id.to_owned(), dir })
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
        let waits = self.dir.join(EXEC_FIFO).exists();
        let status = match (&stored, alive, waits) {
            (None, ..) => "creating",
            (_, true, true) => "created",
            (_, true, false) => "running",
            (_, false, _) => "stopped",
        };
        let (bundle, created, annotations) =
            stored.map(|stored| (stored.bundle, stored.created, stored.annotations)).unwrap_or_default();
        let pid = process.filter(|_| alive).map(|process| process.pid).unwrap_or(0);
        Ok(Shown { oci_version: "1.2.0", id: self.id.clone(), status, pid, bundle, created, annotations })
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

fn check(id: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
    if id.is_empty() || id == "." || id == ".." || id.len() > 255 || !id.bytes().all(plain) {
        bail!("invalid container id: {id:?}: letters, digits and _+-. only");
    }
    Ok(())
}
