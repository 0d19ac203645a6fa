//! `rbox image` and the verbs below it, most of which stand alone, too.

pub mod exists;
pub mod history;
pub mod import;
pub mod inspect;
pub mod load;
pub mod ls;
pub mod prune;
pub mod rm;
pub mod save;
pub mod tag;
pub mod tree;

use super::{diff, group, pull, push, verb};
use crate::storage::digest::Digest;
use anyhow::Result;
use clap::{ArgMatches, Command};

/// The grammar.
pub fn options(command: Command) -> Command {
    group(command, "rbox image COMMAND")
        .subcommand(verb(
            "diff",
            "Show what an image changes, against its lower layers or another image",
            diff::options,
        ))
        .subcommand(verb("exists", "Tell by the exit status whether an image is here", exists::options))
        .subcommand(verb("history", "Show the history of an image", history::options))
        .subcommand(verb("import", "Make an image of an archive of files", import::options))
        .subcommand(verb("inspect", "Display detailed information on images", inspect::options))
        .subcommand(verb("load", "Load images from an archive", load::options))
        .subcommand(verb("ls", "List images", ls::options).visible_alias("list"))
        .subcommand(verb("prune", "Remove images that nobody needs", prune::options))
        .subcommand(verb("pull", "Download an image from a registry", pull::options))
        .subcommand(verb("push", "Upload an image to a registry", push::options))
        .subcommand(verb("rm", "Remove images", rm::options).visible_alias("remove"))
        .subcommand(verb("save", "Save images to an archive", save::options))
        .subcommand(verb("tag", "Give an image another name", tag::options))
        .subcommand(verb("tree", "Show the layers of an image", tree::options))
        .subcommand(verb("untag", "Take names of an image away", tag::untag_options))
}

/// Calls the verb.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let (verb, matches) = super::chosen(&mut matches)?;
    match verb.as_str() {
        "diff" => diff::image(matches),
        "exists" => exists::main(matches),
        "history" => history::main(matches),
        "import" => import::main(matches),
        "inspect" => inspect::main(matches),
        "load" => load::main(matches),
        "ls" => ls::main(matches),
        "prune" => prune::main(matches),
        "pull" => pull::main(matches),
        "push" => push::main(matches),
        "rm" => rm::main(matches),
        "save" => save::main(matches),
        "tag" => tag::main(matches),
        "tree" => tree::main(matches),
        _ => tag::untag(matches),
    }
}

/// An image's id as lists show it.
pub fn short(id: &Digest, whole: bool) -> String {
    if whole { id.to_string() } else { id.hex()[..12].to_owned() }
}
