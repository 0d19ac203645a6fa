//! `rbox unshare`.

use super::container::id_mode;
use super::grammar;
use crate::engine;
use anyhow::Result;
use clap::{ArgMatches, Args, Command, FromArgMatches};

/// What is typed.
#[derive(Debug, Args)]
struct UnshareArgs {
    /// Where ids come from: the subordinate range, the caller's own id alone, or what there is (auto, range, single)
    #[arg(long, value_name = "MODE", default_value = "auto")]
    id_mode: String,
    /// Program to run and its arguments; a shell if there is none
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<UnshareArgs>(command, "rbox unshare [OPTIONS] [COMMAND [ARG...]]")
}

/// Runs the program; the exit status is its own.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = UnshareArgs::from_arg_matches_mut(&mut matches)?;
    engine::unshare::run(id_mode(&args.id_mode)?, &args.command)
}
