//! What happens to containers, images, volumes and networks: a line for each in `RUNTIME/events.log`, written by whoever does
//! it and read by `events`. It ends with the session, as docker's ends with its daemon.

pub mod reader;

use super::container::{self, Container};
use crate::paths;
use crate::time::Time;
use anyhow::Result;
use rustix::fs::{FlockOperation, Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The file that is written to.
const FILE: &str = "events.log";
/// The one before.
const BEFORE: &str = "events.log.1";
/// A file of this length is the last one's, bytes; then the next one begins.
const LONGEST: u64 = 1024 * 1024;

/// What something happened to, in docker's words (moby, `api/types/events`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A volume.
    Volume,
    /// A network.
    Network,
}

impl Kind {
    /// docker's word.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Container => "container",
            Kind::Image => "image",
            Kind::Volume => "volume",
            Kind::Network => "network",
        }
    }
}

/// Who it happened to: an id or a name, and what is known of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Of a container or network its id, of an image or a volume its name or id.
    #[serde(rename = "ID")]
    pub id: String,
    /// `image`, `name`, labels, and what an action adds.
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<String, String>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// To what.
    #[serde(rename = "Type")]
    pub kind: Kind,
    /// `start`, `die`, `pull`.
    #[serde(rename = "Action")]
    pub action: String,
    /// To which.
    #[serde(rename = "Actor")]
    pub actor: Actor,
    /// When.
    #[serde(rename = "Time")]
    pub time: Time,
}

impl Actor {
    /// A container.
    pub fn container(container: &Container) -> Actor {
        let mut attributes = BTreeMap::new();
        for (key, value) in container.config["Labels"].as_object().into_iter().flatten() {
            attributes.insert(key.clone(), value.as_str().unwrap_or_default().to_owned());
        }
        let image = container.image.as_ref().map(|image| image.name.clone());
        attributes.extend(image.map(|image| ("image".to_owned(), image)));
        attributes.extend(container.name.clone().map(|name| ("name".to_owned(), name)));
        Actor { id: container.id.clone(), attributes }
    }

    /// The same container under the name that it has by now.
    pub fn renamed(&self) -> Actor {
        let kept = container::places().map(|[kept, _]| kept.join(&self.id));
        let now = kept.and_then(|dir| container::read(&dir)).ok().flatten().and_then(|found| found.container.name);
        now.map_or_else(|| self.clone(), |name| self.with("name", name))
    }

    /// Something with a name.
    pub fn named(id: &str, name: &str) -> Actor {
        Actor { id: id.to_owned(), attributes: BTreeMap::from([("name".to_owned(), name.to_owned())]) }
    }

    /// With one more thing that is known.
    pub fn with(&self, key: &str, value: impl ToString) -> Actor {
        let mut actor = self.clone();
        actor.attributes.insert(key.to_owned(), value.to_string());
        actor
    }
}

impl Event {
    /// Something that happens now.
    pub fn now(kind: Kind, action: impl Into<String>, actor: Actor) -> Event {
        Event { kind, action: action.into(), actor, time: Time::now() }
    }
}

/// Something happens to a container.
pub fn container(action: &str, actor: &Actor) {
    tell(&[Event::now(Kind::Container, action, actor.clone())]);
}

/// Something happens to something else.
pub fn other(kind: Kind, action: &str, actor: Actor) {
    tell(&[Event::now(kind, action, actor)]);
}

/// Writes them down, in one piece. Whatever happens goes on if they cannot be: on a full disk, without a runtime directory.
pub fn tell(events: &[Event]) {
    let _ = written(events);
}

fn written(events: &[Event]) -> Result<()> {
    let mut text = Vec::new();
    for event in events {
        serde_json::to_writer(&mut text, event)?;
        text.push(b'\n');
    }
    let dir = paths::runtime_dir()?;
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let path = dir.join(FILE);
    let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)?;
    let length = rustix::io::retry_on_intr(|| rustix::io::write(&file, &text))?;
    if length < text.len() {
        // The disk is full: half a line must not take the next one along.
        rustix::io::write(&file, b"\n")?;
    }
    if u64::try_from(rustix::fs::fstat(&file)?.st_size)? > LONGEST
        && rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
        && is_still(&path, &file)
    {
        rustix::fs::rename(&path, dir.join(BEFORE))?;
    }
    Ok(())
}

/// True if the name stands for this open file still: nobody else was faster.
fn is_still(path: &Path, file: &impl std::os::fd::AsFd) -> bool {
    match (rustix::fs::stat(path), rustix::fs::fstat(file)) {
        (Ok(there), Ok(here)) => (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino),
        _ => false,
    }
}

/// The files that there may be, the older one first.
fn files() -> Result<[PathBuf; 2]> {
    let dir = paths::runtime_dir()?;
    Ok([dir.join(BEFORE), dir.join(FILE)])
}
