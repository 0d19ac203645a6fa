//! Verbs that take several things: what fails is told, and the others are done all the same.

use super::{failure, output};
use crate::error::FAILED;
use anyhow::Result;

/// Calls `act` for each. The status is that of the last one that failed.
pub fn each<T>(things: &[T], mut act: impl FnMut(&T) -> Result<()>) -> u8 {
    partly(things, |thing| act(thing)).1
}

/// What `look` says of each, and the status: of those that fail the error is told.
pub fn partly<T, U>(things: &[T], mut look: impl FnMut(&T) -> Result<U>) -> (Vec<U>, u8) {
    let mut status = 0;
    let mut found = Vec::new();
    for thing in things {
        match look(thing) {
            Ok(one) => found.push(one),
            Err(error) => {
                let failure = failure::told(error);
                output::error(&failure.render());
                status = if failure.exit == 0 { FAILED } else { failure.exit };
            }
        }
    }
    (found, status)
}
