//! Files that tell a caller of a container: `--cidfile`, `--pidfile`.

use crate::sys::{Named, process};
use anyhow::{Context, Result, bail};
use rustix::fs::{Mode, OFlags};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A file for a container's id. It goes with this value unless the id was written.
#[derive(Debug)]
pub struct CidFile(Option<(PathBuf, fs_err::File)>);

impl CidFile {
    /// Makes it; it must not be there.
    pub fn new(path: &Path) -> Result<CidFile> {
        match fs_err::File::create_new(path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                bail!("--cidfile {}: the file is there already: another container may have it", path.display())
            }
            file => Ok(CidFile(Some((path.to_owned(), file.context("--cidfile")?)))),
        }
    }

    /// Writes the id: it stays.
    pub fn write(mut self, id: &str) -> Result<()> {
        if let Some((_, file)) = &mut self.0 {
            file.write_all(id.as_bytes()).context("--cidfile")?;
        }
        self.0 = None;
        Ok(())
    }
}

impl Drop for CidFile {
    fn drop(&mut self) {
        if let Some((path, _)) = &self.0 {
            // The error is what is told.
            let _ = rustix::fs::unlink(path);
        }
    }
}

/// A file with the number of the first process, removed with this value.
#[derive(Debug)]
pub struct PidFile(PathBuf);

impl PidFile {
    /// Written aside and renamed, so that whoever waits for the file never reads half a number.
    pub fn write(path: &Path, pid: i32) -> Result<PidFile> {
        let (dir, name) =
            (path.parent().context("--pidfile: no file")?, path.file_name().context("--pidfile: no file")?);
        // A name that nobody else has.
        let aside = dir.join(format!(".{}.{pid}.{}", name.to_string_lossy(), process::pid()));
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::open(&aside, flags, Mode::from_raw_mode(0o644))
            .named(|| format!("open({})", aside.display()))
            .context("--pidfile")?;
        let text = pid.to_string();
        let written = rustix::io::write(&file, text.as_bytes()).named(|| format!("write({})", aside.display()));
        let result = written
            .map_err(Into::into)
            .and_then(|length| if length == text.len() { Ok(()) } else { bail!("a short write") })
            .and_then(|()| Ok(fs_err::rename(&aside, path)?));
        if result.is_err() {
            // The error is what is told.
            let _ = rustix::fs::unlink(&aside);
        }
        result.context("--pidfile")?;
        Ok(PidFile(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = rustix::fs::unlink(&self.0);
    }
}
