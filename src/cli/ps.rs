//! `rbox ps`.

mod ports;
mod row;
mod wanted;

use super::format::{self, Column};
use super::{failure, grammar, output};
use crate::engine::inspect::networks::Networks;
use crate::engine::inspect::{asked, mounts, platform, size};
use crate::engine::list::{self, Listed};
use crate::engine::state::Status;
use crate::engine::{container::Found, damage};
use crate::error::Failure;
use crate::time::Time;
use anyhow::Result;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use row::Inside;
use serde_json::{Value, json};
use wanted::Wanted;

#[derive(Debug, Args)]
struct PsArgs {
    /// Show all containers, not just those that run
    #[arg(short, long)]
    all: bool,
    /// Provide filter values: ancestor=IMAGE, before=CONTAINER, exited=STATUS, expose=PORT[/PROTOCOL], health=STATUS,
    /// id=TEXT, is-task=BOOL, label=KEY[=VALUE], name=PATTERN, network=NETWORK, publish=PORT[/PROTOCOL], since=CONTAINER,
    /// status=STATUS, until=TIME, volume=VOLUME
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
    /// Display total file sizes
    #[arg(short, long)]
    size: bool,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<PsArgs>(command, "rbox ps [OPTIONS]")
}

const COLUMNS: [Column; 16] = [
    Column { heading: "CONTAINER ID", field: "ID", shown: true },
    Column { heading: "IMAGE", field: "Image", shown: true },
    Column { heading: "COMMAND", field: "Command", shown: true },
    Column { heading: "CREATED", field: "RunningFor", shown: true },
    Column { heading: "STATUS", field: "Status", shown: true },
    Column { heading: "PORTS", field: "Ports", shown: true },
    Column { heading: "NAMES", field: "Names", shown: true },
    Column { heading: "SIZE", field: "Size", shown: false },
    Column { heading: "CREATED AT", field: "CreatedAt", shown: false },
    Column { heading: "HEALTH STATUS", field: "HealthStatus", shown: false },
    Column { heading: "STATE", field: "State", shown: false },
    Column { heading: "LABELS", field: "Labels", shown: false },
    Column { heading: "MOUNTS", field: "Mounts", shown: false },
    Column { heading: "NETWORKS", field: "Networks", shown: false },
    Column { heading: "LOCAL VOLUMES", field: "LocalVolumes", shown: false },
    Column { heading: "PLATFORM", field: "Platform", shown: false },
];

/// Prints the list. What cannot be read is told, and the others are shown all the same.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = PsArgs::from_arg_matches_mut(&mut matches)?;
    let (all, mut failures) = list::list()?;
    let wanted = Wanted::read(&args.filter, &all)?;
    let count = match (args.latest, args.last) {
        (true, _) => Some(1),
        (false, Some(count)) if count > 0 => usize::try_from(count).ok(),
        _ => None,
    };
    let every = args.all || count.is_some() || wanted.is_of_any_state();
    let shown = |field: &str| !args.quiet && shows(args.format.as_deref(), field);
    let looks = Looks {
        inside: wanted.looks_inside() || ["Mounts", "LocalVolumes", "Networks"].into_iter().any(shown),
        platform: shown("Platform"),
        // Counting takes long: as in docker it must be asked for by its name.
        size: !args.quiet && (args.size || names(args.format.as_deref(), "Size")),
        // Of a template the text is wanted, of JSON the object.
        platform_as_text: !matches!(args.format.as_deref().map(str::trim), Some("json" | "jsonl")),
    };
    let networks = if looks.inside { Networks::read()? } else { Networks::default() };
    let mut found: Vec<(&Listed, Inside)> = Vec::new();
    for listed in all.iter().filter(|listed| {
        (every || (listed.state.runs() || listed.state.status == Status::Restarting)) && wanted.admits(listed)
    }) {
        if count.is_some_and(|count| found.len() == count) {
            break;
        }
        let inside = look(listed, &looks, &networks, &mut failures);
        if wanted.admits_inside(&inside.mounts, &inside.networks) {
            found.push((listed, inside));
        }
    }
    let status = failure::tell(&failures);
    if args.quiet {
        let id = |(listed, _): &(&Listed, Inside)| row::id(&listed.found.container, args.no_trunc) + "\n";
        output::print(&found.iter().map(id).collect::<String>())?;
        return Ok(status);
    }
    let now = Time::now();
    let rows: Vec<Value> = found.iter().map(|(listed, inside)| row::row(listed, inside, args.no_trunc, now)).collect();
    let labels: Vec<&Value> = found.iter().map(|(listed, _)| &listed.found.container.config["Labels"]).collect();
    let mut columns = COLUMNS;
    columns.iter_mut().filter(|column| column.field == "Size").for_each(|column| column.shown = args.size);
    output::print(&format::labelled(&rows, &labels, &columns, args.format.as_deref(), !args.noheading)?)?;
    Ok(status)
}

/// What is to be found out beside what a list knows.
struct Looks {
    inside: bool,
    platform: bool,
    platform_as_text: bool,
    size: bool,
}

fn look(listed: &Listed, looks: &Looks, networks: &Networks, failures: &mut Vec<Failure>) -> Inside {
    let found: &Found = &listed.found;
    let mut inside = Inside::default();
    if looks.inside {
        let runs = listed.state.runs();
        let look = |options| (mounts::of(&options), networks.of(found, &options.network, runs));
        (inside.mounts, inside.networks) = damage::part(found, asked::of(found).map(look), failures);
    }
    if looks.platform {
        let platform = damage::part(found, platform::of(found), failures);
        inside.platform = platform.map(|platform| match looks.platform_as_text {
            true => json!(platform.to_string()),
            false => json!(platform),
        });
    }
    if looks.size {
        inside.size = damage::part(found, size::of(found), failures);
    }
    inside
}

/// True if a format names a field.
fn names(format: Option<&str>, field: &str) -> bool {
    format.is_some_and(|format| format.to_lowercase().contains(&format!(".{}", field.to_lowercase())))
}

/// True if a format may show a field: it names it, or has the row as a whole.
fn shows(format: Option<&str>, field: &str) -> bool {
    let Some(text) = format.map(str::trim) else { return false };
    let mut rest = text.split('.').skip(1);
    let has_whole = rest.any(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'));
    matches!(text, "json" | "jsonl") || has_whole || names(format, field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_format_shows() {
        for (format, mounts) in [
            (None, false),
            (Some("table"), false),
            (Some("json"), true),
            (Some("{{.ID}}: {{.Names}}"), false),
            (Some("table {{.ID}}\\t{{.mounts}}"), true),
            (Some("{{json .}}"), true),
            (Some("{{range $k, $v := .}}{{$k}}{{end}}"), true),
        ] {
            assert_eq!(shows(format, "Mounts"), mounts, "{format:?}");
        }
    }
}
