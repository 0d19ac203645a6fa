//! `rbox import`.

use crate::cli::{grammar, output};
use crate::engine::images::{self, tag};
use crate::image::make::About;
use crate::image::{change, import, registry};
use crate::spec::options::IdMode;
use crate::sys::process;
use anyhow::{Context, Result};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use std::io::Read;

/// What is typed.
#[derive(Debug, Args)]
struct ImportArgs {
    /// Archive, packed or not: a file, an address, or - for standard input
    #[arg(value_name = "FILE|URL|-", required = true)]
    source: String,
    /// Name of the image
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Apply a line of a Dockerfile
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// Set a comment
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Say nothing but the id; nothing is said in any case
    #[arg(short, long)]
    quiet: bool,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<ImportArgs>(command, "rbox import [OPTIONS] FILE|URL|- [NAME]")
}

/// Makes the image and prints its id.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    process::set_plain_umask();
    let args = ImportArgs::from_arg_matches_mut(&mut matches)?;
    let name = args.name.as_deref().map(tag::target).transpose()?;
    let mut about = About { comment: args.message, created_by: format!("import {}", args.source), ..About::default() };
    args.change.iter().try_for_each(|line| change::apply(&mut about.config, line))?;
    let store = images::default_store(IdMode::Auto)?;
    let source: Box<dyn Read> = match args.source.as_str() {
        "-" => Box::new(std::io::stdin().lock()),
        url if url.contains("://") => registry::fetch(url).context("import")?,
        path => Box::new(fs_err::File::open(path)?),
    };
    let image = import::import(&store, source, name.as_ref(), about).context("import")?;
    output::print(&format!("{}\n", image.id()))
}
