//! `rbox cp`.

use super::{boolean, grammar, human, output};
use crate::engine::cp::{self, End, Options};
use crate::error::Advise;
use crate::storage::transfer::Report;
use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use std::io::IsTerminal;

#[derive(Debug, Args)]
struct CpArgs {
    /// A path of a container (CONTAINER:PATH) or of the host; - is a tar archive on standard input
    #[arg(value_name = "SRC")]
    source: String,
    /// Likewise; - is a tar archive on standard output
    #[arg(value_name = "DEST")]
    target: String,
    /// Keep the owners of what is copied into a container; otherwise it is root's
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    archive: Option<bool>,
    /// Follow SRC if it is a symlink
    #[arg(short = 'L', long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    follow_link: Option<bool>,
    /// Let a directory take the place of a file, and the other way round
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    overwrite: Option<bool>,
    /// Say nothing of what was copied; nothing is said in any case if standard output is no terminal
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    quiet: Option<bool>,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<CpArgs>(
        command.args_override_self(true),
        "rbox cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n       rbox cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH\n       rbox cp [OPTIONS] CONTAINER:SRC_PATH CONTAINER:DEST_PATH",
    )
}

/// Copies files, and says how much and what was left out.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = CpArgs::from_arg_matches_mut(&mut matches)?;
    let options = Options {
        archive: args.archive.unwrap_or(false),
        follow: args.follow_link.unwrap_or(false),
        overwrite: args.overwrite.unwrap_or(false),
    };
    let from = end(&args.source).context("cp: source")?;
    let to = end(&args.target).context("cp: destination")?;
    let is_terminal = std::io::stdout().is_terminal();
    if to == End::Stream && is_terminal {
        return Err(anyhow!("cp: standard output is a terminal")).hint(|| "`> FILE` writes to a file".to_owned());
    }
    let report = cp::copy(&from, &to, options).context("cp")?;
    output::error(&left_out(&report));
    if is_terminal && !args.quiet.unwrap_or(false) {
        output::error(&format!("Successfully copied {} to {}\n", human::size(report.bytes), args.target));
    }
    Ok(0)
}

/// As docker reads it: before the first colon is a container, unless the text begins like a path.
fn end(text: &str) -> Result<End> {
    ensure!(!text.is_empty(), "it cannot be empty");
    if text == "-" {
        return Ok(End::Stream);
    }
    Ok(match text.split_once(':') {
        Some(("", _)) => bail!("{text}: no container before the colon"),
        Some((name, path)) if !text.starts_with(['/', '.']) => {
            End::Container { name: name.to_owned(), path: path.to_owned() }
        }
        _ => End::Host(text.to_owned()),
    })
}

/// Lines about what is not there.
fn left_out(report: &Report) -> String {
    let Report { devices, sockets, attributes, changed, .. } = *report;
    [
        (devices, "devices were left out"),
        (sockets, "sockets were left out"),
        (attributes, "extended attributes were left out"),
        (changed, "files changed while they were read"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("rbox: note: cp: {count} {what}\n"))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends() {
        let host = |path: &str| End::Host(path.to_owned());
        let container = |name: &str, path: &str| End::Container { name: name.to_owned(), path: path.to_owned() };
        for (text, expected) in [
            ("-", End::Stream),
            ("file", host("file")),
            ("./a:b", host("./a:b")),
            ("/a:b", host("/a:b")),
            ("../a:b", host("../a:b")),
            ("c:", container("c", "")),
            ("c:/a:b", container("c", "/a:b")),
            ("c:a", container("c", "a")),
            ("dir/c:a", container("dir/c", "a")),
        ] {
            assert_eq!(end(text).expect(text), expected);
        }
        for text in ["", ":", ":/x"] {
            assert!(end(text).is_err(), "{text}");
        }
    }
}
