//! Layers that are unpacked, for overlay to stack.

use super::digest::Digest;
use super::store::Store;
use super::temporary::{self, Temporary};
use super::unpack::Owners;
use super::worker::{self, DIFF, OWNERS, Task, Unpacked};
use crate::error::Failure;
use crate::userns::idmap::IdMaps;
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Child;

/// What is known of a layer, beside its files.
const ABOUT: &str = "layer.json";
/// Names of directories are shortened digests, since all of a container's must fit in one page for mount(2): 96 bits,
/// and the whole digest is compared.
const NAME_LENGTH: usize = 24;

/// What is known of an unpacked layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// What was unpacked.
    #[serde(flatten)]
    pub unpacked: Unpacked,
    /// The ids of its files.
    pub maps: IdMaps,
    /// What became of their owners.
    pub owners: Owners,
}

/// The unpacked layers of a store.
#[derive(Debug)]
pub struct Layers<'a> {
    store: &'a Store,
    dir: PathBuf,
}

impl<'a> Layers<'a> {
    /// Those in this directory.
    pub fn new(store: &'a Store, dir: PathBuf) -> Layers<'a> {
        Layers { store, dir }
    }

    /// The directory of a layer that is there.
    pub fn find(&self, diff_id: &Digest) -> Result<Option<PathBuf>> {
        let dir = self.path(diff_id);
        let Some(about) = about(&dir)? else { return Ok(None) };
        ensure!(
            about.unpacked.diff_id == *diff_id,
            "{}: is layer {}, not {diff_id}",
            dir.display(),
            about.unpacked.diff_id
        );
        Ok(Some(dir))
    }

    /// True if a layer is there and was seen to be what this blob has.
    pub fn is_of(&self, diff_id: &Digest, blob: &Digest) -> Result<bool> {
        Ok(self.find(diff_id)?.is_some_and(|dir| mark(&dir, blob).exists()))
    }

    /// Writes down that a layer is what this blob has.
    pub fn note(&self, diff_id: &Digest, blob: &Digest) -> Result<()> {
        Ok(fs_err::write(mark(&self.path(diff_id), blob), "")?)
    }

    /// What is known of a layer; `None` if it is not there.
    pub fn about(&self, diff_id: &Digest) -> Result<Option<About>> {
        about(&self.path(diff_id))
    }

    /// Where the files of a layer are, given its directory.
    pub fn files(dir: &Path) -> PathBuf {
        dir.join(DIFF)
    }

    /// How many bytes the files of a layer have that are there; `None` if that is the directory of no layer.
    pub fn bytes(files: &Path) -> Option<u64> {
        let dir = files.parent().filter(|_| files.file_name().is_some_and(|name| name == DIFF))?;
        about(dir).ok().flatten().map(|about| about.unpacked.report.bytes)
    }

    /// Where the owners of its files are written down.
    pub fn owners(dir: &Path) -> PathBuf {
        dir.join(OWNERS)
    }

    /// The directory of the layer that has its files there; `None` if that is no layer of this store.
    pub fn with_files(&self, files: &Path) -> Option<PathBuf> {
        let dir = files.parent().filter(|_| files.file_name().is_some_and(|name| name == DIFF))?;
        (dir.parent() == Some(&self.dir)).then(|| dir.to_owned())
    }

    /// Begins to unpack a layer.
    pub fn unpack(&self) -> Result<Unpacking<'a>> {
        let temporary = Temporary::directory(self.store)?;
        let task = Task::Unpack {
            dir: temporary.path().to_owned(),
            maps: self.store.maps().clone(),
            owners: self.store.owners(),
        };
        Ok(Unpacking { store: self.store, layers: self.dir.clone(), temporary, worker: Some(worker::start(&task)?) })
    }

    /// Copies layers, the lowest first, into a new directory `name` in `dir`, as an overlay of them would show them.
    pub fn flatten(layers: Vec<PathBuf>, dir: &Path, name: &str, maps: IdMaps) -> Result<()> {
        let mut child = worker::start(&Task::Copy { layers, dir: dir.to_owned(), name: name.to_owned(), maps })?;
        drop(child.stdin.take());
        worker::result(child)
    }

    fn path(&self, diff_id: &Digest) -> PathBuf {
        path_in(&self.dir, diff_id)
    }
}

fn path_in(dir: &Path, diff_id: &Digest) -> PathBuf {
    dir.join(name(diff_id))
}

/// The mark that a layer is what a blob has. Without it the blob is unpacked again to see.
fn mark(dir: &Path, blob: &Digest) -> PathBuf {
    dir.join(format!("of-{}-{}", blob.algorithm().name(), blob.hex()))
}

/// The name of a layer's directory.
pub fn name(diff_id: &Digest) -> &str {
    &diff_id.hex()[..NAME_LENGTH]
}

/// What is known of the layer in a directory; `None` if there is none.
pub fn about(dir: &Path) -> Result<Option<About>> {
    let text = match fs_err::read(dir.join(ABOUT)) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    serde_json::from_slice(&text).map(Some).with_context(|| dir.join(ABOUT).display().to_string())
}

/// A layer in the making. Dropped, nothing of it is left.
#[derive(Debug)]
pub struct Unpacking<'a> {
    store: &'a Store,
    layers: PathBuf,
    // The worker must have ended before its directory goes: fields are dropped in order, and `drop` comes first.
    temporary: Temporary<'a>,
    worker: Option<Child>,
}

impl Unpacking<'_> {
    /// Gives the next bytes of the archive, as packed as it is.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let pipe = self.worker.as_mut().and_then(|worker| worker.stdin.as_mut()).context("unpack: no worker")?;
        match pipe.write_all(bytes) {
            // It has given up, and says why.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(self.why()),
            result => Ok(result?),
        }
    }

    /// Ends the archive; its digest without compression must be this one.
    pub fn finish(self, diff_id: &Digest) -> Result<Unpacked> {
        self.end(Some(diff_id))
    }

    /// Ends the archive, whatever its digest is.
    pub fn finish_new(self) -> Result<Unpacked> {
        self.end(None)
    }

    fn end(mut self, wanted: Option<&Digest>) -> Result<Unpacked> {
        let worker = self.worker.take().context("unpack: no worker")?;
        let unpacked: Unpacked = worker::result(worker).context("unpack")?;
        if let Some(wanted) = wanted.filter(|wanted| **wanted != unpacked.diff_id) {
            let is = &unpacked.diff_id;
            bail!("unpack: the layer should be {wanted} without its compression, and is {is}");
        }
        let about = About { unpacked, maps: self.store.maps().clone(), owners: self.store.owners() };
        let text = serde_json::to_vec(&about)?;
        let unpacked = about.unpacked;
        let mut about = fs_err::File::create(self.temporary.path().join(ABOUT))?;
        about.write_all(&text)?;
        about.sync_all()?;
        fs_err::create_dir_all(&self.layers)?;
        let path = path_in(&self.layers, &unpacked.diff_id);
        if !self.temporary.keep_as(&path)? && self::about(&path)?.is_none() {
            // Somebody has damaged the one that is there: it is no layer any more.
            temporary::condemn(self.store, &path)?.remove(self.store)?;
            self.temporary.keep_as(&path)?;
        }
        Ok(unpacked)
    }

    /// Ends the archive and tells what is different in a layer that was unpacked before, also that it cannot be read;
    /// nothing is kept. An error is one of unpacking and says nothing of that layer.
    pub fn compare(mut self, dir: &Path) -> Result<Option<String>> {
        let worker = self.worker.take().context("unpack: no worker")?;
        worker::result::<Unpacked>(worker).context("unpack")?;
        Ok(self.difference(dir).unwrap_or_else(|error| Some(Failure::from(&error).message)))
    }

    fn difference(&self, dir: &Path) -> Result<Option<String>> {
        let own = self.temporary.path();
        if fs_err::read(own.join(OWNERS))? != fs_err::read(dir.join(OWNERS))? {
            return Ok(Some("the table of owners".to_owned()));
        }
        let dirs = vec![own.join(DIFF), dir.join(DIFF)];
        let mut child = worker::start(&Task::Compare { dirs, maps: self.store.maps().clone() })?;
        drop(child.stdin.take());
        worker::result(child).context("compare")
    }

    fn why(&mut self) -> anyhow::Error {
        match self.worker.take().map(worker::result::<Unpacked>) {
            Some(Err(error)) => error.context("unpack"),
            _ => anyhow::anyhow!("unpack: the worker has ended early"),
        }
    }
}

impl Drop for Unpacking<'_> {
    fn drop(&mut self) {
        if let Some(mut worker) = self.worker.take() {
            // It may have ended; waiting collects it in any case.
            let _ = worker.kill();
            let _ = worker.wait();
            // Its copy in the sandbox dies with it and has the pipe as well: at its end nobody writes any more.
            let _ = worker.stdout.take().map(|mut pipe| std::io::copy(&mut pipe, &mut std::io::sink()));
        }
    }
}

pub use super::whiteout::is_opaque;
