//! `rbox image tree`.

use crate::cli::{grammar, human, output};
use crate::engine::images::{self, list};
use crate::image::find;
use crate::image::reference::Reference;
use crate::spec::options::IdMode;
use anyhow::{Context, Result};
use clap::{ArgMatches, Args, Command, FromArgMatches};

/// What is typed.
#[derive(Debug, Args)]
struct TreeArgs {
    /// Name or id of the image
    #[arg(value_name = "IMAGE", required = true)]
    image: String,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<TreeArgs>(command, "rbox image tree IMAGE")
}

/// Prints the layers, the lowest first, each with the images that end with it.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = TreeArgs::from_arg_matches_mut(&mut matches)?;
    let store = images::default_store(IdMode::Auto)?;
    let found = find::require(&store, &args.image)?;
    let listed = list::one(&store, &found.descriptor.digest)?.context("no such image")?;
    let image = &listed.image;
    let all = list::list(&store)?.images;
    let names = |names: &[Reference]| names.iter().map(Reference::familiar).collect::<Vec<_>>().join(", ");
    let mut text = format!(
        "Image ID: {}\nTags:     [{}]\nSize:     {}\nImage Layers\n",
        &image.id().hex()[..12],
        names(&listed.names),
        human::size(listed.size)
    );
    let sizes = images::layer_sizes(&store, image)?;
    for (number, (diff_id, size)) in image.diff_ids.iter().zip(sizes).enumerate() {
        let branch = if number + 1 == image.diff_ids.len() { "└──" } else { "├──" };
        text.push_str(&format!("{branch} ID: {} Size: {}", &diff_id.hex()[..12], human::size(size)));
        let below = &image.diff_ids[..=number];
        let tops: Vec<String> = all
            .iter()
            .filter(|other| other.image.diff_ids == below && !other.names.is_empty())
            .map(|other| names(&other.names))
            .collect();
        if !tops.is_empty() {
            text.push_str(&format!(" Top Layer of: [{}]", tops.join(", ")));
        }
        text.push('\n');
    }
    output::print(&text)
}
