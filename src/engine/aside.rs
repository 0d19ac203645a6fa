//! Files that are written aside and then take their place: nobody reads half of one.

use anyhow::Result;
use std::path::{Path, PathBuf};

/// Writes a file aside, then renames it, so that nobody reads half of it.
pub(super) fn write_whole<T: serde::Serialize>(dir: &Path, name: &str, value: &T) -> Result<()> {
    write_aside(dir, name, value)?.take_place()
}

/// A file that was written aside.
#[derive(Debug)]
pub(super) struct Aside {
    aside: PathBuf,
    place: PathBuf,
}

/// Writes a file aside only.
pub(super) fn write_aside<T: serde::Serialize>(dir: &Path, name: &str, value: &T) -> Result<Aside> {
    let (aside, place) = (dir.join(format!(".{name}")), dir.join(name));
    fs_err::write(&aside, serde_json::to_vec(value)?)?;
    Ok(Aside { aside, place })
}

impl Aside {
    /// It takes the place of what was there.
    pub fn take_place(self) -> Result<()> {
        Ok(fs_err::rename(self.aside, self.place)?)
    }
}
