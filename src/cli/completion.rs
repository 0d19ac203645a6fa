//! `rbox completion`.

use super::{grammar, output};
use anyhow::Result;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use clap_complete::Shell;

/// What is typed.
#[derive(Debug, Args)]
struct CompletionArgs {
    /// The shell
    shell: Shell,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<CompletionArgs>(command, "rbox completion SHELL")
}

/// Prints the script.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = CompletionArgs::from_arg_matches_mut(&mut matches)?;
    // Into memory first: the generator panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "rbox", &mut script);
    output::print(&String::from_utf8_lossy(&script))
}
