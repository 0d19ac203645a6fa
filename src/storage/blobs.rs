//! Content by digest, as files of an OCI image layout.

use super::digest::{Algorithm, Digest, Hasher};
use super::store::Store;
use super::temporary::Temporary;
use crate::error::Advise;
use crate::sys::{self, Named};
use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::io::Errno;
use std::io::{Error, ErrorKind};
use std::path::PathBuf;

/// Those that have directories in the layout.
pub const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

/// The blobs of a store.
#[derive(Debug, Clone, Copy)]
pub struct Blobs<'a> {
    store: &'a Store,
}

impl<'a> Blobs<'a> {
    /// Those of this store.
    pub fn new(store: &'a Store) -> Blobs<'a> {
        Blobs { store }
    }

    /// Where a blob is, or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.store.images().join("blobs").join(digest.algorithm().name()).join(digest.hex())
    }

    /// The length of a blob; `None` if it is not there.
    pub fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        let path = self.path(digest);
        match rustix::fs::stat(&path) {
            Ok(stat) => Ok(Some(stat.st_size as u64)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno).named(|| format!("stat({})", path.display())).map_err(Into::into),
        }
    }

    /// All that are there of one algorithm.
    pub fn all(&self, algorithm: Algorithm) -> Result<Vec<Digest>> {
        let entries = match fs_err::read_dir(self.store.images().join("blobs").join(algorithm.name())) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut all = Vec::new();
        for entry in entries {
            // What has another name is somebody else's.
            let name = entry?.file_name().into_string().unwrap_or_default();
            all.extend(format!("{}:{name}", algorithm.name()).parse::<Digest>().ok());
        }
        Ok(all)
    }

    /// Deletes a blob; one that is not there is no error.
    pub fn remove(&self, digest: &Digest) -> Result<()> {
        match fs_err::remove_file(self.path(digest)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Reads a whole blob and says whether its content has its digest.
    pub fn is_whole(&self, digest: &Digest) -> Result<bool> {
        let mut file = fs_err::File::open(self.path(digest))?;
        let mut hasher = Hasher::new(digest.algorithm());
        let mut buffer = vec![0; super::compression::BUFFER];
        loop {
            match std::io::Read::read(&mut file, &mut buffer)? {
                0 => return Ok(hasher.finish() == *digest),
                length => hasher.update(&buffer[..length]),
            }
        }
    }

    /// True if it is there and as long as it has to be.
    pub fn has(&self, digest: &Digest, size: u64) -> Result<bool> {
        Ok(self.size(digest)? == Some(size))
    }

    /// A blob that is wanted whole, such as a manifest: at most `limit` bytes, and its digest checked.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        let mend = || "`rbox system check --repair` fetches it again".to_owned();
        let size = self.size(digest)?.with_context(|| format!("{digest}: not in the store")).hint(mend)?;
        ensure!(size <= limit, "{digest}: {size} bytes, more than {limit}");
        let bytes = fs_err::read(self.path(digest))?;
        let mut hasher = Hasher::new(digest.algorithm());
        hasher.update(&bytes);
        match hasher.finish() == *digest {
            true => Ok(bytes),
            false => Err(anyhow!("{digest}: damaged in the store")).hint(mend),
        }
    }

    /// Puts bytes that are at hand.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        if !self.has(&digest, bytes.len() as u64)? {
            let mut writer = self.writer(&digest)?;
            writer.write(bytes)?;
            writer.finish()?;
        }
        Ok(digest)
    }

    /// Begins a blob of this digest.
    pub fn writer(&self, digest: &Digest) -> Result<Writer<'a>> {
        self.begin(Hasher::new(digest.algorithm()), Some(digest.clone()))
    }

    /// Begins a blob whose digest (sha256) is what comes out.
    pub fn writer_of_new(&self) -> Result<Writer<'a>> {
        self.begin(Hasher::new(Algorithm::Sha256), None)
    }

    fn begin(&self, hasher: Hasher, digest: Option<Digest>) -> Result<Writer<'a>> {
        Ok(Writer { blobs: *self, digest, hasher, file: Temporary::file(self.store)?, length: 0 })
    }
}

/// A blob in the making.
#[derive(Debug)]
pub struct Writer<'a> {
    blobs: Blobs<'a>,
    /// What it has to be, if that is known.
    digest: Option<Digest>,
    hasher: Hasher,
    file: Temporary<'a>,
    length: u64,
}

impl Writer<'_> {
    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.file.write(bytes)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// How many bytes there are.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Checks the digest, makes the bytes durable and gives them their name, which is what comes back.
    pub fn finish(self) -> Result<Digest> {
        let got = self.hasher.finish();
        match self.digest {
            Some(wanted) if wanted != got => bail!("{wanted}: what came has another digest: {got}"),
            _ => {}
        }
        self.file.sync()?;
        let path = self.blobs.path(&got);
        if let Some(parent) = path.parent() {
            // sha512 has a directory of its own.
            fs_err::create_dir_all(parent)?;
        }
        // In the place of one that may be damaged: what was checked just now is not.
        self.file.replace(&path)?;
        Ok(got)
    }
}

impl std::io::Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // What kind it is stays known, whoever passes it on.
        let kind =
            |error: &anyhow::Error| sys::errno(error).map_or(ErrorKind::Other, |errno| Error::from(errno).kind());
        Writer::write(self, bytes).map_err(|error| Error::new(kind(&error), error))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
