//! `rbox search`.

use super::remote::{self, AccessArgs};
use super::{grammar, output};
use crate::engine::search::{self, Filter};
use crate::error::Failure;
use anyhow::{Context, Result, bail};
use clap::{ArgMatches, Args, Command, FromArgMatches};

/// As much of a description as docker shows.
const SHORT: usize = 45;

/// What is typed.
#[derive(Debug, Args)]
struct SearchArgs {
    /// What to look for, with a registry before it or not; with --list-tags the name of a repository
    #[arg(value_name = "TERM", required = true)]
    term: String,
    /// Only what is so: is-official=BOOL, stars=NUMBER
    #[arg(short, long = "filter", value_name = "FILTER")]
    filters: Vec<String>,
    /// At most so many of each registry
    #[arg(long, value_name = "NUMBER", default_value_t = 25, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Show whole descriptions
    #[arg(long)]
    no_trunc: bool,
    /// List the tags of a repository
    #[arg(long, conflicts_with = "filters")]
    list_tags: bool,
    /// Name and password for the registry
    #[arg(long, value_name = "NAME:PASSWORD")]
    creds: Option<String>,
    #[command(flatten)]
    access: AccessArgs,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<SearchArgs>(command.args_override_self(true), "rbox search [OPTIONS] TERM")
}

/// Prints a table of repositories, or of tags.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = SearchArgs::from_arg_matches_mut(&mut matches)?;
    let cwd = std::env::current_dir().context("current directory")?;
    let remote = args.access.remote(args.creds.as_deref(), &cwd)?;
    let limit = usize::from(args.limit);
    if args.list_tags {
        let (name, tags) = search::tags(&remote::name(&args.term)?, limit, &remote)?;
        let rows = tags.into_iter().map(|tag| vec![name.clone(), tag]);
        return output::print(&table(&["NAME", "TAG"], rows.collect()));
    }
    let outcome = search::search(&args.term, limit, filter(&args.filters)?, &remote)?;
    let mut rows = Vec::new();
    for found in outcome.found {
        let description = if args.no_trunc { plain(&found.description) } else { short(&plain(&found.description)) };
        let official = if found.official { "[OK]" } else { "" };
        rows.push(vec![plain(&found.name), description, found.stars.to_string(), official.to_owned()]);
    }
    for error in &outcome.failed {
        output::error(&Failure::from(error).render());
    }
    output::print(&table(&["NAME", "DESCRIPTION", "STARS", "OFFICIAL"], rows))
}

fn filter(texts: &[String]) -> Result<Filter> {
    let mut filter = Filter::default();
    for text in texts {
        match text.split_once('=') {
            Some(("is-official", value)) => {
                filter.official = Some(super::boolean(value).with_context(|| format!("--filter {text}"))?);
            }
            Some(("stars", value)) => filter.stars = value.parse().with_context(|| format!("--filter {text}"))?,
            _ => bail!("--filter {text}: is-official=BOOL or stars=NUMBER is wanted"),
        }
    }
    Ok(filter)
}

/// What others have written, for a terminal and on one line.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

fn short(text: &str) -> String {
    if text.chars().count() <= SHORT {
        return text.to_owned();
    }
    text.chars().take(SHORT - 1).chain(['…']).collect()
}

/// Columns as wide as their widest entry, three spaces between.
fn table(heading: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut lines = vec![heading.iter().map(|text| (*text).to_owned()).collect::<Vec<String>>()];
    lines.extend(rows);
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("   ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables() {
        let rows = vec![vec!["alpine".to_owned(), "größer".to_owned()], vec!["x".to_owned(), String::new()]];
        assert_eq!(table(&["NAME", "WHAT"], rows), "NAME     WHAT\nalpine   größer\nx\n");
        assert_eq!(plain("two\nlines\x1b[31m"), "two lines [31m");
        assert_eq!(short(&"ä".repeat(45)).chars().count(), 45);
        assert_eq!(short(&"ä".repeat(46)), format!("{}…", "ä".repeat(44)));
    }

    #[test]
    fn filters() {
        let read = |texts: &[&str]| filter(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        let wanted = Filter { official: Some(true), stars: 3 };
        assert_eq!(read(&["is-official=true", "stars=3"]).expect("valid"), wanted);
        for wrong in ["is-official=maybe", "stars=-1", "stars", "is-automated=true"] {
            assert!(read(&[wrong]).is_err(), "{wrong}");
        }
    }
}
