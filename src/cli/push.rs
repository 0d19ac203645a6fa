//! `rbox push`.

use super::progress::{Quiet, Shown};
use super::remote::{self, RemoteArgs};
use super::{grammar, output};
use crate::engine::{images, push};
use crate::image::pull::Progress;
use crate::spec::options::IdMode;
use crate::sys::process;
use anyhow::{Context, Result};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use std::path::PathBuf;

/// What is typed.
#[derive(Debug, Args)]
struct PushArgs {
    /// Name of the image here
    #[arg(value_name = "NAME", required = true)]
    image: String,
    /// Name to push it to, docker:// before it or not
    #[arg(value_name = "DESTINATION")]
    destination: Option<String>,
    /// Push all tags that the repository has here
    #[arg(short, long, conflicts_with = "digestfile")]
    all_tags: bool,
    /// Write the digest of the manifest to a file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
    /// Say nothing but the name that the image was pushed to
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<PushArgs>(command.args_override_self(true), "rbox push [OPTIONS] NAME [DESTINATION]")
        .mut_arg("platform", |arg| arg.help("Refuse an image that is for another platform"))
}

/// Pushes, and prints for each tag the digest of its manifest.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    process::set_plain_umask();
    let args = PushArgs::from_arg_matches_mut(&mut matches)?;
    let cwd = std::env::current_dir().context("current directory")?;
    let remote = args.remote.remote(&cwd)?;
    let name = args.image.strip_prefix("docker://").unwrap_or(&args.image);
    let to = args.destination.as_deref().map(remote::name).transpose()?;
    let store = images::default_store(IdMode::Auto)?;
    let shown = Shown::pushing();
    let progress: &dyn Progress = if args.quiet { &Quiet } else { &shown };
    let pushed = if args.all_tags {
        push::push_all(&store, &remote::name(name)?, to.as_ref(), &remote, progress)?
    } else {
        vec![push::push(&store, name, to.as_ref(), &remote, progress)?]
    };
    let mut text = String::new();
    for (reference, manifest) in &pushed {
        match args.quiet {
            true => text.push_str(&format!("{reference}\n")),
            false => {
                let what = reference.tag.clone().unwrap_or_else(|| reference.version());
                text.push_str(&format!("{what}: digest: {} size: {}\n", manifest.digest, manifest.size));
            }
        }
        if let Some(file) = &args.digestfile {
            fs_err::write(cwd.join(file), manifest.digest.to_string())?;
        }
    }
    output::print(&text)
}
