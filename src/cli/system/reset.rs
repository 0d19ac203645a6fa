//! `rbox system reset`.

use crate::cli::confirm::confirm;
use crate::cli::grammar;
use crate::engine::{images, system};
use crate::spec::options::IdMode;
use anyhow::Result;
use clap::{ArgMatches, Args, Command, FromArgMatches};

/// What is typed.
#[derive(Debug, Args)]
struct ResetArgs {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<ResetArgs>(command, "rbox system reset [OPTIONS]")
}

/// Removes everything.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = ResetArgs::from_arg_matches_mut(&mut matches)?;
    let what = "This will kill all containers and remove all images, containers, volumes and networks of this user.";
    if args.force || confirm(what)? {
        system::reset::reset(&images::default_store(IdMode::Auto)?)?;
    }
    Ok(0)
}
