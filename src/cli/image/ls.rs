//! `rbox images`, `rbox image ls`.

use super::short;
use crate::cli::filter::{Filters, pattern};
use crate::cli::format::{self, Column};
use crate::cli::{grammar, human, output};
use crate::engine::images::list::{self, Listed};
use crate::engine::images::{self};
use crate::error::Failure;
use crate::image::find;
use crate::image::reference::{Name, Reference};
use crate::image::view::Image;
use crate::spec::options::IdMode;
use crate::storage::store::Store;
use crate::time::Time;
use anyhow::{Context, Result};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde_json::{Value, json};

/// What is typed.
#[derive(Debug, Args)]
struct LsArgs {
    /// Only images of this name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
    /// Show all images; there are no intermediate ones that would be left out
    #[arg(short, long)]
    all: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Only some: dangling=BOOL, label=KEY[=VALUE], before=IMAGE, since=IMAGE, until=TIME, reference=PATTERN
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Print in another form: json, table TEMPLATE, or a template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Print whole ids
    #[arg(long)]
    no_trunc: bool,
    /// Print ids alone
    #[arg(short, long)]
    quiet: bool,
    /// Leave the headings out
    #[arg(short, long)]
    noheading: bool,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<LsArgs>(command, "rbox images [OPTIONS] [REPOSITORY[:TAG]]")
}

const COLUMNS: [Column; 13] = [
    Column { heading: "REPOSITORY", field: "Repository", shown: true },
    Column { heading: "TAG", field: "Tag", shown: true },
    Column { heading: "DIGEST", field: "Digest", shown: false },
    Column { heading: "IMAGE ID", field: "ID", shown: true },
    Column { heading: "CREATED", field: "CreatedSince", shown: true },
    Column { heading: "CREATED AT", field: "CreatedAt", shown: false },
    Column { heading: "SIZE", field: "Size", shown: true },
    Column { heading: "CONTAINERS", field: "Containers", shown: false },
    Column { heading: "SHARED SIZE", field: "SharedSize", shown: false },
    Column { heading: "UNIQUE SIZE", field: "UniqueSize", shown: false },
    Column { heading: "VIRTUAL SIZE", field: "VirtualSize", shown: false },
    Column { heading: "LABELS", field: "Labels", shown: false },
    Column { heading: "PLATFORM", field: "Platform", shown: false },
];

/// Prints the list.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = LsArgs::from_arg_matches_mut(&mut matches)?;
    let filters = Filters::parse(
        &args.filter,
        &["dangling", "label!", "before", "since", "after", "until", "reference", "id", "intermediate"],
    )?;
    let store = images::default_store(IdMode::Auto)?;
    let list = list::list(&store)?;
    let wanted = Wanted::new(&args, &filters, &store)?;
    let now = Time::now();
    let mut rows = Vec::new();
    for listed in list.images.iter().filter(|listed| wanted.admits(listed)) {
        let names: Vec<&Reference> = listed.names.iter().filter(|name| wanted.admits_name(name)).collect();
        if names.is_empty() && listed.names.is_empty() && wanted.without_name() {
            rows.push(row(listed, None, args.no_trunc, now));
        }
        rows.extend(names.into_iter().map(|name| row(listed, Some(name), args.no_trunc, now)));
    }
    let heading = !args.noheading;
    let text = if args.quiet {
        let mut ids: Vec<Value> = Vec::new();
        for row in rows {
            if !ids.iter().any(|known| known["ID"] == row["ID"]) {
                ids.push(row);
            }
        }
        format::list(&ids, &COLUMNS, Some("{{.ID}}"), heading)?
    } else {
        let columns = COLUMNS
            .map(|column| Column { shown: column.shown || (args.digests && column.field == "Digest"), ..column });
        format::list(&rows, &columns, args.format.as_deref(), heading)?
    };
    for (digest, why) in &list.damaged {
        let hints = vec!["`rbox system check --repair` mends it, `rbox rmi` with the digest removes it".to_owned()];
        let message = format!("note: image {digest}: {}", why.message);
        output::error(&Failure { message, hints, exit: why.exit }.render());
    }
    output::print(&text)
}

fn row(listed: &Listed, name: Option<&Reference>, whole: bool, now: Time) -> Value {
    let image = &listed.image;
    let none = || "<none>".to_owned();
    let created = image.created();
    json!({
        "Repository": name.map_or_else(none, Reference::familiar_name),
        "Tag": name.and_then(|name| name.tag.clone()).unwrap_or_else(none),
        "Digest": image.descriptor.digest,
        "ID": short(image.id(), whole),
        "CreatedSince": created.map_or("N/A".to_owned(), |time| human::ago(time, now)),
        "CreatedAt": created.map(human::created_at).unwrap_or_default(),
        "Size": human::size(listed.size),
        "Containers": "N/A",
        "SharedSize": "N/A",
        "UniqueSize": "N/A",
        "VirtualSize": human::size(listed.size),
        "Labels": image.config.labels_of_config(),
        "Platform": image.descriptor.platform.as_ref().map(ToString::to_string),
    })
}

/// True if an image has the labels that filters ask for.
pub fn has_labels(filters: &Filters, listed: &Listed) -> bool {
    let labels = listed.image.config.labels_of_config();
    filters.labels(|key| labels.and_then(|labels| labels.get(key)).map(String::as_str))
}

/// What the argument and the filters ask for.
struct Wanted<'a> {
    filters: &'a Filters,
    /// Full names, and whether any tag will do.
    names: Option<(Vec<Reference>, bool)>,
    dangling: Option<bool>,
    before: Option<Time>,
    since: Option<Time>,
    until: Option<Time>,
}

impl<'a> Wanted<'a> {
    fn new(args: &LsArgs, filters: &'a Filters, store: &Store) -> Result<Wanted<'a>> {
        let created = |key: &str| -> Result<Option<Time>> {
            let Some(text) = filters.values(key).next() else { return Ok(None) };
            let found = find::require(store, text).with_context(|| format!("--filter {key}={text}"))?;
            Ok(Image::load(store, found.descriptor)?.created())
        };
        let names = args.name.as_deref().map(|text| -> Result<_> {
            let last = text.rsplit('/').next().unwrap_or_default();
            Ok((find::candidates(&Name::parse(text)?)?, !last.contains(':') && !text.contains('@')))
        });
        Ok(Wanted {
            filters,
            names: names.transpose()?,
            dangling: filters.boolean("dangling")?,
            before: created("before")?,
            since: match created("since")? {
                Some(time) => Some(time),
                None => created("after")?,
            },
            until: filters.until(Time::now())?,
        })
    }

    fn admits(&self, listed: &Listed) -> bool {
        let created = listed.image.created();
        let id = listed.image.id();
        self.dangling.is_none_or(|wanted| wanted == listed.names.is_empty())
            && self.before.is_none_or(|time| created.is_some_and(|created| created < time))
            && self.since.is_none_or(|time| created.is_some_and(|created| created > time))
            && self.until.is_none_or(|time| created.is_some_and(|created| created < time))
            // Nothing here is intermediate.
            && self.filters.matches("intermediate", |value| matches!(super::super::boolean(value), Ok(false)))
            && self.filters.matches("id", |value| id.hex().starts_with(value.trim_start_matches("sha256:")))
            && has_labels(self.filters, listed)
    }

    /// docker's rule for `reference`: a pattern of the name, or of name and tag; in the short form or the full one.
    fn admits_name(&self, name: &Reference) -> bool {
        let by_name = self.names.as_ref().is_none_or(|(names, any_tag)| {
            names.iter().any(|wanted| if *any_tag { wanted.name() == name.name() } else { wanted == name })
        });
        by_name
            && self.filters.matches("reference", |text| {
                [name.familiar_name(), name.familiar(), name.name(), name.to_string()]
                    .iter()
                    .any(|form| pattern::matches(text, form).unwrap_or(false))
            })
    }

    fn without_name(&self) -> bool {
        self.names.is_none() && !self.filters.has("reference")
    }
}
