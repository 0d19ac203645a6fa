//! Files that a user names for what a verb writes.

use anyhow::{Context, Result};
use std::io::Write;
use std::path::Path;

/// Writes a file as a whole: beside its place first, so that a full disk leaves no half one under the name. A pipe or
/// a device is written to as it is.
pub fn whole(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    if path.exists() && !path.is_file() {
        return write(&mut fs_err::File::options().write(true).open(path)?);
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().with_context(|| format!("{}: no file", path.display()))?.to_string_lossy();
    let aside = dir.join(format!(".{name}.{}", std::process::id()));
    let mut file = fs_err::File::create_new(&aside)?;
    let written = write(&mut file).and_then(|()| Ok(fs_err::rename(&aside, path)?));
    if written.is_err() {
        // The error is what is told.
        let _ = fs_err::remove_file(&aside);
    }
    written
}
