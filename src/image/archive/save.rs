//! Images of the store into an archive. Blobs go as they are, so that every digest stays.

use super::{CONTAINERD_NAME, INDEX, LAYOUT, MANIFEST};
use crate::error::Advise;
use crate::image::manifest::{Descriptor, NAME, OCI_INDEX};
use crate::image::reference::Reference;
use crate::image::view::Image;
use crate::storage::compression::BUFFER;
use crate::storage::digest::{Digest, Hasher};
use crate::storage::store::{LAYOUT_MARKER, Store};
use crate::storage::tar::{Entry, Kind, Writer};
use anyhow::{Context, Result, anyhow, ensure};
use serde_json::json;
use std::collections::HashSet;
use std::io::{Read, Write};
use std::path::Path;

/// What kind of archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As docker since 25: an OCI image layout with docker's list beside it, which older readers look for.
    Docker,
    /// The layout alone.
    Oci,
}

/// An image and the names under which it is to be found again; none, if it was asked for by its id.
#[derive(Debug)]
pub struct Saved {
    /// The image.
    pub image: Image,
    /// Its names.
    pub names: Vec<Reference>,
}

/// Writes a tar stream.
pub fn save(store: &Store, images: &[Saved], form: Form, sink: impl Write) -> Result<()> {
    let mut tar = Writer::new(sink);
    let small = |tar: &mut Writer<_>, path: &str, bytes: &[u8]| -> Result<()> {
        tar.entry(&entry(Kind::Regular, path, bytes.len() as u64))?;
        Ok(tar.data(bytes)?)
    };
    small(&mut tar, LAYOUT, LAYOUT_MARKER.as_bytes())?;
    small(&mut tar, INDEX, &index(images)?)?;
    if form == Form::Docker {
        small(&mut tar, MANIFEST, &list(images)?)?;
    }
    tar.entry(&entry(Kind::Directory, "blobs/", 0))?;
    tar.entry(&entry(Kind::Directory, "blobs/sha256/", 0))?;
    for (digest, size) in blobs(images) {
        tar.entry(&entry(Kind::Regular, &path_of(&digest), size))?;
        copy(store, &digest, size, |bytes| Ok(tar.data(bytes)?))?;
    }
    tar.finish()?.flush()?;
    Ok(())
}

/// Writes the layout as a directory, which must be empty or missing.
pub fn save_to_directory(store: &Store, images: &[Saved], dir: &Path) -> Result<()> {
    fs_err::create_dir_all(dir)?;
    ensure!(fs_err::read_dir(dir)?.next().is_none(), "{}: not empty", dir.display());
    for (digest, size) in blobs(images) {
        let path = dir.join(path_of(&digest));
        fs_err::create_dir_all(path.parent().context("no parent")?)?;
        let mut file = fs_err::File::create_new(path)?;
        copy(store, &digest, size, |bytes| Ok(file.write_all(bytes)?))?;
    }
    fs_err::write(dir.join(INDEX), index(images)?)?;
    Ok(fs_err::write(dir.join(LAYOUT), LAYOUT_MARKER)?)
}

/// All blobs of the images, each once.
fn blobs(images: &[Saved]) -> Vec<(Digest, u64)> {
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for Saved { image, .. } in images {
        let parts = [&image.descriptor, &image.manifest.config].into_iter().chain(&image.manifest.layers);
        all.extend(parts.filter(|part| seen.insert(&part.digest)).map(|part| (part.digest.clone(), part.size)));
    }
    all
}

fn path_of(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// One entry for each name; an image without one has one without.
fn index(images: &[Saved]) -> Result<Vec<u8>> {
    let mut manifests: Vec<Descriptor> = Vec::new();
    for Saved { image, names } in images {
        let mut plain = image.descriptor.clone();
        plain.annotations.clear();
        if names.is_empty() {
            manifests.push(plain.clone());
        }
        for name in names {
            let mut named = plain.clone();
            named.annotations.insert(CONTAINERD_NAME.to_owned(), name.to_string());
            named.annotations.insert(NAME.to_owned(), name.to_string());
            manifests.push(named);
        }
    }
    Ok(serde_json::to_vec(&json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests }))?)
}

/// docker's list.
fn list(images: &[Saved]) -> Result<Vec<u8>> {
    let entries: Vec<_> = images
        .iter()
        .map(|Saved { image, names }| {
            json!({
                "Config": path_of(&image.manifest.config.digest),
                // In full: podman takes a short one for its own.
                "RepoTags": names.iter().map(Reference::to_string).collect::<Vec<_>>(),
                "Layers": image.manifest.layers.iter().map(|layer| path_of(&layer.digest)).collect::<Vec<_>>(),
            })
        })
        .collect();
    Ok(serde_json::to_vec(&entries)?)
}

/// Dated 1970, so that the same images make the same archive.
fn entry(kind: Kind, path: &str, size: u64) -> Entry {
    Entry {
        kind,
        path: path.as_bytes().to_vec(),
        link: Vec::new(),
        mode: if kind == Kind::Directory { 0o755 } else { 0o644 },
        uid: 0,
        gid: 0,
        mtime: (0, 0),
        size,
        pieces: None,
        device: (0, 0),
        xattrs: Vec::new(),
    }
}

fn copy(store: &Store, digest: &Digest, size: u64, mut write: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    ensure!(store.blobs().has(digest, size)?, "{digest}: damaged or missing in the store");
    let mut file = fs_err::File::open(store.blobs().path(digest))?;
    let mut buffer = vec![0; BUFFER];
    let mut hasher = Hasher::new(digest.algorithm());
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            length => {
                hasher.update(&buffer[..length]);
                write(&buffer[..length])?;
            }
        }
    }
    let is_whole = if hasher.finish() == *digest { Ok(()) } else { Err(anyhow!("{digest}: damaged in the store")) };
    is_whole.hint(|| "`rbox system check --repair` fetches it again".to_owned())
}
