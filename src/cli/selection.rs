//! Which containers a verb is for: names, all of them, the last one that was made, those whose id is in a file, those that a
//! filter lets through.

use super::filter::Filters;
use crate::engine::container::{self, Found};
use crate::engine::state::{self, Status};
use crate::error::Advise;
use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;

/// What is typed.
#[derive(Debug, Default, Args)]
pub struct Selection {
    /// Names or ids of containers
    #[arg(value_name = "CONTAINER")]
    pub containers: Vec<String>,
    /// All containers
    #[arg(short, long)]
    all: bool,
    /// The container that was created last
    #[arg(short, long)]
    latest: bool,
    /// Read the container's id from a file
    #[arg(long, value_name = "FILE")]
    cidfile: Vec<String>,
    /// Those that match, as in `rbox ps`: id=TEXT, name=TEXT, label=KEY[=VALUE], status=STATUS
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
}

impl Selection {
    /// For a verb whose `-a` is something else.
    pub fn of(containers: Vec<String>, all: bool, latest: bool, filter: Vec<String>) -> Selection {
        Selection { containers, all, latest, cidfile: Vec::new(), filter }
    }

    /// Their names or ids. `admits`: which of all are meant.
    pub fn names(&self, admits: impl Fn(Status) -> bool) -> Result<Vec<String>> {
        let ways = [!self.containers.is_empty() || !self.cidfile.is_empty(), self.all, self.latest];
        ensure!(!(self.latest && self.all), "--latest: excludes --all");
        if ways[0] && (self.all || self.latest) {
            bail!("{}: excludes names", if self.all { "--all" } else { "--latest" });
        }
        if ways[0] && !self.filter.is_empty() {
            bail!("--filter: excludes names");
        }
        ensure!(!self.latest || self.filter.is_empty(), "--latest: excludes --filter");
        if self.latest {
            return Ok(vec![latest()?.container.id]);
        }
        if self.all || !self.filter.is_empty() {
            return self.filtered(admits);
        }
        if !ways[0] {
            return Err(anyhow!("no container is named")).hint(|| "`rbox ps` lists those that run".to_owned());
        }
        let mut names = self.containers.clone();
        for path in &self.cidfile {
            names.push(fs_err::read_to_string(path).context("--cidfile")?.trim().to_owned());
        }
        Ok(names)
    }

    fn filtered(&self, admits: impl Fn(Status) -> bool) -> Result<Vec<String>> {
        let filters = Filters::parse(&self.filter, &["id", "label!", "name", "status"])?;
        let mut ids = Vec::new();
        for found in container::all()?.found {
            let about = &found.container;
            let is_wanted = filters.matches("id", |text| about.id.starts_with(text))
                && filters.matches("name", |text| about.name.as_deref().is_some_and(|name| name.contains(text)))
                && filters.labels(|key| about.config["Labels"][key].as_str());
            if !is_wanted {
                continue;
            }
            // What one is doing is asked of no more than need be: it may be damaged.
            let status = state::of(&found).map(|state| state.status);
            let has_status =
                filters.matches("status", |text| status.as_ref().is_ok_and(|status| status.to_string() == text));
            if has_status && status.map_or(self.all, &admits) {
                ids.push(found.container.id);
            }
        }
        Ok(ids)
    }
}

/// The container that was made last.
pub fn latest() -> Result<Found> {
    let all = container::all()?.found;
    all.into_iter().max_by_key(|found| found.container.created).context("--latest: there is no container")
}

/// The one that is named, or the last one.
pub fn one(name: Option<&str>, last: bool) -> Result<Found> {
    match (name, last) {
        (Some(name), false) => container::find(name),
        (None, true) => latest(),
        (Some(_), true) => bail!("--latest: excludes a name"),
        (None, false) => bail!("no container is named"),
    }
}
