//! `rbox healthcheck`.

use super::{grammar, group, verb};
use crate::engine::{container, exec};
use crate::spec::health::Check;
use crate::supervisor::attach::{self, How};
use anyhow::{Context, Result};
use clap::{ArgMatches, Args, Command, FromArgMatches};

#[derive(Debug, Args)]
struct RunArgs {
    /// Name or id of a container that runs
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    let run = |command| grammar::<RunArgs>(command, "rbox healthcheck run CONTAINER");
    group(command, "rbox healthcheck COMMAND").subcommand(verb("run", "Check once whether a container is healthy", run))
}

/// Calls the verb. As in podman the status is 0 for one that is healthy, and 1 for one that is not.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let (_, mut matches) = super::chosen(&mut matches)?;
    let args = RunArgs::from_arg_matches_mut(&mut matches)?;
    let name = args.container.as_str();
    let check = Check::of(&container::find(name)?.container.config);
    let check = check.with_context(|| format!("container {name} has no health check"))?;
    let wanted = exec::Wanted { command: check.command, ..exec::Wanted::default() };
    let (dir, process) = exec::process(name, &wanted)?;
    let how = How { tty: false, input: false, prints: [true; 2], keys: Vec::new(), proxy: true };
    let status = attach::exec(name, &dir, process, &how, Vec::new(), false)?.status();
    Ok(u8::from(status != 0))
}
