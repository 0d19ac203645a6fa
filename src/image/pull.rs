//! From a registry into the store.

use super::catalog::Catalog;
use super::document;
use super::manifest::{self, Descriptor, Document, Manifest, Platform};
use super::reference::Reference;
use super::registry::{Access, Client};
use super::transfers::{self, Stop};
use super::view::Image;
use crate::error::Advise;
use crate::storage::blobs::Writer;
use crate::storage::digest::Digest;
use crate::storage::store::Store;
use crate::storage::temporary;
use anyhow::{Context, Result, bail, ensure};
use oci_spec::image::ImageConfiguration;
use std::collections::HashSet;
use std::io::Read;

/// A layer is not longer.
const MAX_LAYER: u64 = 1 << 40;
const CHUNK: usize = 256 * 1024;

/// Who is told how far it is. Called from several threads.
pub trait Progress: Sync {
    /// A layer of so many bytes begins.
    fn begin(&self, layer: &Digest, size: u64);
    /// More bytes of it have come.
    fn advance(&self, layer: &Digest, bytes: u64);
    /// It is here, or was before.
    fn end(&self, layer: &Digest, was_there: bool);
    /// Somebody else fetches it: process, if known.
    fn waiting(&self, layer: &Digest, holder: Option<i32>);
    /// A registry had it in another repository of its own.
    fn mounted(&self, layer: &Digest, from: &str) {
        let _ = (layer, from);
    }
    /// A mirror could not be used; the next place is.
    fn passed_over(&self, place: &Reference, error: &anyhow::Error) {
        let _ = (place, error);
    }
}

/// Fetches what is missing of an image from a place and gives it its name. Returns its manifest's descriptor.
pub fn pull(
    store: &Store,
    image: &Reference,
    from: &Reference,
    access: &Access,
    platform: &Platform,
    progress: &dyn Progress,
) -> Result<Descriptor> {
    let _in_use = store.in_use()?;
    // What cannot be removed is no reason not to go on: `system check` tells of it.
    let _ = temporary::sweep(store);
    let client = Client::connect(from, access)?;
    let mut fetched = client.manifest(&from.version())?;
    let manifest = match manifest::read(&fetched.bytes, &fetched.media_type)? {
        Document::Manifest(manifest) => manifest,
        Document::Index(index) => {
            let chosen = platform.choose(&index)?;
            fetched = client.manifest(&chosen.digest.to_string())?;
            ensure!(fetched.bytes.len() as u64 == chosen.size, "manifest {}: not as long as announced", chosen.digest);
            match manifest::read(&fetched.bytes, &fetched.media_type)? {
                Document::Manifest(manifest) => manifest,
                Document::Index(_) => bail!("manifest {}: an index within an index", chosen.digest),
            }
        }
    };
    let config = configuration(store, &client, &manifest)?;
    check_platform(&config, platform)?;
    let diff_ids = diff_ids(&config)?;
    ensure!(
        diff_ids.len() == manifest.layers.len(),
        "configuration: {} layers, and the manifest has {}",
        diff_ids.len(),
        manifest.layers.len()
    );
    layers(store, Some(&client), &manifest.layers, &diff_ids, progress)?;
    let blobs = store.blobs();
    if !blobs.has(&fetched.digest, fetched.bytes.len() as u64)? {
        let mut writer = blobs.writer(&fetched.digest)?;
        writer.write(&fetched.bytes)?;
        writer.finish()?;
    }
    let descriptor = Descriptor {
        media_type: fetched.media_type,
        digest: fetched.digest,
        size: fetched.bytes.len() as u64,
        platform: Some(of_config(&config)),
        annotations: Default::default(),
    };
    Catalog::new(store).set(image, &descriptor)?;
    Ok(descriptor)
}

/// Fetches what has gone of an image that was here whole, from a place that has it, and again what is `damaged`, which
/// stays until it is replaced. Its names stay.
pub fn mend(
    store: &Store,
    image: &Descriptor,
    damaged: &HashSet<Digest>,
    from: &Reference,
    access: &Access,
    progress: &dyn Progress,
) -> Result<()> {
    let _in_use = store.in_use()?;
    let blobs = store.blobs();
    let client = Client::connect(from, access)?;
    if damaged.contains(&image.digest) || !blobs.has(&image.digest, image.size)? {
        let fetched = client.manifest(&image.digest.to_string())?;
        let mut writer = blobs.writer(&image.digest)?;
        writer.write(&fetched.bytes)?;
        writer.finish()?;
    }
    let bytes = blobs.read(&image.digest, super::registry::MAX_MANIFEST)?;
    let Document::Manifest(manifest) = manifest::read(&bytes, &image.media_type)? else {
        bail!("manifest {}: an index", image.digest);
    };
    for part in [&manifest.config].into_iter().chain(&manifest.layers).filter(|part| damaged.contains(&part.digest)) {
        fetch(&client, blobs.writer(&part.digest)?, part).with_context(|| format!("blob {}", part.digest))?;
    }
    let config = configuration(store, &client, &manifest)?;
    layers(store, Some(&client), &manifest.layers, &diff_ids(&config)?, progress)
}

/// The configuration, from the store or the registry.
fn configuration(store: &Store, client: &Client, manifest: &Manifest) -> Result<ImageConfiguration> {
    let (digest, size) = (&manifest.config.digest, manifest.config.size);
    let blobs = store.blobs();
    if !blobs.has(digest, size)? {
        // A moment, of which nobody needs to be told.
        let _turn = store.for_blob(digest, |_| {})?;
        if !blobs.has(digest, size)? {
            fetch(client, blobs.writer(digest)?, &manifest.config)?;
        }
    }
    let bytes = blobs.read(digest, manifest::MAX_CONFIG)?;
    document::read(&bytes).with_context(|| format!("configuration {digest}"))
}

/// A blob that is not unpacked.
fn fetch(client: &Client, mut writer: Writer<'_>, blob: &Descriptor) -> Result<()> {
    client.blob(&blob.digest, blob.size, |bytes| writer.write(bytes))?;
    writer.finish().map(drop)
}

/// What an image says that it runs on.
pub fn of_config(config: &ImageConfiguration) -> Platform {
    Platform {
        architecture: config.architecture().to_string(),
        os: config.os().to_string(),
        variant: None,
        rest: Default::default(),
    }
}

/// An image for one platform alone has no index to choose from.
pub fn check_platform(config: &ImageConfiguration, wanted: &Platform) -> Result<()> {
    let own = of_config(config);
    ensure!(
        (&own.os, &own.architecture) == (&wanted.os, &wanted.architecture),
        "the image is for {own}, not for {wanted}"
    );
    Ok(())
}

/// The digests of the layers without compression, the lowest first.
pub fn diff_ids(config: &ImageConfiguration) -> Result<Vec<Digest>> {
    config.rootfs().diff_ids().iter().map(|text| text.parse().context("configuration: diff_ids")).collect()
}

/// Unpacks what is missing of an image whose blobs are there: for other ids than it was pulled for.
pub fn unpack(store: &Store, image: &Image, progress: &dyn Progress) -> Result<()> {
    let _in_use = store.in_use()?;
    layers(store, None, &image.manifest.layers, &image.diff_ids, progress)
}

/// Fetches and unpacks what is missing, several at a time.
fn layers(
    store: &Store,
    client: Option<&Client>,
    layers: &[Descriptor],
    diff_ids: &[Digest],
    progress: &dyn Progress,
) -> Result<()> {
    // The same layer may be there twice; it is fetched once.
    let mut todo: Vec<(&Descriptor, &Digest)> = Vec::new();
    for pair in layers.iter().zip(diff_ids) {
        if !todo.contains(&pair) {
            todo.push(pair);
        }
    }
    transfers::all(&todo, |(descriptor, diff_id), stop| {
        layer(store, client, descriptor, diff_id, progress, stop)
            .with_context(|| format!("layer {}", descriptor.digest))
    })
}

/// One layer: its blob into the store and its files into a directory, at the same time.
fn layer(
    store: &Store,
    client: Option<&Client>,
    descriptor: &Descriptor,
    diff_id: &Digest,
    progress: &dyn Progress,
    stop: &Stop,
) -> Result<()> {
    let Descriptor { digest, size, .. } = descriptor;
    ensure!(*size <= MAX_LAYER, "{size} bytes, more than {MAX_LAYER}");
    let (blobs, unpacked) = (store.blobs(), store.layers());
    // That both are here does not say that one is the other.
    let is_here = || -> Result<bool> { Ok(blobs.has(digest, *size)? && unpacked.is_of(diff_id, digest)?) };
    if is_here()? {
        progress.end(digest, true);
        return Ok(());
    }
    let _turn = store.for_blob(digest, |holder| progress.waiting(digest, holder))?;
    // Whoever had the lock before may have fetched it.
    if is_here()? {
        progress.end(digest, true);
        return Ok(());
    }
    let mut files = unpacked.unpack()?;
    progress.begin(digest, *size);
    let mut pass = |bytes: &[u8]| -> Result<()> {
        stop.check()?;
        progress.advance(digest, bytes.len() as u64);
        files.write(bytes)
    };
    if blobs.has(digest, *size)? {
        let mut file = fs_err::File::open(blobs.path(digest))?;
        let mut buffer = vec![0; CHUNK];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                length => pass(&buffer[..length])?,
            }
        }
    } else {
        let client = client.context("is not in the store").hint(|| "`rbox pull` fetches what is missing".to_owned())?;
        let mut blob = blobs.writer(digest)?;
        client.blob(digest, *size, |bytes| {
            blob.write(bytes)?;
            pass(bytes)
        })?;
        blob.finish()?;
    }
    files.finish(diff_id)?;
    unpacked.note(diff_id, digest)?;
    progress.end(digest, false);
    Ok(())
}
