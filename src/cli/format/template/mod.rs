//! Go's text/template (Go 1.24) over JSON, with docker's functions: `{{.State.Status}}`, `{{range .Mounts}}…{{end}}`.
//!
//! What differs from Go, on purpose:
//! - a field is also found if only the case of its letters differs: docker says `.ID`, podman `.Id`;
//! - `\t` and `\n` in the text between actions are a tab and a newline, as typed to docker;
//! - integers and other numbers may be compared with each other, since JSON knows one type;
//! - there are no methods but `.Label`, no `call` and `js`, no complex numbers, and no hexadecimal floating point;
//! - nesting, work and widths have limits, so that no template ends the program or keeps it for long.
//!
//! Own code: the crate there is (gtmpl 0.7.1, "passively maintained") knows neither break nor continue nor null, and has
//! no limits.

mod budget;
mod compare;
mod executor;
mod functions;
mod lexer;
mod parser;
mod printf;
mod quote;
mod tree;
mod value;

use serde_json::Value as Json;
use tree::Node;

pub use quote::{escaped, quote};
pub use value::shown;

/// A template that was read.
pub struct Template {
    source: String,
    nodes: Vec<Node>,
    defined: parser::Defined,
}

/// What a template is executed for, which says what a missing field is.
pub enum Purpose<'a> {
    /// A row of a list. A field that is neither known nor in any row is an error.
    Row {
        /// The fields that the list has.
        known: &'a [&'a str],
        /// All rows.
        rows: &'a [Json],
        /// What `.Label "KEY"` looks in: an object of texts. Without it there is no `.Label`.
        labels: Option<&'a Json>,
    },
    /// A whole object. What is missing has no value.
    Object,
    /// The headings of a table, in place of a row: functions that would change them leave them as they are.
    Headings,
}

/// What is wrong with a template.
#[derive(Debug)]
pub struct Fault {
    /// Where, in bytes from its beginning.
    at: usize,
    /// What.
    what: String,
    /// What can be done.
    pub hint: Option<String>,
}

impl Fault {
    fn new(at: usize, what: impl Into<String>) -> Fault {
        Fault { at, what: what.into(), hint: None }
    }

    /// `line:column: what`, both counted from 1.
    pub fn message(&self, source: &str) -> String {
        let before = source.get(..self.at).unwrap_or(source);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("{line}:{column}: {}", self.what)
    }
}

impl Template {
    /// Reads a template that begins at a place of its source, in bytes; faults count from the beginning of the source.
    pub fn parse(source: &str, start: usize) -> Result<Template, Fault> {
        let (nodes, defined) = parser::parse(source, start)?;
        Ok(Template { source: source.to_owned(), nodes, defined })
    }

    /// The text it was read from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Executes it.
    pub fn execute(&self, value: &Json, purpose: &Purpose) -> Result<String, Fault> {
        let (text, result) = executor::execute(&self.nodes, &self.defined, value, purpose);
        result.map(|()| text)
    }

    /// Executes it over headings. It was written for rows, so what fails on a heading ends it, and is no error, as in docker.
    pub fn headings(&self, headings: &Json) -> String {
        executor::execute(&self.nodes, &self.defined, headings, &Purpose::Headings).0
    }
}

#[cfg(test)]
mod tests;
