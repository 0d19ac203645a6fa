//! `rbox volume`.

use super::confirm::confirm;
use super::each::{each, partly};
use super::filter::Filters;
use super::format::{self, Column};
use super::{grammar, group, human, output, verb};
use crate::engine::volumes::{self, Volume, Wanted};
use crate::spec::volume;
use crate::sys::process;
use anyhow::{Context, Result};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Debug, Args)]
struct CreateArgs {
    /// Name of the volume; without it the volume is anonymous
    #[arg(value_name = "VOLUME")]
    name: Option<String>,
    /// Volume driver name: local is the only one
    #[arg(short, long, value_name = "DRIVER")]
    driver: Option<String>,
    /// Set metadata for a volume
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Set driver specific options: type=none with o=bind and device=PATH, or type=tmpfs with o=OPTIONS
    #[arg(short, long, value_name = "KEY=VALUE")]
    opt: Vec<String>,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Provide filter values: dangling=BOOL, driver=NAME, label=KEY[=VALUE], name=TEXT
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Format output: table, json, or a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Do not print the headings
    #[arg(short, long)]
    noheading: bool,
    /// Only display volume names
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Args)]
struct InspectArgs {
    /// Names of volumes
    #[arg(value_name = "VOLUME", required = true)]
    names: Vec<String>,
    /// Format output: json, or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

#[derive(Debug, Args)]
struct RemoveArgs {
    /// Names of volumes
    #[arg(value_name = "VOLUME", required = true)]
    names: Vec<String>,
    /// A volume that is not there is no error. One in use stays all the same
    #[arg(short, long)]
    force: bool,
}

#[derive(Debug, Args)]
struct PruneArgs {
    /// Remove all unused volumes, not just anonymous ones
    #[arg(short, long)]
    all: bool,
    /// Provide filter values: label=KEY[=VALUE], label!=KEY[=VALUE]
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    group(command, "rbox volume COMMAND")
        .subcommand(verb("create", "Create a volume", |command| {
            grammar::<CreateArgs>(command.args_override_self(true), "rbox volume create [OPTIONS] [VOLUME]")
        }))
        .subcommand(verb("inspect", "Display detailed information on one or more volumes", |command| {
            grammar::<InspectArgs>(command, "rbox volume inspect [OPTIONS] VOLUME [VOLUME...]")
        }))
        .subcommand(
            verb("ls", "List volumes", |command| grammar::<ListArgs>(command, "rbox volume ls [OPTIONS]"))
                .visible_alias("list"),
        )
        .subcommand(verb("prune", "Remove unused volumes", |command| {
            grammar::<PruneArgs>(command, "rbox volume prune [OPTIONS]")
        }))
        .subcommand(
            verb("rm", "Remove one or more volumes", |command| {
                grammar::<RemoveArgs>(command, "rbox volume rm [OPTIONS] VOLUME [VOLUME...]")
            })
            .visible_alias("remove"),
        )
}

/// One line for each verb.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    process::set_plain_umask();
    let (verb, mut matches) = super::chosen(&mut matches)?;
    match verb.as_str() {
        "create" => create(CreateArgs::from_arg_matches_mut(&mut matches)?),
        "inspect" => inspect(&InspectArgs::from_arg_matches_mut(&mut matches)?),
        "ls" => list(&ListArgs::from_arg_matches_mut(&mut matches)?),
        "prune" => prune(&PruneArgs::from_arg_matches_mut(&mut matches)?),
        _ => remove(&RemoveArgs::from_arg_matches_mut(&mut matches)?),
    }
}

fn create(args: CreateArgs) -> Result<u8> {
    let driver = args.driver.unwrap_or_default();
    volume::driver(&driver).with_context(|| format!("--driver {driver}"))?;
    let wanted = Wanted {
        name: args.name.filter(|name| !name.is_empty()),
        options: pairs("--opt", &args.opt)?,
        labels: pairs("--label", &args.label)?,
        container: None,
    };
    let (volume, _held) = volumes::create(&wanted)?;
    output::print(&format!("{}\n", volume.name))
}

fn pairs(option: &str, texts: &[String]) -> Result<BTreeMap<String, String>> {
    texts.iter().map(|text| volume::pair(text).with_context(|| format!("{option} {text}"))).collect()
}

const COLUMNS: [Column; 10] = [
    Column { heading: "DRIVER", field: "Driver", shown: true },
    Column { heading: "VOLUME NAME", field: "Name", shown: true },
    Column { heading: "SCOPE", field: "Scope", shown: false },
    Column { heading: "MOUNTPOINT", field: "Mountpoint", shown: false },
    Column { heading: "LABELS", field: "Labels", shown: false },
    Column { heading: "LINKS", field: "Links", shown: false },
    Column { heading: "SIZE", field: "Size", shown: false },
    Column { heading: "GROUP", field: "Group", shown: false },
    Column { heading: "AVAILABILITY", field: "Availability", shown: false },
    Column { heading: "STATUS", field: "Status", shown: false },
];

fn list(args: &ListArgs) -> Result<u8> {
    let filters = Filters::parse(&args.filter, &["dangling", "driver", "label", "name"])?;
    let dangling = filters.boolean("dangling")?;
    let mut found = Vec::new();
    for volume in volumes::list()? {
        let wanted = filters.matches("name", |text| volume.name.contains(text))
            && filters.matches("driver", |driver| driver == "local")
            && labels(&filters, &volume);
        if wanted && (dangling.is_none() || dangling == Some(volume.is_dangling()?)) {
            found.push(volume);
        }
    }
    if args.quiet && args.format.is_none() {
        return output::print(&found.iter().map(|volume| format!("{}\n", volume.name)).collect::<String>());
    }
    let rows: Vec<Value> = found.iter().map(row).collect();
    let labels: Vec<Value> = found.iter().map(|volume| json!(volume.about.labels)).collect();
    let labels: Vec<&Value> = labels.iter().collect();
    output::print(&format::labelled(&rows, &labels, &COLUMNS, args.format.as_deref(), !args.noheading)?)
}

/// docker says N/A of what only `system df` finds out and of clusters.
fn row(volume: &Volume) -> Value {
    let labels: Vec<String> = volume.about.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    json!({
        "Availability": "N/A",
        "Driver": "local",
        "Group": "N/A",
        "Labels": labels.join(","),
        "Links": "N/A",
        "Mountpoint": volume.mountpoint(),
        "Name": volume.name,
        "Scope": "local",
        "Size": "N/A",
        "Status": "N/A",
    })
}

fn labels(filters: &Filters, volume: &Volume) -> bool {
    filters.labels(|key| volume.about.labels.get(key).map(String::as_str))
}

fn inspect(args: &InspectArgs) -> Result<u8> {
    let (found, status) = partly(&args.names, |name| about(&volumes::find(name)?));
    output::print(&format::objects(&found, args.format.as_deref())?)?;
    Ok(status)
}

/// The object that `inspect` shows.
pub fn about(volume: &Volume) -> Result<Value> {
    // Go's empty maps are null.
    let map = |pairs: &BTreeMap<String, String>| if pairs.is_empty() { Value::Null } else { json!(pairs) };
    Ok(json!({
        "CreatedAt": volume.about.created,
        "Driver": "local",
        "Labels": map(&volume.about.labels),
        "Mountpoint": volume.mountpoint(),
        "Name": volume.name,
        "Options": map(&volume.about.options),
        "Scope": "local",
    }))
}

fn remove(args: &RemoveArgs) -> Result<u8> {
    Ok(each(&args.names, |name| {
        volumes::remove(name, args.force)?;
        output::print(&format!("{name}\n")).map(drop)
    }))
}

fn prune(args: &PruneArgs) -> Result<u8> {
    let filters = Filters::parse(&args.filter, &["label!"])?;
    let which = if args.all { "all" } else { "anonymous" };
    let what = format!("This will remove {which} local volumes not used by at least one container.");
    if !args.force && !confirm(&what)? {
        return Ok(0);
    }
    let (names, bytes) = volumes::prune(|volume| (args.all || volume.is_anonymous()) && labels(&filters, volume))?;
    let mut text = String::new();
    if !names.is_empty() {
        text += "Deleted Volumes:\n";
        text.extend(names.iter().map(|name| format!("{name}\n")));
        text.push('\n');
    }
    text += &format!("Total reclaimed space: {}\n", human::size_with_digits(bytes, 4));
    output::print(&text)
}
