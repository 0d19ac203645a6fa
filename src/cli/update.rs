//! `rbox update`.

use super::container::limits::LimitArgs;
use super::each::each;
use super::{grammar, output};
use crate::engine::container;
use crate::engine::update::{self, Change};
use crate::spec::restart;
use anyhow::{Context, Result};
use clap::{ArgMatches, Args, Command, FromArgMatches};

#[derive(Debug, Args)]
struct UpdateArgs {
    /// Names or ids of containers
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
    #[command(flatten)]
    limits: LimitArgs,
    /// Start it again when it has ended: no, on-failure[:COUNT], always, unless-stopped
    #[arg(long, value_name = "POLICY")]
    restart: Option<String>,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<UpdateArgs>(command, "rbox update [OPTIONS] CONTAINER...")
}

/// Changes containers and prints what was typed for them.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = UpdateArgs::from_arg_matches_mut(&mut matches)?;
    let restart = args.restart.as_deref().map(|text| restart::parse(text).with_context(|| format!("--restart {text}")));
    let change = Change { restart: restart.transpose()? };
    Ok(each(&args.containers, |name| {
        update::update(&container::find(name)?, &change, |limits| args.limits.read(limits))?;
        output::print(&format!("{name}\n")).map(drop)
    }))
}
