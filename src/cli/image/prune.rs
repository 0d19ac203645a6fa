//! `rbox image prune`.

use crate::cli::confirm::confirm;
use crate::cli::filter::Filters;
use crate::cli::{grammar, human, output};
use crate::engine::images::{self, prune};
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
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only some: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE]
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<PruneArgs>(command, "rbox image prune [OPTIONS]")
}

/// Removes them and says what that freed.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = PruneArgs::from_arg_matches_mut(&mut matches)?;
    let filters = Filters::parse(&args.filter, &["until", "label!"])?;
    let what = match args.all {
        true => "This will remove all images without at least one container associated to them.",
        false => "This will remove all dangling images.",
    };
    if !args.force && !confirm(what)? {
        return Ok(0);
    }
    let store = images::default_store(IdMode::Auto)?;
    let until = filters.until(Time::now())?;
    let pruned = prune::prune(&store, args.all, |listed| {
        super::ls::has_labels(&filters, listed)
            && until.is_none_or(|until| listed.image.created().is_some_and(|created| created < until))
    })?;
    let mut text = String::new();
    if !pruned.images.is_empty() {
        text.push_str("Deleted Images:\n");
    }
    for listed in &pruned.images {
        for name in &listed.names {
            text.push_str(&format!("untagged: {}\n", name.familiar()));
        }
        text.push_str(&format!("deleted: {}\n", listed.image.id()));
    }
    match pruned.freed {
        Some(freed) => text.push_str(&format!("\nTotal reclaimed space: {}\n", human::size(freed.bytes))),
        None => output::error("rbox: note: the store is in use; the files go with the next image that is removed\n"),
    }
    output::print(text.trim_start_matches('\n'))
}
