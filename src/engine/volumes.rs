//! Volumes: directories that outlive containers.
//!
//! `DATA/volumes/NAME/` has `_data` and `volume.json`. One in the making or on its way out has another name there, which
//! begins with a dot: so a volume is whole or not there. Whoever uses one holds a shared lock on its directory; whoever
//! removes it, the exclusive one, and looks into the records of containers then.

mod mounted;

pub use mounted::{Held, complete, hold, hold_again, of_container, remove_anonymous, users};

use super::events::{self, Actor};
use super::{record, scratch};
use crate::paths;
use crate::spec::volume::{self, Kind};
use crate::storage::temporary::sync_directory;
use crate::storage::usage;
use crate::sys::Named;
use crate::time::Time;
use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// What is written down of a volume.
const ABOUT: &str = "volume.json";
/// What containers see.
const DATA: &str = "_data";
/// docker's mark of a volume without a name of its own.
const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// A volume that is there.
#[derive(Debug, Clone)]
pub struct Volume {
    /// Its name; 64 hexadecimal digits if it is anonymous.
    pub name: String,
    /// What is written down.
    pub about: About,
    dir: PathBuf,
}

/// What is written down of a volume.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct About {
    /// When it was made.
    pub created: Time,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The container that it ends with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
}

/// A volume that somebody wants.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Its name; none for an anonymous one.
    pub name: Option<String>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The container that an anonymous one ends with.
    pub container: Option<String>,
}

impl Volume {
    /// Where its files are.
    pub fn mountpoint(&self) -> PathBuf {
        self.dir.join(DATA)
    }

    /// True for one that nobody gave a name.
    pub fn is_anonymous(&self) -> bool {
        self.about.labels.contains_key(ANONYMOUS)
    }

    /// True if no container has it.
    pub fn is_dangling(&self) -> Result<bool> {
        Ok(matches!(exclusive(&self.dir)?, Exclusive::Held(_)) && users(&self.name)?.is_empty())
    }

    fn read(dir: &Path) -> Result<Option<Volume>> {
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match fs_err::read(dir.join(ABOUT)) {
            Ok(text) => {
                let about = serde_json::from_slice(&text).with_context(|| format!("volume {name}: {ABOUT}"))?;
                Ok(Some(Volume { name, about, dir: dir.to_owned() }))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn base() -> Result<PathBuf> {
    Ok(paths::data_dir()?.join("volumes"))
}

/// Makes a volume, or finds the one of that name. It cannot be removed while the descriptor is held.
pub fn create(wanted: &Wanted) -> Result<(Volume, OwnedFd)> {
    Kind::of(&wanted.options)?;
    wanted.name.as_deref().map(volume::name).transpose()?;
    let base = base()?;
    fs_err::create_dir_all(&base)?;
    let name = wanted.name.clone().map_or_else(record::random_id, Ok)?;
    let dir = base.join(&name);
    loop {
        if let Some(held) = shared(&dir)? {
            let Some(volume) = Volume::read(&dir)? else { bail!("volume {name}: no {ABOUT} in its directory") };
            compare(wanted, &volume)?;
            return Ok((volume, held));
        }
        let mut labels = wanted.labels.clone();
        if wanted.name.is_none() {
            labels.insert(ANONYMOUS.to_owned(), String::new());
        }
        let (options, container) = (wanted.options.clone(), wanted.container.clone());
        let about = About { created: Time::now(), options, labels, container };
        let (aside, held) = make(&base)?;
        let placed = place(&aside, &about, &dir);
        if !matches!(placed, Ok(true)) {
            // The error is what is told; what stays is swept.
            let _ = scratch::remove(&aside);
        }
        if placed? {
            events::other(events::Kind::Volume, "create", Actor::named(&name, &name).with("driver", "local"));
            return Ok((Volume { name, about, dir }, held));
        }
    }
}

/// Gives a new volume its name; false if the name is taken.
fn place(aside: &Path, about: &About, dir: &Path) -> Result<bool> {
    fs_err::write(aside.join(ABOUT), serde_json::to_vec(about)?)?;
    fs_err::File::open(aside.join(ABOUT))?.sync_all()?;
    let data = aside.join(DATA);
    fs_err::create_dir(&data)?;
    // Whatever the umask: it is the root of what containers see.
    fs_err::set_permissions(&data, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    match rustix::fs::rename(aside, dir) {
        Ok(()) => {}
        Err(Errno::EXIST | Errno::NOTEMPTY) => return Ok(false),
        Err(errno) => return Err(errno).named(|| format!("rename({})", dir.display())).map_err(Into::into),
    }
    sync_directory(dir.parent().unwrap_or(Path::new("/")))?;
    Ok(true)
}

/// What is asked of one that is there must be so already: nothing asked is passed over in silence.
fn compare(wanted: &Wanted, there: &Volume) -> Result<()> {
    if !wanted.options.is_empty() && wanted.options != there.about.options {
        bail!("volume {}: is there already, with other options", there.name);
    }
    let differs = wanted.labels.iter().any(|(key, value)| there.about.labels.get(key) != Some(value));
    if differs {
        bail!("volume {}: is there already, with other labels", there.name);
    }
    Ok(())
}

/// The volume of this name.
pub fn find(name: &str) -> Result<Volume> {
    let none = || anyhow!("get {name}: no such volume");
    volume::name(name).map_err(|_| none())?;
    Volume::read(&base()?.join(name))?.ok_or_else(none)
}

/// All of them, by name.
pub fn list() -> Result<Vec<Volume>> {
    sweep()?;
    let base = base()?;
    let mut all = Vec::new();
    for name in names(&base)? {
        all.extend(Volume::read(&base.join(name))?);
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

fn names(base: &Path) -> Result<Vec<String>> {
    Ok(record::ids_in(base)?.into_iter().filter(|name| !name.starts_with('.')).collect())
}

/// Removes a volume that nobody uses. With `force` one that is not there is no error.
pub fn remove(name: &str, force: bool) -> Result<()> {
    let volume = match find(name) {
        Err(_) if force => return Ok(()),
        found => found?,
    };
    let users = match exclusive(&volume.dir)? {
        Exclusive::Gone if force => return Ok(()),
        Exclusive::Gone => bail!("get {name}: no such volume"),
        Exclusive::Busy => users(name)?,
        Exclusive::Held(held) => match users(name)? {
            users if users.is_empty() => {
                discard(&volume.dir, held)?;
                events::other(events::Kind::Volume, "destroy", Actor::named(name, name).with("driver", "local"));
                return Ok(());
            }
            users => users,
        },
    };
    match users.is_empty() {
        true => {
            bail!("remove {name}: volume is in use by a container of another session, or one that is just starting")
        }
        false => bail!("remove {name}: volume is in use - [{}]", users.join(", ")),
    }
}

/// Removes all that nobody uses and that are `wanted`: their names, and how many bytes that gave back.
pub fn prune(wanted: impl Fn(&Volume) -> bool) -> Result<(Vec<String>, u64)> {
    let (mut removed, mut bytes) = (Vec::new(), 0);
    for volume in list()?.into_iter().filter(wanted) {
        let Exclusive::Held(held) = exclusive(&volume.dir)? else { continue };
        if users(&volume.name)?.is_empty() {
            let size = usage::of_tree(&volume.mountpoint(), super::images::default_maps()?)?;
            discard(&volume.dir, held)?;
            bytes += size;
            events::other(events::Kind::Volume, "destroy", Actor::named(&volume.name, &volume.name));
            removed.push(volume.name);
        }
    }
    Ok((removed, bytes))
}

/// Removes what nobody makes or removes any more, and volumes whose container is no more.
pub fn sweep() -> Result<()> {
    let base = base()?;
    for name in record::ids_in(&base)? {
        let dir = base.join(&name);
        if name.starts_with('.') {
            if let Exclusive::Held(_held) = exclusive(&dir)? {
                scratch::remove(&dir)?;
            }
        } else if Volume::read(&dir)?.is_some_and(|volume| volume.about.container.is_some()) {
            remove_unused(&dir)?;
        }
    }
    Ok(())
}

/// Removes one, unless somebody uses it.
fn remove_unused(dir: &Path) -> Result<()> {
    let Exclusive::Held(held) = exclusive(dir)? else { return Ok(()) };
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    if users(&name)?.is_empty() { discard(dir, held) } else { Ok(()) }
}

/// Takes away the name, then the files.
fn discard(dir: &Path, held: OwnedFd) -> Result<()> {
    let aside = dir.with_file_name(format!(".gone-{}", &record::random_id()?[..16]));
    rustix::fs::rename(dir, &aside).named(|| format!("rename({})", dir.display()))?;
    let removed = scratch::remove(&aside);
    drop(held);
    removed
}

/// A new directory without a name, locked. A sweep may come in between; then it is made again.
fn make(base: &Path) -> Result<(PathBuf, OwnedFd)> {
    loop {
        let aside = base.join(format!(".new-{}", &record::random_id()?[..16]));
        fs_err::create_dir(&aside)?;
        if let Some(held) = shared(&aside)? {
            return Ok((aside, held));
        }
    }
}

/// A shared lock on a directory; `None` if it is not there.
fn shared(dir: &Path) -> Result<Option<OwnedFd>> {
    loop {
        let Some(fd) = open(dir)? else { return Ok(None) };
        rustix::io::retry_on_intr(|| rustix::fs::flock(&fd, FlockOperation::LockShared))
            .named(|| format!("flock({})", dir.display()))?;
        if is_at(&fd, dir)? {
            return Ok(Some(fd));
        }
    }
}

enum Exclusive {
    /// It is not there.
    Gone,
    /// Somebody uses it.
    Busy,
    /// Nobody does.
    Held(OwnedFd),
}

/// Tries for the exclusive lock on a directory.
fn exclusive(dir: &Path) -> Result<Exclusive> {
    let Some(fd) = open(dir)? else { return Ok(Exclusive::Gone) };
    match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) if is_at(&fd, dir)? => Ok(Exclusive::Held(fd)),
        Ok(()) => Ok(Exclusive::Gone),
        Err(Errno::WOULDBLOCK) => Ok(Exclusive::Busy),
        Err(errno) => Err(errno).named(|| format!("flock({})", dir.display())).map_err(Into::into),
    }
}

fn open(dir: &Path) -> Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::open(dir, flags, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno).named(|| format!("open({})", dir.display())).map_err(Into::into),
    }
}

/// True if this is what the path stands for now.
fn is_at(fd: &OwnedFd, path: &Path) -> Result<bool> {
    let own = rustix::fs::fstat(fd).named(|| format!("stat({})", path.display()))?;
    match rustix::fs::stat(path) {
        Ok(there) => Ok((own.st_dev, own.st_ino) == (there.st_dev, there.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno).named(|| format!("stat({})", path.display())).map_err(Into::into),
    }
}
