//! `rbox top`.

use super::{format, grammar, output};
use crate::engine::top;
use anyhow::Result;
use clap::{ArgMatches, Args, Command, FromArgMatches};

/// docker's columns are so wide at least.
const LEAST: usize = 20;

#[derive(Debug, Args)]
struct TopArgs {
    /// Name or id of the container
    container: String,
    /// Options of ps [default: -ef], or names of columns: args, comm, etime, hpid, huser, nice, pcpu, pgid, pid, ppid,
    /// state, stime, time, tty, user, vsz
    #[arg(value_name = "PS OPTIONS", trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<TopArgs>(command, "rbox top CONTAINER [PS OPTIONS]")
}

/// Prints the processes of a container.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let TopArgs { container, words } = TopArgs::from_arg_matches_mut(&mut matches)?;
    let top::Table { titles, rows } = top::top(&container, &words)?;
    output::print(&format::table(&titles, &rows, LEAST))
}
