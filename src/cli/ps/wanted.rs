//! Which containers `ps` shows (moby, `daemon/list.go`).

use super::ports;
use crate::cli::filter::Filters;
use crate::engine::inspect::mounts::MountPoint;
use crate::engine::inspect::networks::Endpoint;
use crate::engine::list::Listed;
use crate::engine::state::Status;
use crate::engine::{container::OfImage, images};
use crate::image::find;
use crate::spec::options::IdMode;
use crate::spec::port::{self, Exposed};
use crate::storage::digest::Digest;
use crate::time::Time;
use anyhow::{Context, Result, bail};
use regex::Regex;

/// Keys of `--filter`, as [`Filters`] takes them.
const KEYS: [&str; 15] = [
    "ancestor", "before", "exited", "expose", "health", "id", "is-task", "label!", "name", "network", "publish",
    "since", "status", "volume", "until",
];
const STATES: [&str; 7] = ["created", "restarting", "running", "removing", "paused", "exited", "dead"];
/// What docker calls one without checks.
const NONE: &str = "none";

const HEALTHS: [&str; 4] = [NONE, "starting", "healthy", "unhealthy"];

/// The filters, read.
#[derive(Debug)]
pub struct Wanted {
    filters: Filters,
    names: Vec<Regex>,
    statuses: Vec<u8>,
    published: Vec<Exposed>,
    exposed: Vec<Exposed>,
    tasks: Option<bool>,
    until: Option<Time>,
    /// What is only looked for if it is asked for.
    ancestors: Vec<(String, Option<Digest>)>,
    before: Vec<Time>,
    since: Vec<Time>,
}

impl Wanted {
    /// Reads the filters. `all`: the containers that `before` and `since` may name.
    pub fn read(texts: &[String], all: &[Listed]) -> Result<Wanted> {
        let filters = Filters::parse(texts, &KEYS)?;
        for (key, words) in [("status", STATES.as_slice()), ("health", &HEALTHS)] {
            if let Some(text) = filters.values(key).find(|text| !words.contains(text)) {
                bail!("--filter {key}={text}: not one of {}", words.join(", "));
            }
        }
        let times = |key| each(&filters, key, |name| time_of(all, name));
        let ports = |key| each(&filters, key, port::expose);
        Ok(Wanted {
            names: each(&filters, "name", |text| Regex::new(text).map_err(|_| not_a_pattern(text)))?,
            statuses: each(&filters, "exited", |text| text.parse().context("not an exit status: 0 to 255"))?,
            published: ports("publish")?,
            exposed: ports("expose")?,
            tasks: filters.boolean("is-task")?,
            until: filters.until(Time::now())?,
            ancestors: each(&filters, "ancestor", |text| Ok((text.to_owned(), manifest_of(text))))?,
            before: times("before")?,
            since: times("since")?,
            filters,
        })
    }

    /// True if containers that do not run are meant, too.
    pub fn is_of_any_state(&self) -> bool {
        self.filters.has("status") || self.filters.has("exited")
    }

    /// True if it takes more than what a list knows to tell.
    pub fn looks_inside(&self) -> bool {
        self.filters.has("volume") || self.filters.has("network")
    }

    /// Whether this one is wanted, as far as a list knows.
    pub fn admits(&self, listed: &Listed) -> bool {
        let Listed { found, state, .. } = listed;
        let container = &found.container;
        let name = container.name.as_deref().unwrap_or_default();
        let slashed = format!("/{name}");
        let is_named = |(text, pattern): (&str, &Regex)| {
            text == name || text == slashed || pattern.is_match(name) || pattern.is_match(&slashed)
        };
        let ended = || state.status == Status::Exited && self.statuses.contains(&state.exit_code());
        let health = listed.health.as_ref().map_or(NONE.to_owned(), |health| health.status.to_string());
        // No container is a part of a swarm.
        self.tasks != Some(true)
            && (self.names.is_empty() || self.filters.values("name").zip(&self.names).any(is_named))
            && self.filters.matches("id", |text| container.id.starts_with(text))
            && self.filters.matches("status", |text| state.status.to_string() == text)
            && (self.statuses.is_empty() || ended())
            && self.filters.matches("health", |text| text == health)
            && self.filters.labels(|key| container.config["Labels"][key].as_str())
            && self.until.is_none_or(|until| container.created < until)
            && self.before.iter().all(|time| container.created < *time)
            && self.since.iter().all(|time| container.created > *time)
            && (self.ancestors.is_empty() || container.image.as_ref().is_some_and(|image| self.descends(image)))
            && self.has_port(listed)
    }

    /// Likewise of what is mounted in it, and of its networks.
    pub fn admits_inside(&self, mounts: &[MountPoint], networks: &[Endpoint]) -> bool {
        let has = |text: &str| {
            let is_it = |mount: &MountPoint| {
                let name = if mount.name.is_empty() { &mount.source } else { &mount.name };
                mount.destination == text || name == text
            };
            mounts.iter().any(is_it)
        };
        let is_on = |text: &str| {
            let is_id = |id: &str| !id.is_empty() && id.starts_with(text);
            networks.iter().any(|network| network.network == text || is_id(&network.id))
        };
        self.filters.matches("volume", has) && self.filters.matches("network", is_on)
    }

    /// By its name as it was typed, by its id, or by what a name stands for now.
    fn descends(&self, image: &OfImage) -> bool {
        self.ancestors.iter().any(|(text, manifest)| {
            let digits = text.strip_prefix("sha256:").unwrap_or(text);
            image.name == *text
                || image.id.hex().starts_with(digits)
                || image.name.strip_prefix(text.as_str()).is_some_and(|rest| rest.starts_with(':'))
                || manifest.as_ref() == Some(&image.manifest)
        })
    }

    /// docker takes one of either: a port of the host that is published, or one of the container.
    fn has_port(&self, listed: &Listed) -> bool {
        if self.published.is_empty() && self.exposed.is_empty() {
            return true;
        }
        let among = |wanted: &[Exposed], port: u16, protocol| {
            wanted.iter().any(|one| one.ports.contains(&port) && one.protocol == protocol)
        };
        ports::of(listed).iter().any(|port| {
            let is_outer = port.outer.is_some_and(|(_, outer)| among(&self.published, outer, port.protocol));
            is_outer || among(&self.exposed, port.inner, port.protocol)
        })
    }
}

/// Reads all values of a key; errors name it.
fn each<T>(filters: &Filters, key: &str, read: impl Fn(&str) -> Result<T>) -> Result<Vec<T>> {
    filters.values(key).map(|text| read(text).with_context(|| format!("--filter {key}={text}"))).collect()
}

fn not_a_pattern(text: &str) -> anyhow::Error {
    // The library's own message has several lines.
    anyhow::anyhow!("{text:?} is no regular expression")
}

fn time_of(all: &[Listed], name: &str) -> Result<Time> {
    let is_it = |listed: &&Listed| {
        listed.found.container.name.as_deref() == Some(name) || listed.found.container.id.starts_with(name)
    };
    Ok(all.iter().find(is_it).context("no such container")?.found.container.created)
}

/// The manifest that a name stands for here, if for any.
fn manifest_of(name: &str) -> Option<Digest> {
    let store = images::default_store(IdMode::Auto).ok()?;
    Some(find::find(&store, name).ok()??.descriptor.digest)
}
