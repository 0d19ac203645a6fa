//! `rbox image exists`.

use crate::cli::grammar;
use crate::engine::images;
use crate::image::find;
use crate::spec::options::IdMode;
use anyhow::Result;
use clap::{ArgMatches, Args, Command, FromArgMatches};

/// What is typed.
#[derive(Debug, Args)]
struct ExistsArgs {
    /// Name or id of the image
    #[arg(value_name = "IMAGE", required = true)]
    image: String,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<ExistsArgs>(command, "rbox image exists IMAGE")
}

/// 0 if it is there, 1 if not.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = ExistsArgs::from_arg_matches_mut(&mut matches)?;
    let store = images::default_store(IdMode::Auto)?;
    find::check(&args.image)?;
    Ok(u8::from(find::find(&store, &args.image)?.is_none()))
}
