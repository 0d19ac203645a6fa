//! From the store into a registry, byte for byte as it is here.

use super::catalog::Catalog;
use super::manifest::{self, Descriptor, Document};
use super::pull::Progress;
use super::reference::Reference;
use super::registry::{Access, Client, MAX_MANIFEST, Pushed};
use super::transfers::{self, Stop};
use crate::error::Advise;
use crate::storage::digest::Digest;
use crate::storage::store::Store;
use anyhow::{Context, Result, bail};
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;

/// Sends an image under a name: the layers that are missing there, the configuration, at last the manifest. What other
/// images are called helps: a registry need not be sent what it has in another repository.
pub fn push(store: &Store, image: &Descriptor, to: &Reference, access: &Access, progress: &dyn Progress) -> Result<()> {
    let _in_use = store.in_use()?;
    let bytes = store.blobs().read(&image.digest, MAX_MANIFEST)?;
    let Document::Manifest(manifest) = manifest::read(&bytes, &image.media_type)? else {
        bail!("manifest {}: an index", image.digest);
    };
    let client = Client::connect(to, access)?;
    let elsewhere = elsewhere(store, to)?;
    let one = |blob: &Descriptor, stop: &Stop| {
        blob_to(store, &client, blob, &elsewhere, progress, stop).with_context(|| format!("layer {}", blob.digest))
    };
    let mut layers: Vec<Descriptor> = Vec::new();
    for layer in manifest.layers {
        // The same layer may be there twice; it is sent once.
        if !layers.iter().any(|known| known.digest == layer.digest) {
            layers.push(layer);
        }
    }
    transfers::all(&layers, one)?;
    let config = &manifest.config;
    blob_to(store, &client, config, &elsewhere, &Silent, &Stop::default())
        .with_context(|| format!("configuration {}", config.digest))?;
    // Last: where the name is, all of the image is.
    client.put_manifest(&to.version(), &bytes, &media_type(image, &bytes), &image.digest)
}

/// A manifest says itself what it is, or who brought it said so.
fn media_type(image: &Descriptor, bytes: &[u8]) -> String {
    let own: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
    let own = own["mediaType"].as_str().filter(|own| !own.is_empty());
    own.or(Some(image.media_type.as_str()).filter(|told| !told.is_empty())).unwrap_or(manifest::OCI_MANIFEST).to_owned()
}

/// The configuration is no layer, and nothing is shown of it.
struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &Digest, _: u64) {}
    fn advance(&self, _: &Digest, _: u64) {}
    fn end(&self, _: &Digest, _: bool) {}
    fn waiting(&self, _: &Digest, _: Option<i32>) {}
}

/// Which other repository of the registry has a blob, by what images here are called.
fn elsewhere(store: &Store, to: &Reference) -> Result<HashMap<Digest, String>> {
    let mut found = HashMap::new();
    for image in Catalog::new(store).all()? {
        let name = image.name().and_then(|name| Reference::parse(name).ok());
        let there = name.filter(|name| name.registry == to.registry && name.repository != to.repository);
        let Some(name) = there else { continue };
        // An image that is damaged helps nobody, and is none of this one's business.
        let Ok(bytes) = store.blobs().read(&image.digest, MAX_MANIFEST) else { continue };
        let Ok(Document::Manifest(manifest)) = manifest::read(&bytes, &image.media_type) else { continue };
        for blob in manifest.layers.into_iter().chain([manifest.config]) {
            found.insert(blob.digest, name.repository.clone());
        }
    }
    Ok(found)
}

fn blob_to(
    store: &Store,
    client: &Client,
    blob: &Descriptor,
    elsewhere: &HashMap<Digest, String>,
    progress: &dyn Progress,
    stop: &Stop,
) -> Result<()> {
    let Descriptor { digest, size, .. } = blob;
    if client.has_blob(digest)? {
        progress.end(digest, true);
        return Ok(());
    }
    if !store.blobs().has(digest, *size)? {
        return Err(anyhow::anyhow!("is not in the store")).hint(|| "`rbox pull` fetches what is missing".to_owned());
    }
    let from = elsewhere.get(digest).map(String::as_str);
    let open = || -> Result<Box<dyn Read + '_>> {
        stop.check()?;
        // Shown anew, for another attempt sends all of it again.
        progress.begin(digest, *size);
        let file = fs_err::File::open(store.blobs().path(digest))?.into_file();
        Ok(Box::new(Counted { file, digest, progress, stop }))
    };
    match client.push_blob(digest, *size, from, &open)? {
        Pushed::Sent => progress.end(digest, false),
        Pushed::Mounted => progress.mounted(digest, from.unwrap_or_default()),
    }
    Ok(())
}

/// A file that tells how much of it was read.
struct Counted<'a> {
    file: File,
    digest: &'a Digest,
    progress: &'a dyn Progress,
    stop: &'a Stop,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.stop.check().map_err(std::io::Error::other)?;
        let length = self.file.read(buffer)?;
        self.progress.advance(self.digest, length as u64);
        Ok(length)
    }
}
