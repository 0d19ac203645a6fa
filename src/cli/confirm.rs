//! Questions before something is lost.

use super::output;
use anyhow::{Context, Result};
use std::io::BufRead;

/// Asks in docker's words, as docker does on standard output; the answer may come from a pipe. No answer is no.
pub fn confirm(what: &str) -> Result<bool> {
    output::print(&format!("WARNING! {what}\nAre you sure you want to continue? [y/N] "))?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("standard input")?;
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
