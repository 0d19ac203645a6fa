//! What a container was asked to be: `options.json` of one that is kept, a part of the record of one with `--rm`.

use crate::engine::again;
use crate::engine::container::Found;
use crate::spec::options::Options;
use anyhow::Result;

/// The options that it was made with; volumes have the names that they got.
pub fn of(found: &Found) -> Result<Options> {
    match &found.container.asked {
        Some(options) => Ok((**options).clone()),
        None => Ok(again::read(found)?.0),
    }
}
