//! Images from an archive into the store.

use super::content::Content;
use super::{CONTAINERD_NAME, INDEX, LAYOUT, MANIFEST, layer_type};
use crate::error::Advise;
use crate::image::catalog::Catalog;
use crate::image::document;
use crate::image::manifest::{
    self, Descriptor, Document, MAX_CONFIG, Manifest, NAME, OCI_CONFIG, OCI_MANIFEST, Platform,
};
use crate::image::pull::{self, Progress};
use crate::image::reference::Reference;
use crate::image::registry::MAX_MANIFEST;
use crate::image::view::Image;
use crate::storage::store::Store;
use crate::storage::temporary;
use anyhow::{Context, Result, anyhow, bail, ensure};
use oci_spec::image::ImageConfiguration;
use serde::Deserialize;
use std::io::Read;
use std::path::Path;

/// More indexes are not within one another.
const DEPTH: usize = 4;

/// An image that was loaded.
#[derive(Debug)]
pub struct Loaded {
    /// The image.
    pub image: Image,
    /// The names that the archive gives it.
    pub names: Vec<Reference>,
}

/// Where archives come from.
pub enum Source<'a> {
    /// A tar stream.
    Stream(&'a mut dyn Read),
    /// A directory that is an OCI image layout.
    Directory(&'a Path),
}

/// Takes all images of an archive into the store, unpacks them and gives them their names. Of an image for several
/// platforms that for this one is taken.
pub fn load(store: &Store, source: Source<'_>, platform: &Platform, progress: &dyn Progress) -> Result<Vec<Loaded>> {
    let _in_use = store.in_use()?;
    // What cannot be removed is no reason not to go on: `system check` tells of it.
    let _ = temporary::sweep(store);
    let content = match source {
        Source::Stream(stream) => Content::of_stream(store, stream)?,
        Source::Directory(dir) => Content::of_directory(store, dir)?,
    };
    // An archive of docker 25 and later is both, and the layout has the digests that a registry had.
    let images = if content.has(INDEX) && content.has(LAYOUT) {
        of_layout(&content, platform)?
    } else if content.has(MANIFEST) {
        of_docker(store, &content)?
    } else {
        return Err(anyhow!("neither {INDEX} nor {MANIFEST} is in it"))
            .hint(|| "`rbox import` makes an image of an archive of plain files".to_owned());
    };
    ensure!(!images.is_empty(), "no image in it");
    let mut loaded: Vec<Loaded> = Vec::new();
    for (mut descriptor, names) in images {
        descriptor.annotations.clear();
        descriptor.platform = None;
        let image = Image::load(store, descriptor)?;
        document::read::<ImageConfiguration>(&image.bytes).with_context(|| format!("configuration {}", image.id()))?;
        check(&content, &image)?;
        pull::unpack(store, &image, progress)?;
        match loaded.iter_mut().find(|known| known.image.descriptor.digest == image.descriptor.digest) {
            Some(known) => known.names.extend(names),
            None => loaded.push(Loaded { image, names }),
        }
    }
    // Whole, all of them: now they get their names.
    let catalog = Catalog::new(store);
    for Loaded { image, names } in &mut loaded {
        image.descriptor.platform = Some(pull::of_config(&image.config));
        match names.as_slice() {
            [] => catalog.add(&image.descriptor)?,
            names => names.iter().try_for_each(|name| catalog.set(name, &image.descriptor))?,
        }
    }
    Ok(loaded)
}

fn check(content: &Content<'_>, image: &Image) -> Result<()> {
    let Manifest { config, layers } = &image.manifest;
    ensure!(
        layers.len() == image.diff_ids.len(),
        "configuration: {} layers, and the manifest has {}",
        image.diff_ids.len(),
        layers.len()
    );
    [config].into_iter().chain(layers).try_for_each(|part| content.require(&part.digest, part.size))
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

/// The images of an OCI layout.
fn of_layout(content: &Content<'_>, platform: &Platform) -> Result<Vec<(Descriptor, Vec<Reference>)>> {
    let index: Index = document::read(&content.read(INDEX, MAX_MANIFEST)?).context(INDEX)?;
    let mut images = Vec::new();
    for entry in index.manifests {
        let name = name_of(&entry);
        let entry = chosen(content, entry, platform)?;
        images.push((entry, name.into_iter().collect()));
    }
    Ok(images)
}

/// The image for a platform, if an entry stands for several.
fn chosen(content: &Content<'_>, mut entry: Descriptor, platform: &Platform) -> Result<Descriptor> {
    for _ in 0..DEPTH {
        content.require(&entry.digest, entry.size)?;
        let bytes = content.read_blob(&entry.digest, MAX_MANIFEST)?;
        match manifest::read(&bytes, &entry.media_type).with_context(|| entry.digest.to_string())? {
            Document::Manifest(_) => return Ok(entry),
            Document::Index(entries) => entry = platform.choose(&entries)?.clone(),
        }
    }
    bail!("{}: indexes within indexes", entry.digest)
}

/// The name that an entry of a layout gives. A tag alone is the name of nothing.
fn name_of(entry: &Descriptor) -> Option<Reference> {
    let whole = entry.annotations.get(CONTAINERD_NAME);
    let name = whole.or_else(|| entry.annotations.get(NAME).filter(|name| name.contains(['/', ':'])))?;
    plain(Reference::parse(name).ok()?)
}

/// A name with a digest says what content it has; in an archive anybody may say so.
fn plain(name: Reference) -> Option<Reference> {
    name.digest.is_none().then_some(name)
}

/// An entry of docker's list.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// The images of docker's list. They have no manifests, so they get some; the configuration stays as it is, byte by
/// byte, and with it docker's id.
fn of_docker(store: &Store, content: &Content<'_>) -> Result<Vec<(Descriptor, Vec<Reference>)>> {
    let list: Vec<Listed> = document::read(&content.read(MANIFEST, MAX_MANIFEST)?).context(MANIFEST)?;
    let mut images = Vec::new();
    for listed in list {
        let (digest, size) = content.blob(&listed.config)?;
        ensure!(size <= MAX_CONFIG, "{}: a configuration of {size} bytes", listed.config);
        let config = Descriptor::new(OCI_CONFIG, digest, size);
        let layers = listed.layers.unwrap_or_default();
        let layers = layers.iter().map(|path| {
            let (digest, size) = content.blob(path)?;
            Ok(Descriptor::new(layer_type(content.compression(&digest)?), digest, size))
        });
        let manifest = Manifest { config, layers: layers.collect::<Result<_>>()? };
        let bytes = manifest.to_bytes()?;
        let digest = store.blobs().put(&bytes)?;
        let names = listed.repo_tags.unwrap_or_default();
        let names = names.iter().map(|name| Reference::parse(name)).collect::<Result<Vec<_>>>()?;
        let names = names.into_iter().filter_map(plain).collect();
        images.push((Descriptor::new(OCI_MANIFEST, digest, bytes.len() as u64), names));
    }
    Ok(images)
}
