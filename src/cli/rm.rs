//! `rbox rm`.

use super::each::each;
use super::selection::Selection;
use super::{grammar, output};
use crate::engine::{container, remove};
use anyhow::Result;
use clap::{ArgMatches, Args, Command, FromArgMatches};

/// What is typed.
#[derive(Debug, Args)]
struct RmArgs {
    #[command(flatten)]
    selection: Selection,
    /// Kill a container that runs
    #[arg(short, long)]
    force: bool,
    /// Also the volumes without names that only these containers use
    #[arg(short, long)]
    volumes: bool,
    /// Do not complain about containers that are not there
    #[arg(short, long)]
    ignore: bool,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<RmArgs>(command, "rbox rm [OPTIONS] CONTAINER...")
}

/// Removes containers and prints what was typed for them.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = RmArgs::from_arg_matches_mut(&mut matches)?;
    Ok(each(&args.selection.names(|_| true)?, |text| {
        if args.ignore && container::find_if_there(text)?.is_none() {
            return Ok(());
        }
        remove::remove(text, args.force, args.volumes)?;
        output::print(&format!("{text}\n")).map(drop)
    }))
}
