//! Text for standard output and standard error. A reader that went away is no error (EPIPE); a full disk is.

use crate::error::Failure;
use anyhow::{Context, Result};
use std::io::{ErrorKind, Write};

/// Prints to standard output. The result is the program's exit status.
pub fn print(text: &str) -> Result<u8> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("standard output"),
        _ => Ok(0),
    }
}

/// Prints to standard error, where nothing can be done about a failure.
pub fn error(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// A transfer to standard output whose reader went away is no error.
pub fn transferred(result: Result<()>) -> Result<u8> {
    match result {
        Err(error) if crate::sys::errno(&error) == Some(rustix::io::Errno::PIPE) => Ok(0),
        result => result.map(|()| 0),
    }
}

/// Tells what goes another way than was meant.
pub fn note(why: Failure, next: &str) {
    let message = format!("{}; {next}", why.message);
    say(Failure { message, ..why });
}

/// Tells what is no error.
pub fn say(what: Failure) {
    let message = format!("note: {}", what.message);
    error(&Failure { message, ..what }.render());
}
