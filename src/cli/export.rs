//! `rbox export`.

use super::{grammar, output};
use crate::engine::changed;
use crate::error::Advise;
use anyhow::{Context, Result, anyhow};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use std::io::{BufWriter, IsTerminal, Write};
use std::path::PathBuf;

/// What is typed.
#[derive(Debug, Args)]
struct ExportArgs {
    /// Name or id of the container
    #[arg(value_name = "CONTAINER", required = true)]
    container: String,
    /// Write to a file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<ExportArgs>(command, "rbox export [OPTIONS] CONTAINER")
}

/// Writes a tar of the container's root filesystem.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = ExportArgs::from_arg_matches_mut(&mut matches)?;
    let out = std::io::stdout();
    match &args.output {
        Some(path) => super::file::whole(path, |file| write(&args.container, file)).context("export")?,
        None if out.is_terminal() => {
            return Err(anyhow!("standard output is a terminal")).hint(|| "-o FILE writes to a file".to_owned());
        }
        None => return output::transferred(write(&args.container, &mut out.lock()).context("export")),
    }
    Ok(0)
}

fn write(container: &str, out: &mut dyn Write) -> Result<()> {
    let mut out = BufWriter::new(out);
    changed::export(container, |piece| Ok(out.write_all(piece)?))?;
    Ok(out.flush()?)
}
