//! `rbox man`.

use super::{grammar, output};
use anyhow::{Context, Result};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use std::path::PathBuf;

/// What is typed.
#[derive(Debug, Args)]
struct ManArgs {
    /// The directory, made if it is missing
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<ManArgs>(command, "rbox man DIR")
}

/// Writes rbox.1 and a page for each command.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = ManArgs::from_arg_matches_mut(&mut matches)?;
    fs_err::create_dir_all(&args.dir)?;
    clap_mangen::generate_to(super::command(), &args.dir).with_context(|| args.dir.display().to_string())?;
    output::print("")
}
