//! `rbox system prune`.

use crate::cli::confirm::confirm;
use crate::cli::filter::Filters;
use crate::cli::{failure, grammar, human, output};
use crate::engine::images::{self, prune};
use crate::engine::{self, networks, volumes};
use crate::spec::options::IdMode;
use crate::time::Time;
use anyhow::Result;
use clap::{ArgMatches, Args, Command, FromArgMatches};

/// What is typed.
#[derive(Debug, Args)]
struct PruneArgs {
    /// Also images with a name, if no container uses them
    #[arg(short, long)]
    all: bool,
    /// Also anonymous volumes that no container uses
    #[arg(long)]
    volumes: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only some: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE]
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<PruneArgs>(command, "rbox system prune [OPTIONS]")
}

/// Removes containers that have ended, then what they alone used.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = PruneArgs::from_arg_matches_mut(&mut matches)?;
    let filters = Filters::parse(&args.filter, &["until", "label!"])?;
    let mut what = "This will remove:\n  - all stopped containers\n".to_owned();
    what.push_str("  - all networks not used by at least one container\n");
    what.push_str(if args.volumes { "  - all anonymous volumes not used by at least one container\n" } else { "" });
    what.push_str(match args.all {
        true => "  - all images without at least one container associated to them\n",
        false => "  - all dangling images\n",
    });
    if !args.force && !confirm(&what)? {
        return Ok(0);
    }
    let until = filters.until(Time::now())?;
    let is_old = |created: Option<Time>| until.is_none_or(|until| created.is_some_and(|created| created < until));
    let containers = engine::prune::prune(|found| {
        let labels = &found.container.config["Labels"];
        is_old(Some(found.container.created)) && filters.labels(|key| labels[key].as_str())
    })?;
    let status = failure::tell(&containers.failures);
    let networks = networks::prune(|network| {
        is_old(Some(network.created)) && filters.labels(|key| network.labels.get(key).map(String::as_str))
    })?;
    let volumes = if args.volumes { volumes::prune(volumes::Volume::is_anonymous)? } else { (Vec::new(), 0) };
    let store = images::default_store(IdMode::Auto)?;
    let pruned = prune::prune(&store, args.all, |listed| {
        crate::cli::image::ls::has_labels(&filters, listed) && is_old(listed.image.created())
    })?;
    let mut text = String::new();
    let mut section = |heading: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            text.push_str(&format!("{heading}:\n{}\n\n", lines.join("\n")));
        }
    };
    section("Deleted Containers", containers.ids);
    section("Deleted Networks", networks);
    section("Deleted Volumes", volumes.0);
    section("Deleted Images", pruned.images.iter().map(|listed| format!("deleted: {}", listed.image.id())).collect());
    match pruned.freed {
        Some(freed) => text
            .push_str(&format!("Total reclaimed space: {}\n", human::size(freed.bytes + volumes.1 + containers.bytes))),
        None => output::error("rbox: note: the store is in use; the files go with the next image that is removed\n"),
    }
    output::print(&text)?;
    Ok(status)
}
