//! `rbox import`.

use crate::cli::{grammar, output};
use crate::engine::images::{self, tag};
use crate::image::make::About;
use crate::image::{change, import};
use crate::spec::options::IdMode;
use crate::sys::process;
use anyhow::{Context, Result, bail};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use std::io::Read;

/// What is typed.
#[derive(Debug, Args)]
struct ImportArgs {
    /// Archive, packed or not; - is standard input
    #[arg(value_name = "FILE", required = true)]
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
    grammar::<ImportArgs>(command, "rbox import [OPTIONS] FILE [NAME]")
}

/// Makes the image and prints its id.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    process::set_plain_umask();
    let args = ImportArgs::from_arg_matches_mut(&mut matches)?;
    let name = args.name.as_deref().map(tag::target).transpose()?;
    let mut about = About { comment: args.message, created_by: format!("import {}", args.source), ..About::default() };
    args.change.iter().try_for_each(|line| change::apply(&mut about.config, line))?;
    if args.source.contains("://") {
        bail!("{}: fetch it first and pipe it in: curl -fsSL URL | rbox import -", args.source);
    }
    let store = images::default_store(IdMode::Auto)?;
    let source: Box<dyn Read> = match args.source.as_str() {
        "-" => Box::new(std::io::stdin().lock()),
        path => Box::new(fs_err::File::open(path)?),
    };
    let image = import::import(&store, source, name.as_ref(), about).context("import")?;
    output::print(&format!("{}\n", image.id()))
}
