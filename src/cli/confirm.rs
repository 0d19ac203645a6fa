//! Questions before something is lost.

use super::output;
use crate::error::Advise;
use anyhow::{Result, anyhow};
use std::io::{BufRead, IsTerminal};

/// Asks in docker's words. Without a terminal nobody can answer.
pub fn confirm(what: &str) -> Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(anyhow!("nobody can be asked: standard input is no terminal"))
            .hint(|| "-f does it without asking".to_owned());
    }
    output::error(&format!("WARNING! {what}\nAre you sure you want to continue? [y/N] "));
    let mut line = String::new();
    stdin.lock().read_line(&mut line)?;
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
