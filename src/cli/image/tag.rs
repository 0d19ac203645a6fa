//! `rbox tag` and `rbox untag`.

use crate::cli::grammar;
use crate::engine::images::{self, remove, tag};
use crate::spec::options::IdMode;
use anyhow::Result;
use clap::{ArgMatches, Args, Command, FromArgMatches};

/// What is typed.
#[derive(Debug, Args)]
struct TagArgs {
    /// Name or id of the image
    #[arg(value_name = "IMAGE", required = true)]
    image: String,
    /// Its further names
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

/// What is typed.
#[derive(Debug, Args)]
struct UntagArgs {
    /// Name or id of the image
    #[arg(value_name = "IMAGE", required = true)]
    image: String,
    /// Names to take away; all, if none is given
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<TagArgs>(command, "rbox tag IMAGE NAME...")
}

/// The grammar of `untag`.
pub fn untag_options(command: Command) -> Command {
    grammar::<UntagArgs>(command, "rbox untag IMAGE [NAME...]")
}

/// Gives names.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = TagArgs::from_arg_matches_mut(&mut matches)?;
    let names = args.names.iter().map(|name| tag::target(name)).collect::<Result<Vec<_>>>()?;
    tag::tag(&images::default_store(IdMode::Auto)?, &args.image, &names)?;
    Ok(0)
}

/// Takes names away.
pub fn untag(mut matches: ArgMatches) -> Result<u8> {
    let args = UntagArgs::from_arg_matches_mut(&mut matches)?;
    let names = args.names.iter().map(|name| tag::target(name)).collect::<Result<Vec<_>>>()?;
    remove::untag(&images::default_store(IdMode::Auto)?, &args.image, &names)?;
    Ok(0)
}
