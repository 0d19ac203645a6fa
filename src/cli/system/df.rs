//! `rbox system df`.

use crate::cli::format::{self, Column};
use crate::cli::{grammar, human, output};
use crate::engine::images;
use crate::engine::system::df::{self, Usage};
use crate::spec::options::IdMode;
use anyhow::Result;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde_json::{Value, json};

/// What is typed.
#[derive(Debug, Args)]
struct DfArgs {
    /// Print in another form: json, table TEMPLATE, or a template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<DfArgs>(command, "rbox system df [OPTIONS]")
}

const COLUMNS: [Column; 5] = [
    Column { heading: "TYPE", field: "Type", shown: true },
    Column { heading: "TOTAL", field: "TotalCount", shown: true },
    Column { heading: "ACTIVE", field: "Active", shown: true },
    Column { heading: "SIZE", field: "Size", shown: true },
    Column { heading: "RECLAIMABLE", field: "Reclaimable", shown: true },
];

/// Prints a line for each kind of thing.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = DfArgs::from_arg_matches_mut(&mut matches)?;
    let report = df::df(&images::default_store(IdMode::Auto)?)?;
    let kinds = [("Images", report.images), ("Containers", report.containers), ("Local Volumes", report.volumes)];
    let rows: Vec<Value> = kinds.iter().map(|(kind, usage)| row(kind, usage)).collect();
    output::print(&format::list(&rows, &COLUMNS, args.format.as_deref(), true)?)
}

fn row(kind: &str, usage: &Usage) -> Value {
    let percent = match usage.size {
        0 => String::new(),
        size => format!(" ({}%)", u128::from(usage.reclaimable) * 100 / u128::from(size)),
    };
    json!({
        "Type": kind,
        "TotalCount": usage.total.to_string(),
        "Active": usage.active.to_string(),
        "Size": human::size_with_digits(usage.size, 4),
        "Reclaimable": format!("{}{percent}", human::size_with_digits(usage.reclaimable, 4)),
    })
}
