//! `rbox run`.

use super::container::ContainerArgs;
use super::grammar;
use crate::engine;
use crate::supervisor;
use anyhow::{Context, Result};
use clap::{ArgMatches, Command, FromArgMatches};

/// The grammar: as in docker the last one of two equal options counts.
pub fn options(command: Command) -> Command {
    let usage = "rbox run [OPTIONS] --rootfs DIR COMMAND [ARG...]";
    grammar::<ContainerArgs>(command.args_override_self(true), usage)
}

/// Runs a container; the exit status is that of its command.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = ContainerArgs::from_arg_matches_mut(&mut matches)?;
    let cwd = std::env::current_dir().context("current directory")?;
    let options = args.options(&cwd)?;
    supervisor::run(engine::create::create(&options)?)
}
