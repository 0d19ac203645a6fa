//! `rbox system`.

pub mod boot;
pub mod check;
pub mod df;
pub mod prune;
pub mod reset;

use super::{chosen, group, verb};
use anyhow::Result;
use clap::{ArgMatches, Command};

/// The grammar.
pub fn options(command: Command) -> Command {
    group(command, "rbox system COMMAND")
        .subcommand(verb("boot", "Start containers whose restart policy wants it after a boot", boot::options))
        .subcommand(verb("check", "Verify every blob and layer of the store", check::options))
        .subcommand(verb("df", "Show how much space is used", df::options))
        .subcommand(verb("prune", "Remove what nobody needs", prune::options))
        .subcommand(verb("reset", "Remove all images, containers, volumes and networks", reset::options))
}

/// Calls the verb.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let (verb, matches) = chosen(&mut matches)?;
    match verb.as_str() {
        "boot" => boot::main(matches),
        "check" => check::main(matches),
        "df" => df::main(matches),
        "prune" => prune::main(matches),
        _ => reset::main(matches),
    }
}
