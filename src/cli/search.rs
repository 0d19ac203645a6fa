//! `rbox search`.

use super::format::Column;
use super::remote::{self, AccessArgs};
use super::{format, grammar, output};
use crate::engine::search::{self, Filter};
use crate::error::Failure;
use anyhow::{Context, Result, bail};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde_json::json;

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
    /// Print in another form: json, table TEMPLATE, or a template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
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
        let rows: Vec<_> = tags.into_iter().map(|tag| json!({ "Name": name, "Tag": tag })).collect();
        return output::print(&format::list(&rows, &TAGS, args.format.as_deref(), true)?);
    }
    let outcome = search::search(&args.term, limit, filter(&args.filters)?, &remote)?;
    let mut rows = Vec::new();
    for found in outcome.found {
        let description = if args.no_trunc { plain(&found.description) } else { short(&plain(&found.description)) };
        let official = if found.official { "[OK]" } else { "" };
        rows.push(json!({
            "Name": plain(&found.name), "Description": description, "StarCount": found.stars.to_string(),
            "IsOfficial": official
        }));
    }
    for error in &outcome.failed {
        output::error(&Failure::from(error).render());
    }
    output::print(&format::list(&rows, &COLUMNS, args.format.as_deref(), true)?)
}

const COLUMNS: [Column; 4] = [
    Column { heading: "NAME", field: "Name", shown: true },
    Column { heading: "DESCRIPTION", field: "Description", shown: true },
    Column { heading: "STARS", field: "StarCount", shown: true },
    Column { heading: "OFFICIAL", field: "IsOfficial", shown: true },
];
const TAGS: [Column; 2] =
    [Column { heading: "NAME", field: "Name", shown: true }, Column { heading: "TAG", field: "Tag", shown: true }];

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions() {
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
