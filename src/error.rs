//! Errors: one line that says what, on which path and why, then hints; printed once, at the edge.
//!
//! An error is an [`anyhow::Error`] whose chain reads from the outermost "what" to the cause. Two things may be
//! attached to it with [`Advise`] where they are known best: a hint beside the errno that it explains, and the exit
//! status where it is not 125. [`Failure`] is the flat form that crosses a process border.

use std::fmt;

/// The exit status for an error of rbox itself, as docker has it.
pub const FAILED: u8 = 125;
/// The payload was found and cannot be executed.
pub const NOT_EXECUTABLE: u8 = 126;
/// The payload was not found.
pub const NOT_FOUND: u8 = 127;

/// An error with everything that a reader or a caller needs, in a form that can cross a process border.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Failure {
    /// The chain on one line, outermost first.
    pub message: String,
    /// What the user can do.
    pub hints: Vec<String>,
    /// rbox's exit status.
    pub exit: u8,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Advice or an exit status in the chain. Transparent: it adds no words to the message.
#[derive(Debug)]
struct Note {
    hint: Option<String>,
    exit: Option<u8>,
    cause: anyhow::Error,
}

impl fmt::Display for Note {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

impl std::error::Error for Note {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.cause.as_ref())
    }
}

/// Attaches advice or an exit status to any error.
pub trait Advise<T> {
    /// Adds a hint.
    fn hint(self, text: impl FnOnce() -> String) -> anyhow::Result<T>;
    /// Adds a hint if there is one to give.
    fn maybe_hint(self, text: impl FnOnce() -> Option<String>) -> anyhow::Result<T>;
    /// Sets rbox's exit status; the outermost one wins.
    fn exit(self, status: u8) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> Advise<T> for Result<T, E> {
    fn hint(self, text: impl FnOnce() -> String) -> anyhow::Result<T> {
        self.maybe_hint(|| Some(text()))
    }

    fn maybe_hint(self, text: impl FnOnce() -> Option<String>) -> anyhow::Result<T> {
        self.map_err(|error| Note { hint: text(), exit: None, cause: error.into() }.into())
    }

    fn exit(self, status: u8) -> anyhow::Result<T> {
        self.map_err(|error| Note { hint: None, exit: Some(status), cause: error.into() }.into())
    }
}

impl From<&anyhow::Error> for Failure {
    /// Flattens the chain: `a: b: c`, hints in order, the outermost exit status.
    fn from(error: &anyhow::Error) -> Failure {
        let mut words = Vec::new();
        let mut hints = Vec::new();
        let mut exit = None;
        for cause in error.chain() {
            if let Some(note) = cause.downcast_ref::<Note>() {
                hints.extend(note.hint.clone());
                exit = exit.or(note.exit);
            } else if let Some(failure) = cause.downcast_ref::<Failure>() {
                hints.extend(failure.hints.iter().cloned());
                exit = exit.or(Some(failure.exit));
                words.push(failure.message.clone());
            } else {
                words.push(cause.to_string());
            }
        }
        Failure { message: words.join(": "), hints, exit: exit.filter(|exit| *exit != 0).unwrap_or(FAILED) }
    }
}

impl Failure {
    /// As JSON of at most `limit` bytes: the ends of long texts give way, the status stays.
    pub fn within(&self, limit: usize) -> Vec<u8> {
        let mut failure = self.clone();
        loop {
            // A struct of strings and a number is always JSON.
            let bytes = serde_json::to_vec(&failure).unwrap_or_default();
            let longest = failure.hints.iter_mut().chain([&mut failure.message]).max_by_key(|text| text.len());
            match longest {
                Some(text) if bytes.len() > limit && !text.is_empty() => {
                    let mut half = text.len() / 2;
                    while !text.is_char_boundary(half) {
                        half -= 1;
                    }
                    text.truncate(half);
                }
                _ => return bytes,
            }
        }
    }

    /// The text for standard error: `rbox: what: path: cause` and `hint:` lines.
    pub fn render(&self) -> String {
        let mut text = format!("rbox: {}\n", printable(&self.message));
        for hint in &self.hints {
            for (n, line) in hint.lines().enumerate() {
                text.push_str(if n == 0 { "hint: " } else { "      " });
                text.push_str(&printable(line));
                text.push('\n');
            }
        }
        text
    }
}

/// Control characters escaped, so that a path or an image cannot write to the user's terminal or fake a second line.
fn printable(text: &str) -> String {
    if text.chars().any(char::is_control) {
        text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
    } else {
        text.to_owned()
    }
}
