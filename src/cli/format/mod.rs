//! What lists and `inspect` print: docker's tables, JSON, or a template of Go (`--format`).
//!
//! Keys of objects come out sorted. That is docker's own order for `--format json` of lists (it marshals a Go map), and in
//! templates Go sorts the keys of maps. For `inspect` docker keeps the order of its structs; serde_json could
//! (`preserve_order`), but for the whole program at once, and the hash maps of oci-spec would then come out in another
//! order every time.

mod table;
mod template;

pub use table::cell;
pub use template::quote;

use crate::error::Advise;
use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};
use template::{Purpose, Template};

/// One column of a list.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// What stands above it: `IMAGE ID`.
    pub heading: &'static str,
    /// The field of the row's JSON object: `ID`.
    pub field: &'static str,
    /// In the table that is printed when no template is given.
    pub shown: bool,
}

/// The text of a list. `rows` are objects. `heading`: false leaves the headings out (podman's `--noheading`).
///
/// `format` is `table` (or none) for docker's table, `json` or `jsonl` for one compact object a line, `table TEMPLATE` for a
/// table with the headings of the columns that the template names, or a template, executed once a row with a line for each.
///
/// # Errors
/// A template that cannot be read or executed: where, and what is wrong. A field that is in no row and is no column is an
/// error, as in docker; a key that is missing deeper down is `<no value>`.
pub fn list(rows: &[Value], columns: &[Column], format: Option<&str>, heading: bool) -> Result<String> {
    labelled(rows, &[], columns, format, heading)
}

/// The same of things that have labels: one object of texts for each row, for `{{.Label "KEY"}}`.
pub fn labelled(
    rows: &[Value],
    labels: &[&Value],
    columns: &[Column],
    format: Option<&str>,
    heading: bool,
) -> Result<String> {
    let format = format.unwrap_or_default().trim_matches(' ');
    if format == "json" || format == "jsonl" {
        return lines(rows, |row| Ok(serde_json::to_string(row)?));
    }
    let own = format.strip_prefix("table").map(|rest| rest.trim_matches(' '));
    if format.is_empty() || own == Some("") {
        return Ok(default_table(rows, columns, heading));
    }
    let template = read(format, format.len() - own.map_or(format.len(), str::len))?;
    let known: Vec<&str> = columns.iter().map(|column| column.field).collect();
    let mut labels = labels.iter();
    let body = lines(rows, |row| {
        execute(&template, row, &Purpose::Row { known: &known, rows, labels: labels.next().copied() })
    })?;
    if own.is_none() {
        return Ok(body);
    }
    let mut text = String::new();
    if heading {
        let headings = columns.iter().map(|column| (column.field.to_owned(), column.heading.into())).collect();
        text = template.headings(&Value::Object(headings)) + "\n";
    }
    Ok(table::align(&(text + &body)))
}

/// A table of texts. `least`: how wide its columns are at least, blanks included.
pub fn table(titles: &[String], rows: &[Vec<String>], least: usize) -> String {
    let line = |cells: &[String]| cells.iter().map(|text| cell(text)).collect::<Vec<_>>().join("\t") + "\n";
    let lines: String = std::iter::once(line(titles)).chain(rows.iter().map(|row| line(row))).collect();
    table::align_at_least(&lines, least)
}

/// The text of `inspect`. `format`: none is a JSON array indented by four blanks, as docker's; `json` is the same on one
/// line; else a template, executed once for each value with a line for each.
///
/// # Errors
/// A template that cannot be read or executed: where, and what is wrong. A key that is missing is `<no value>`, as in a Go
/// map; a field of something that has none is an error.
pub fn objects(values: &[Value], format: Option<&str>) -> Result<String> {
    let format = format.unwrap_or_default();
    // Blanks around a template are text here, other than in lists; so it is with docker.
    match format.trim_matches(' ') {
        "" => {
            let mut text = Vec::new();
            values.serialize(&mut Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"    ")))?;
            Ok(String::from_utf8(text)? + "\n")
        }
        "json" => Ok(serde_json::to_string(values)? + "\n"),
        _ => {
            let template = read(format, 0)?;
            lines(values, |value| execute(&template, value, &Purpose::Object))
        }
    }
}

fn read(source: &str, start: usize) -> Result<Template> {
    located(Template::parse(source, start), source)
}

fn execute(template: &Template, value: &Value, purpose: &Purpose) -> Result<String> {
    located(template.execute(value, purpose), template.source())
}

/// An error with its place in the template.
fn located<T>(result: Result<T, template::Fault>, source: &str) -> Result<T> {
    result.or_else(|fault| {
        let message = fault.message(source);
        Err(anyhow::Error::msg(message)).context("--format").maybe_hint(|| fault.hint)
    })
}

fn lines(values: &[Value], mut one: impl FnMut(&Value) -> Result<String>) -> Result<String> {
    let mut text = String::new();
    for value in values {
        text += &one(value)?;
        text.push('\n');
    }
    Ok(text)
}

fn default_table(rows: &[Value], columns: &[Column], heading: bool) -> String {
    let shown: Vec<&Column> = columns.iter().filter(|column| column.shown).collect();
    let line = |cells: Vec<String>| cells.join("\t") + "\n";
    let mut text = String::new();
    if heading {
        text += &line(shown.iter().map(|column| column.heading.to_owned()).collect());
    }
    for row in rows {
        text += &line(shown.iter().map(|column| cell(&template::shown(&row[column.field]))).collect());
    }
    table::align(&text)
}

#[cfg(test)]
mod tests;
