//! Files that a user names for what a verb writes.

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Writes a file as a whole: without a name first, so that neither a full disk nor a kill leaves half of one. A pipe or a
/// device is written to as it is.
pub fn whole(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    if path.exists() && !path.is_file() {
        return write(&mut fs_err::File::options().write(true).open(path)?);
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().with_context(|| format!("{}: no file", path.display()))?.to_string_lossy();
    let aside = dir.join(format!(".{name}.{}", std::process::id()));
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o666);
    match rustix::fs::open(dir, flags, mode).map(File::from) {
        Ok(file) => without_name(file, path, write, aside),
        // Not every file system has files without names, and what is wrong with the directory is said below.
        Err(_) => beside(path, write, &aside),
    }
    .with_context(|| path.display().to_string())
}

fn without_name(
    mut file: File,
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<()>,
    mut aside: PathBuf,
) -> Result<()> {
    write(&mut file)?;
    // By its descriptor, as open(2) has it under O_TMPFILE.
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    let link = |name: &Path| rustix::fs::linkat(CWD, &own, CWD, name, AtFlags::SYMLINK_FOLLOW);
    match link(path) {
        Ok(()) => return Ok(()),
        // A name that is taken cannot be taken over in one step.
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(std::io::Error::from(errno)).context("link"),
    }
    loop {
        match link(&aside) {
            Ok(()) => return named(&aside, path),
            // Left by one that was killed in this moment and had the same number.
            Err(Errno::EXIST) => aside.as_mut_os_string().push("_"),
            Err(errno) => return Err(std::io::Error::from(errno)).context("link"),
        }
    }
}

fn beside(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>, aside: &Path) -> Result<()> {
    let mut file = fs_err::File::create_new(aside)?;
    match write(&mut file) {
        Ok(()) => named(aside, path),
        Err(error) => {
            // The error is what is told.
            let _ = fs_err::remove_file(aside);
            Err(error)
        }
    }
}

fn named(aside: &Path, path: &Path) -> Result<()> {
    Ok(fs_err::rename(aside, path).inspect_err(|_| drop(fs_err::remove_file(aside)))?)
}
