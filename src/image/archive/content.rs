//! The files of an archive, taken into the store as they come: a stream is read once, and what a file is for is known
//! only at its end. Each becomes a blob; what no image names afterwards is deleted with all else that nothing names.

use crate::storage::blobs::Blobs;
use crate::storage::compression::{self, BUFFER, Compression};
use crate::storage::digest::Digest;
use crate::storage::store::Store;
use crate::storage::tar::{Entry, Kind, Reader};
use anyhow::{Context, Result, bail, ensure};
use std::collections::{HashMap, HashSet};
use std::io::{BufReader, Read};
use std::path::Path;

/// No archive of images has more files.
const MAX_FILES: usize = 100_000;
/// As many links lead from one to the next.
const MAX_LINKS: usize = 10;

/// What was taken in.
pub struct Content<'a> {
    blobs: Blobs<'a>,
    files: HashMap<String, (Digest, u64)>,
    links: HashMap<String, String>,
    digests: HashSet<Digest>,
}

impl<'a> Content<'a> {
    fn new(store: &'a Store) -> Content<'a> {
        let (files, links, digests) = (HashMap::new(), HashMap::new(), HashSet::new());
        Content { blobs: store.blobs(), files, links, digests }
    }

    /// Reads a tar stream, whatever it is packed with.
    pub fn of_stream(store: &'a Store, source: impl Read) -> Result<Content<'a>> {
        let mut content = Content::new(store);
        let (_, plain) = compression::decode(source)?;
        let mut reader = Reader::new(BufReader::with_capacity(BUFFER, plain));
        while let Some(entry) = reader.next_entry()? {
            content.entry(&entry, &mut reader).with_context(|| String::from_utf8_lossy(&entry.path).into_owned())?;
        }
        Ok(content)
    }

    /// Reads a directory.
    pub fn of_directory(store: &'a Store, dir: &Path) -> Result<Content<'a>> {
        let mut content = Content::new(store);
        let mut todo = vec![dir.to_owned()];
        while let Some(next) = todo.pop() {
            for entry in fs_err::read_dir(next)? {
                let entry = entry?;
                let path = entry.path();
                match entry.file_type()? {
                    kind if kind.is_dir() => todo.push(path),
                    kind if kind.is_file() => {
                        let name = path.strip_prefix(dir)?.to_string_lossy().into_owned();
                        content.take(name, &mut fs_err::File::open(&path)?)?;
                    }
                    _ => {}
                }
            }
        }
        Ok(content)
    }

    fn entry<R: Read>(&mut self, entry: &Entry, reader: &mut Reader<R>) -> Result<()> {
        let path = clean(&entry.path)?;
        match entry.kind {
            Kind::Regular => {
                ensure!(entry.pieces.is_none(), "a sparse file, which no archive of images has");
                self.take(path, &mut Data(reader))?;
            }
            Kind::Symlink => {
                let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
                let target = clean(&[parent.as_bytes(), b"/", entry.link.as_slice()].concat())?;
                self.links.insert(path, target);
            }
            Kind::Hardlink => drop(self.links.insert(path, clean(&entry.link)?)),
            _ => {}
        }
        ensure!(self.files.len() + self.links.len() <= MAX_FILES, "more than {MAX_FILES} files");
        Ok(())
    }

    fn take(&mut self, path: String, data: &mut dyn Read) -> Result<()> {
        let mut blob = self.blobs.writer_of_new()?;
        let mut buffer = vec![0; BUFFER];
        loop {
            match data.read(&mut buffer)? {
                0 => break,
                length => blob.write(&buffer[..length])?,
            }
        }
        let size = blob.length();
        let digest = blob.finish()?;
        self.digests.insert(digest.clone());
        self.files.insert(path, (digest, size));
        Ok(())
    }

    /// True if there is a file of this name.
    pub fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// The blob that a file became, and its length.
    pub fn blob(&self, path: &str) -> Result<(Digest, u64)> {
        let mut path = clean(path.as_bytes())?;
        for _ in 0..MAX_LINKS {
            match (self.files.get(&path), self.links.get(&path)) {
                (Some(file), _) => return Ok(file.clone()),
                (None, Some(target)) => path.clone_from(target),
                (None, None) => bail!("{path}: not in the archive"),
            }
        }
        bail!("{path}: links lead in circles")
    }

    /// A small file.
    pub fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>> {
        let (digest, _) = self.blob(path)?;
        self.blobs.read(&digest, limit).context(path.to_owned())
    }

    /// A small blob that an archive names.
    pub fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        self.blobs.read(digest, limit)
    }

    /// Refuses what an archive names and does not have, here or in the store.
    pub fn require(&self, digest: &Digest, size: u64) -> Result<()> {
        let there = self.digests.contains(digest) || self.blobs.has(digest, size)?;
        ensure!(there, "{digest}: not in the archive");
        ensure!(self.blobs.has(digest, size)?, "{digest}: not as long as announced: {size} bytes");
        Ok(())
    }

    /// How a blob is packed.
    pub fn compression(&self, digest: &Digest) -> Result<Compression> {
        Ok(compression::decode(fs_err::File::open(self.blobs.path(digest))?)?.0)
    }
}

/// The data of the entry that a reader is at.
struct Data<'a, R>(&'a mut Reader<R>);

impl<R: Read> Read for Data<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read_data(buffer).map_err(std::io::Error::other)
    }
}

/// A path without ".", ".." and double slashes. It is a key, never the name of a file.
fn clean(path: &[u8]) -> Result<String> {
    let text = std::str::from_utf8(path).context("a name that is not UTF-8")?;
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => ensure!(parts.pop().is_some(), "leads out of the archive"),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}
