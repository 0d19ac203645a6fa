//! `rbox history`.

use super::short;
use crate::cli::format::{self, Column};
use crate::cli::{grammar, human, output};
use crate::engine::images::{self, history};
use crate::image::find;
use crate::image::view::Image;
use crate::spec::options::IdMode;
use crate::time::Time;
use anyhow::Result;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde_json::json;

/// What is typed.
#[derive(Debug, Args)]
struct HistoryArgs {
    /// Name or id of the image
    #[arg(value_name = "IMAGE", required = true)]
    image: String,
    /// Print in another form: json, or a template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Print sizes and times for people
    #[arg(short = 'H', long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", value_name = "BOOL", value_parser = crate::cli::boolean)]
    human: bool,
    /// Print whole texts
    #[arg(long)]
    no_trunc: bool,
    /// Print ids alone
    #[arg(short, long)]
    quiet: bool,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<HistoryArgs>(command, "rbox history [OPTIONS] IMAGE")
}

const COLUMNS: [Column; 6] = [
    Column { heading: "IMAGE", field: "ID", shown: true },
    Column { heading: "CREATED", field: "CreatedSince", shown: true },
    Column { heading: "CREATED AT", field: "CreatedAt", shown: false },
    Column { heading: "CREATED BY", field: "CreatedBy", shown: true },
    Column { heading: "SIZE", field: "Size", shown: true },
    Column { heading: "COMMENT", field: "Comment", shown: true },
];
/// As many characters of a command as docker shows.
const COMMAND: usize = 45;

/// Prints the steps, the last one first.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = HistoryArgs::from_arg_matches_mut(&mut matches)?;
    let store = images::default_store(IdMode::Auto)?;
    let image = Image::load(&store, find::require(&store, &args.image)?.descriptor)?;
    let now = Time::now();
    let mut rows = Vec::new();
    for (number, step) in history::history(&store, &image)?.into_iter().enumerate() {
        // Of the steps before the last one no image is here.
        let id = if number == 0 { short(image.id(), args.no_trunc) } else { "<missing>".to_owned() };
        let by = step.created_by.replace(['\t', '\n'], " ");
        let by = match by.char_indices().nth(COMMAND) {
            Some(_) if !args.no_trunc => by.chars().take(COMMAND - 1).chain(['…']).collect(),
            _ => by,
        };
        let at = step.created.map(|time| time.to_string()).unwrap_or_default();
        let since = match (step.created, args.human) {
            (Some(time), true) => human::ago(time, now),
            (None, true) => "N/A".to_owned(),
            (_, false) => at.clone(),
        };
        let size = if args.human { human::size(step.size) } else { step.size.to_string() };
        rows.push(json!({
            "ID": id, "CreatedSince": since, "CreatedAt": at, "CreatedBy": by, "Size": size, "Comment": step.comment
        }));
    }
    let text = match args.quiet {
        true => format::list(&rows, &COLUMNS, Some("{{.ID}}"), true)?,
        false => format::list(&rows, &COLUMNS, args.format.as_deref(), true)?,
    };
    output::print(&text)
}
