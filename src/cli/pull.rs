//! `rbox pull`.

use super::container::id_overflow;
use super::progress::{Quiet, Shown};
use super::remote::{self, RemoteArgs};
use super::{grammar, output};
use crate::engine::images;
use crate::sys::process;
use anyhow::{Context, Result};
use clap::{ArgMatches, Args, Command, FromArgMatches};

/// What is typed.
#[derive(Debug, Args)]
struct PullArgs {
    /// Name of the image
    #[arg(value_name = "IMAGE", required = true)]
    image: String,
    /// Say nothing but the id of the image
    #[arg(short, long)]
    quiet: bool,
    /// What becomes of files whose owner is not mapped: error, or squash: they belong to 65534, or to root if that is not
    /// mapped, either [default: error]
    #[arg(long, value_name = "WHAT")]
    id_overflow: Option<String>,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<PullArgs>(command.args_override_self(true), "rbox pull [OPTIONS] IMAGE")
}

/// Fetches an image and prints its id.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    process::set_plain_umask();
    let args = PullArgs::from_arg_matches_mut(&mut matches)?;
    let name = remote::name(&args.image)?;
    let remote = args.remote.remote(&std::env::current_dir().context("current directory")?)?;
    let overflow = args.id_overflow.as_deref().map(id_overflow).transpose()?.unwrap_or_default();
    let store = images::store_with(&images::default_maps()?, overflow)?;
    let (_, image) = if args.quiet {
        images::pull(&store, &name, &remote, &Quiet)?
    } else {
        images::pull(&store, &name, &remote, &Shown::default())?
    };
    output::print(&format!("{}\n", image.id().hex()))
}
