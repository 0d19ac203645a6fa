//! What clap has to say, in rbox's form and with docker's exit status.

use super::output;
use crate::error::{FAILED, Failure};
use anyhow::Result;
use clap::error::{ContextKind, ErrorKind};

/// Prints help and the version, which clap reports as errors; anything else becomes one of rbox's. `verb` is the first
/// argument.
pub fn report(error: &clap::Error, verb: &str) -> Result<u8> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => output::print(&error.render().to_string()),
        // Of rbox itself, or of a verb with commands of its own.
        ErrorKind::InvalidSubcommand
            if error.get(ContextKind::InvalidSubcommand).is_some_and(|word| word.to_string() == verb) =>
        {
            Err(failure(error, "rbox").into())
        }
        _ if verb.starts_with('-') => Err(failure(error, "rbox").into()),
        _ => Err(failure(error, &format!("rbox {verb}")).into()),
    }
}

/// clap's text is a message of one or more lines, then tips, then the usage.
fn failure(error: &clap::Error, command: &str) -> Failure {
    let text = error.render().to_string();
    let mut paragraphs = text.split("\n\n");
    let message = paragraphs.next().unwrap_or_default();
    let message = message.strip_prefix("error: ").unwrap_or(message);
    // That an unknown option could be meant as a word of the command is true and seldom of use.
    let tips = paragraphs.flat_map(str::lines).filter_map(|line| line.trim_start().strip_prefix("tip: "));
    let mut hints: Vec<String> = tips.filter(|tip| !tip.starts_with("to pass")).map(str::to_owned).collect();
    hints.push(format!("see `{command} --help`"));
    Failure { message: message.split_whitespace().collect::<Vec<_>>().join(" "), hints, exit: FAILED }
}
