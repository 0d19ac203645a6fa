//! `rbox load`.

use crate::cli::progress::{Quiet, Shown};
use crate::cli::{grammar, output};
use crate::engine::images::{self, remove};
use crate::error::Advise;
use crate::image::archive::load::{self, Source};
use crate::image::manifest::Platform;
use crate::image::pull::Progress;
use crate::spec::options::IdMode;
use crate::sys::process;
use anyhow::{Context, Result, anyhow};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// What is typed.
#[derive(Debug, Args)]
struct LoadArgs {
    /// Read from a file, or from a directory that is an OCI image layout, instead of standard input
    #[arg(short, long, value_name = "PATH")]
    input: Option<PathBuf>,
    /// Say nothing but the names
    #[arg(short, long)]
    quiet: bool,
    /// Take the images for another platform
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<LoadArgs>(command, "rbox load [OPTIONS]")
}

/// Loads all images of an archive and prints their names.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    process::set_plain_umask();
    let args = LoadArgs::from_arg_matches_mut(&mut matches)?;
    let platform = args.platform.as_deref().map(Platform::parse).transpose()?.unwrap_or_else(Platform::host);
    let store = images::default_store(IdMode::Auto)?;
    let progress: &dyn Progress = if args.quiet { &Quiet } else { &Shown::default() };
    let load = |source: Source<'_>| load::load(&store, source, &platform, progress);
    let loaded = match args.input.as_deref() {
        Some(path) if path.is_dir() => load(Source::Directory(path)),
        Some(path) if path != Path::new("-") => {
            let mut file = fs_err::File::open(path)?;
            load(Source::Stream(&mut file)).with_context(|| path.display().to_string())
        }
        _ if std::io::stdin().is_terminal() => {
            Err(anyhow!("standard input is a terminal")).hint(|| "-i FILE reads from a file".to_owned())
        }
        _ => load(Source::Stream(&mut std::io::stdin().lock())),
    };
    if loaded.is_err() {
        // What was read of it has no name. If somebody uses the store, the next one deletes it; the error is what is told.
        let _ = remove::collect(&store);
    }
    let loaded = loaded.context("load")?;
    let mut text = String::new();
    for one in loaded {
        match one.names.as_slice() {
            [] => text.push_str(&format!("Loaded image ID: {}\n", one.image.id())),
            names => names.iter().for_each(|name| text.push_str(&format!("Loaded image: {}\n", name.familiar()))),
        }
    }
    output::print(&text)
}
