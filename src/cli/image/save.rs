//! `rbox save`.

use crate::cli::{file, grammar, output};
use crate::engine::images;
use crate::error::Advise;
use crate::image::archive::save::{self, Form, Saved};
use crate::image::find;
use crate::image::view::Image;
use crate::spec::options::IdMode;
use crate::storage::store::Store;
use anyhow::{Context, Result, anyhow, bail};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use std::io::{BufWriter, IsTerminal};
use std::path::PathBuf;

/// What is typed.
#[derive(Debug, Args)]
struct SaveArgs {
    /// Names or ids of images
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
    /// Write to a file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// docker-archive, oci-archive, or oci-dir, for which --output names the directory
    #[arg(long, value_name = "FORM", default_value = "docker-archive")]
    format: String,
    /// Allow several images; they are in any case
    #[arg(short, long)]
    multi_image_archive: bool,
    /// Say nothing; nothing is said in any case
    #[arg(short, long)]
    quiet: bool,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<SaveArgs>(command, "rbox save [OPTIONS] IMAGE...")
}

/// Writes images into an archive.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = SaveArgs::from_arg_matches_mut(&mut matches)?;
    let store = images::default_store(IdMode::Auto)?;
    let _in_use = store.in_use()?;
    let saved = saved(&store, &args.images)?;
    let form = match args.format.as_str() {
        "docker-archive" => Form::Docker,
        "oci-archive" => Form::Oci,
        "oci-dir" => {
            let dir = args.output.context("--format oci-dir: --output must name a directory")?;
            save::save_to_directory(&store, &saved, &dir).context("save")?;
            return Ok(0);
        }
        other => bail!("--format {other}: docker-archive, oci-archive or oci-dir is wanted"),
    };
    match &args.output {
        Some(path) => {
            file::whole(path, |file| save::save(&store, &saved, form, BufWriter::new(file))).context("save")?;
        }
        None => {
            let out = std::io::stdout();
            if out.is_terminal() {
                return Err(anyhow!("standard output is a terminal")).hint(|| "-o FILE writes to a file".to_owned());
            }
            let done = save::save(&store, &saved, form, BufWriter::new(out.lock())).context("save");
            return output::transferred(done);
        }
    }
    Ok(0)
}

/// One for each image, with those of its names that were typed.
fn saved(store: &Store, texts: &[String]) -> Result<Vec<Saved>> {
    let mut saved: Vec<Saved> = Vec::new();
    for text in texts {
        let found = find::require(store, text)?;
        let name = found.name.filter(|name| name.digest.is_none());
        match saved.iter_mut().find(|known| known.image.descriptor.digest == found.descriptor.digest) {
            Some(known) => known.names.extend(name.filter(|name| !known.names.contains(name))),
            None => {
                let image = Image::load(store, found.descriptor)?;
                saved.push(Saved { image, names: name.into_iter().collect() });
            }
        }
    }
    Ok(saved)
}
