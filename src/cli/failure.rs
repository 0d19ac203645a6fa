//! An error as it is told, with what only the edge knows to advise.

use super::output;
use crate::error::{FAILED, Failure};
use crate::paths;
use crate::storage::store;
use anyhow::Result;

/// What is said of an error.
pub fn told(error: anyhow::Error) -> Failure {
    let failure = Failure::from(&error);
    // Of another disk than the store's, where `save` writes or containers run, nothing can be said.
    let place = paths::data_dir().ok().filter(|place| failure.message.contains(&*place.to_string_lossy()));
    let advised: Result<()> = place.map_or(Ok(()), |place| store::if_full(Err(error), &place));
    advised.map_or_else(|error| Failure::from(&error), |()| failure)
}

/// Tells what could not be read of what is shown all the same; the exit status.
pub fn tell(failures: &[Failure]) -> u8 {
    failures.iter().for_each(|failure| output::error(&failure.render()));
    if failures.is_empty() { 0 } else { FAILED }
}
