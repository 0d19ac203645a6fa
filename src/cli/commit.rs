//! `rbox commit`.

use super::{file, grammar, output};
use crate::engine::images::tag;
use crate::engine::state::{self, Status};
use crate::engine::{changed, container, pause};
use crate::image::change;
use crate::image::make::About;
use crate::sys::process;
use anyhow::{Context, Result};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use std::path::PathBuf;

/// What is typed.
#[derive(Debug, Args)]
struct CommitArgs {
    /// Name or id of the container
    #[arg(value_name = "CONTAINER", required = true)]
    container: String,
    /// Name of the image
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Set the author
    #[arg(short, long, value_name = "NAME")]
    author: Option<String>,
    /// Apply a line of a Dockerfile
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// Set a comment
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Write the id of the image to a file
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// Pause the container meanwhile; only false works yet, which is the default
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = super::boolean)]
    pause: Option<bool>,
    /// Say nothing but the id; nothing is said in any case
    #[arg(short, long)]
    quiet: bool,
    /// One layer with everything
    #[arg(short, long)]
    squash: bool,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<CommitArgs>(command, "rbox commit [OPTIONS] CONTAINER [NAME]")
}

/// Makes the image and prints its id.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    process::set_plain_umask();
    let args = CommitArgs::from_arg_matches_mut(&mut matches)?;
    let name = args.name.as_deref().map(tag::target).transpose()?;
    let about = About { author: args.author, comment: args.message, ..About::default() };
    let found = container::find(&args.container)?;
    let pauses = args.pause == Some(true) && state::of(&found)?.status == Status::Running;
    if pauses {
        pause::pause(&found).context("--pause")?;
    }
    let made = changed::commit(&args.container, name.as_ref(), args.squash, about, |about| {
        args.change.iter().try_for_each(|line| change::apply(&mut about.config, line))
    });
    if pauses {
        pause::unpause(&found).context("--pause")?;
    }
    let image = made?;
    if let Some(path) = &args.iidfile {
        file::whole(path, |file| Ok(file.write_all(image.id().to_string().as_bytes())?))?;
    }
    output::print(&format!("{}\n", image.id()))
}
