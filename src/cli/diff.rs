//! `rbox diff`, and its like for images.

use super::{format, grammar, output};
use crate::engine::{changed, images};
use crate::image::find;
use crate::image::view::Image;
use crate::spec::options::IdMode;
use crate::storage::changes::Change;
use anyhow::{Result, bail};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde_json::json;
use std::path::Path;

/// What is typed.
#[derive(Debug, Args)]
struct DiffArgs {
    /// Name or id
    #[arg(value_name = "NAME", required = true)]
    name: String,
    /// Print in another form: json
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<DiffArgs>(command, "rbox diff [OPTIONS] CONTAINER")
}

/// The grammar for images.
pub fn image_options(command: Command) -> Command {
    grammar::<DiffArgs>(command, "rbox image diff [OPTIONS] IMAGE")
}

/// Prints what a container has changed.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = DiffArgs::from_arg_matches_mut(&mut matches)?;
    print(&args, |each| changed::diff(&args.name, each))
}

/// Prints what an image's topmost layer changes.
pub fn image(mut matches: ArgMatches) -> Result<u8> {
    let args = DiffArgs::from_arg_matches_mut(&mut matches)?;
    let store = images::default_store(IdMode::Auto)?;
    let image = Image::load(&store, find::require(&store, &args.name)?.descriptor)?;
    print(&args, |each| changed::diff_of_image(&store, &image, each))
}

type Each<'a> = &'a mut dyn FnMut(Change, &Path) -> Result<()>;

fn print(args: &DiffArgs, walk: impl FnOnce(Each<'_>) -> Result<()>) -> Result<u8> {
    let mut found: [Vec<String>; 3] = Default::default();
    let mut lines = String::new();
    walk(&mut |change, path| {
        let path = path.to_string_lossy().into_owned();
        if args.format.is_some() {
            let place = match change {
                Change::Added => 0,
                Change::Changed => 1,
                Change::Deleted => 2,
            };
            found[place].push(path);
        } else {
            lines.push_str(&format!("{change} {}\n", format::cell(&path)));
        }
        Ok(())
    })?;
    match args.format.as_deref() {
        None => output::print(&lines),
        Some("json") => {
            let [added, changed, deleted] = found;
            output::print(&format!("{}\n", json!({ "added": added, "changed": changed, "deleted": deleted })))
        }
        Some(other) => bail!("--format {other}: json is wanted"),
    }
}
