//! `rbox rmi`, `rbox image rm`.

use crate::cli::each::each;
use crate::cli::{grammar, output};
use crate::engine::images;
use crate::engine::images::remove::{self, Collected};
use crate::spec::options::IdMode;
use anyhow::{Result, bail};
use clap::{ArgMatches, Args, Command, FromArgMatches};

/// What is typed.
#[derive(Debug, Args)]
struct RmArgs {
    /// Names or ids of images
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    /// Also an image that has several names or is used by containers, which keep what they need
    #[arg(short, long)]
    force: bool,
    /// All images
    #[arg(short, long)]
    all: bool,
    /// Do not complain about images that are not there
    #[arg(short, long)]
    ignore: bool,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<RmArgs>(command, "rbox rmi [OPTIONS] IMAGE...")
}

/// Takes names and images away, then deletes what nothing names any more.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = RmArgs::from_arg_matches_mut(&mut matches)?;
    let store = images::default_store(IdMode::Auto)?;
    let mut texts = args.images;
    match (args.all, texts.is_empty()) {
        (true, false) => bail!("--all: excludes names"),
        (false, true) => bail!("no image is named"),
        (true, true) => {
            let list = images::list::list(&store)?;
            let whole = list.images.iter().map(|listed| listed.image.descriptor.digest.to_string());
            texts.extend(whole.chain(list.damaged.iter().map(|(digest, _)| digest.to_string())));
        }
        (false, false) => {}
    }
    let mut is_garbage = false;
    let status = each(&texts, |text| {
        if args.ignore && crate::image::find::find(&store, text)?.is_none() {
            return Ok(());
        }
        let removed = remove::remove(&store, text, args.force || args.all)?;
        let mut lines: String =
            removed.untagged.iter().map(|name| format!("Untagged: {}\n", name.familiar())).collect();
        is_garbage |= removed.deleted.is_some();
        if let Some(id) = removed.deleted {
            lines.push_str(&format!("Deleted: {id}\n"));
        }
        output::print(&lines).map(drop)
    });
    match if is_garbage { remove::collect(&store) } else { Ok(Some(Collected::default())) } {
        Ok(Some(_)) => {}
        Ok(None) => {
            output::error("rbox: note: the store is in use; the files go with the next image that is removed\n")
        }
        // What is wrong was said of the images.
        Err(_) if status != 0 => {}
        Err(error) => return Err(error),
    }
    Ok(status)
}
