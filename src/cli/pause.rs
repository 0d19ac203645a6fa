//! `rbox pause` and `rbox unpause`.

use super::each::each;
use super::selection::Selection;
use super::{grammar, output};
use crate::engine::state::Status;
use crate::engine::{container, pause as engine};
use anyhow::{Context, Result};
use clap::{ArgMatches, Args, Command, FromArgMatches};

#[derive(Debug, Args)]
struct PauseArgs {
    #[command(flatten)]
    selection: Selection,
}

/// The grammar of `pause`.
pub fn options(command: Command) -> Command {
    grammar::<PauseArgs>(command, "rbox pause [OPTIONS] CONTAINER...")
}

/// The grammar of `unpause`.
pub fn unpause_options(command: Command) -> Command {
    grammar::<PauseArgs>(command, "rbox unpause [OPTIONS] CONTAINER...")
}

/// Pauses containers and prints what was typed for them.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = PauseArgs::from_arg_matches_mut(&mut matches)?;
    Ok(each(&args.selection.names(|status| status == Status::Running)?, |name| {
        engine::pause(&container::find(name)?).context("cannot pause container")?;
        output::print(&format!("{name}\n")).map(drop)
    }))
}

/// Lets them go on.
pub fn unpause(mut matches: ArgMatches) -> Result<u8> {
    let args = PauseArgs::from_arg_matches_mut(&mut matches)?;
    Ok(each(&args.selection.names(|status| status == Status::Paused)?, |name| {
        engine::unpause(&container::find(name)?).context("cannot unpause container")?;
        output::print(&format!("{name}\n")).map(drop)
    }))
}
