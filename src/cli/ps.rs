//! `rbox ps`.

use super::filter::Filters;
use super::format::{self, Column};
use super::{failure, grammar, human, output, port};
use crate::engine::list::{self, Listed};
use crate::engine::state::Status;
use crate::time::Time;
use anyhow::{Context, Result, bail};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde_json::{Value, json};

#[derive(Debug, Args)]
struct PsArgs {
    /// Show all containers, not just those that run
    #[arg(short, long)]
    all: bool,
    /// Provide filter values: ancestor=IMAGE, before=CONTAINER, exited=STATUS, id=TEXT, label=KEY[=VALUE], name=TEXT,
    /// since=CONTAINER, status=STATUS
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Format output: table, json, or a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Show the last so many created containers, in all states
    #[arg(short = 'n', long, value_name = "COUNT", allow_hyphen_values = true)]
    last: Option<i64>,
    /// Show the latest created container, in all states
    #[arg(short, long)]
    latest: bool,
    /// Do not print the headings
    #[arg(long)]
    noheading: bool,
    /// Do not cut output
    #[arg(long)]
    no_trunc: bool,
    /// Only display ids
    #[arg(short, long)]
    quiet: bool,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<PsArgs>(command, "rbox ps [OPTIONS]")
}

const COLUMNS: [Column; 15] = [
    Column { heading: "CONTAINER ID", field: "ID", shown: true },
    Column { heading: "IMAGE", field: "Image", shown: true },
    Column { heading: "COMMAND", field: "Command", shown: true },
    Column { heading: "CREATED", field: "RunningFor", shown: true },
    Column { heading: "STATUS", field: "Status", shown: true },
    Column { heading: "PORTS", field: "Ports", shown: true },
    Column { heading: "NAMES", field: "Names", shown: true },
    Column { heading: "CREATED AT", field: "CreatedAt", shown: false },
    Column { heading: "STATE", field: "State", shown: false },
    Column { heading: "LABELS", field: "Labels", shown: false },
    Column { heading: "SIZE", field: "Size", shown: false },
    Column { heading: "MOUNTS", field: "Mounts", shown: false },
    Column { heading: "NETWORKS", field: "Networks", shown: false },
    Column { heading: "LOCAL VOLUMES", field: "LocalVolumes", shown: false },
    Column { heading: "PLATFORM", field: "Platform", shown: false },
];

/// Prints the list. What cannot be read is told, and the others are shown all the same.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = PsArgs::from_arg_matches_mut(&mut matches)?;
    let keys = ["ancestor", "before", "exited", "id", "label!", "name", "since", "status"];
    let filters = Filters::parse(&args.filter, &keys)?;
    let statuses = ["created", "restarting", "running", "removing", "paused", "exited", "dead"];
    for status in filters.values("status") {
        if !statuses.contains(&status) {
            bail!("--filter status={status}: not one of {}", statuses.join(", "));
        }
    }
    let (all, damaged) = list::list()?;
    let times = |key: &str| -> Result<Vec<Time>> { filters.values(key).map(|name| time_of(&all, name, key)).collect() };
    let (before, since) = (times("before")?, times("since")?);
    let count = match (args.latest, args.last) {
        (true, _) => Some(1),
        (false, Some(count)) if count > 0 => usize::try_from(count).ok(),
        _ => None,
    };
    let every = args.all || count.is_some() || filters.has("status") || filters.has("exited");
    let wanted = |listed: &&Listed| {
        let container = &listed.found.container;
        let label = |key: &str| container.config["Labels"][key].as_str();
        let image = container.image.as_ref();
        (every || listed.state.status == Status::Running)
            && filters.matches("id", |text| container.id.starts_with(text))
            && filters.matches("name", |text| container.name.as_deref().is_some_and(|name| name.contains(text)))
            && filters.matches("status", |text| listed.state.status.to_string() == text)
            && filters.matches("exited", |text| {
                listed.state.status == Status::Exited && text.parse() == Ok(listed.state.exit_code())
            })
            && filters.matches("ancestor", |text| {
                image.is_some_and(|image| {
                    image.name == text
                        || image.id.hex().starts_with(text)
                        || image.name.starts_with(&format!("{text}:"))
                })
            })
            && filters.labels(label)
            && before.iter().all(|time| container.created < *time)
            && since.iter().all(|time| container.created > *time)
    };
    let found: Vec<&Listed> = all.iter().filter(wanted).take(count.unwrap_or(usize::MAX)).collect();
    let status = failure::tell(&damaged);
    let id = |listed: &Listed| {
        let id = listed.found.container.id.as_str();
        if args.no_trunc { id.to_owned() } else { id[..12.min(id.len())].to_owned() }
    };
    if args.quiet && args.format.is_none() {
        output::print(&found.iter().map(|listed| format!("{}\n", id(listed))).collect::<String>())?;
        return Ok(status);
    }
    let now = Time::now();
    let rows: Vec<Value> = found.iter().map(|listed| row(listed, id(listed), args.no_trunc, now)).collect();
    output::print(&format::list(&rows, &COLUMNS, args.format.as_deref(), !args.noheading)?)?;
    Ok(status)
}

fn time_of(all: &[Listed], name: &str, key: &str) -> Result<Time> {
    let is_it = |listed: &&Listed| {
        listed.found.container.name.as_deref() == Some(name) || listed.found.container.id.starts_with(name)
    };
    let found = all.iter().find(is_it).with_context(|| format!("--filter {key}={name}: no such container"))?;
    Ok(found.found.container.created)
}

fn row(listed: &Listed, id: String, whole: bool, now: Time) -> Value {
    let container = &listed.found.container;
    let labels = container.config["Labels"].as_object();
    let labels: Vec<String> = labels
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    json!({
        "Command": command(&container.args.join(" "), whole),
        "CreatedAt": human::created_at(container.created),
        "ID": id,
        "Image": container.image.as_ref().map(|image| image.name.clone()).unwrap_or_default(),
        "Labels": labels.join(","),
        "LocalVolumes": "0",
        "Mounts": "",
        "Names": container.name.clone().unwrap_or_default(),
        "Networks": "",
        "Platform": Value::Null,
        "Ports": listed.ports.iter().map(port::shown).collect::<Vec<_>>().join(", "),
        "RunningFor": human::ago(container.created, now),
        "Size": "0B",
        "State": listed.state.status.to_string(),
        "Status": status(listed, now),
    })
}

/// docker's: in quotation marks, of at most 20 characters.
fn command(text: &str, whole: bool) -> String {
    let cut: String = if whole || text.chars().count() <= 20 {
        text.to_owned()
    } else {
        text.chars().take(19).chain(['…']).collect()
    };
    format!("{cut:?}")
}

/// docker's: `Up 5 minutes`, `Exited (0) 3 seconds ago`.
fn status(listed: &Listed, now: Time) -> String {
    let state = &listed.state;
    match state.status {
        Status::Created => "Created".to_owned(),
        Status::Running => match &state.run {
            Some(run) => format!("Up {}", human::span(now.since(run.started))),
            None => "Up".to_owned(),
        },
        Status::Exited => {
            let when = state.exit.as_ref().map(|exit| format!(" {}", human::ago(exit.finished, now)));
            format!("Exited ({}){}", state.exit_code(), when.unwrap_or_default())
        }
    }
}
