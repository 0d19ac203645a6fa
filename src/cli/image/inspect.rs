//! `rbox image inspect`.

use crate::cli::each::partly;
use crate::cli::{format, grammar, output};
use crate::engine::images::{self, inspect, list};
use crate::image::find;
use crate::spec::options::IdMode;
use anyhow::{Context, Result};
use clap::{ArgMatches, Args, Command, FromArgMatches};

/// What is typed.
#[derive(Debug, Args)]
struct InspectArgs {
    /// Names or ids of images
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
    /// Print in another form: json, or a template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<InspectArgs>(command, "rbox image inspect [OPTIONS] IMAGE...")
}

/// Prints what is known of images.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = InspectArgs::from_arg_matches_mut(&mut matches)?;
    let store = images::default_store(IdMode::Auto)?;
    let (values, status) = partly(&args.images, |text| {
        let found = find::require(&store, text)?;
        let listed = list::one(&store, &found.descriptor.digest)?.context("no such image")?;
        inspect::inspect(&store, &listed)
    });
    output::print(&format::objects(&values, args.format.as_deref())?)?;
    Ok(status)
}
