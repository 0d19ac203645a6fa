//! What a container has made of its root: `diff`, `commit`, `export`.

use super::container::{self, Found};
use super::record;
use crate::error::Advise;
use crate::image::archive::layer_type;
use crate::image::catalog::Catalog;
use crate::image::make::{self, About, Layer};
use crate::image::manifest::Descriptor;
use crate::image::reference::Reference;
use crate::image::view::Image;
use crate::paths;
use crate::storage::changes::{self, Change};
use crate::storage::compression::Compression;
use crate::storage::layers::Layers;
use crate::storage::pack::{self, What};
use crate::storage::store::Store;
use crate::storage::temporary;
use anyhow::{Context, Result, anyhow, bail};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Calls `each` with every change of a container, as docker lists them.
pub fn diff(name: &str, mut each: impl FnMut(Change, &Path) -> Result<()>) -> Result<()> {
    let found = container::find(name)?;
    let _in_use = store(&found)?.in_use()?;
    // Where something is mounted the runtime has made a directory or a file: that is no change of the container's.
    let spec = record::spec_of(&found.container.id)?;
    let places: HashSet<&Path> = spec.mounts().iter().flatten().map(|mount| mount.destination().as_path()).collect();
    let each = |change, path: &Path| if places.contains(path) { Ok(()) } else { each(change, path) };
    match root(&found)? {
        Root::Overlay(upper) => changes::changes(&store(&found)?, &upper, &found.container.layers, each),
        Root::Directory(dir) => {
            Err(anyhow!("container {}: its root is the directory {} itself", found.shown(), dir.display()))
                .hint(|| "only what is apart from the image can be told from it".to_owned())
        }
    }
}

/// Calls `each` with every change that the topmost layer of an image makes.
pub fn diff_of_image(store: &Store, image: &Image, each: impl FnMut(Change, &Path) -> Result<()>) -> Result<()> {
    let _in_use = store.in_use()?;
    let mut layers = Vec::new();
    for diff_id in image.diff_ids.iter().rev() {
        let dir = store.layers().find(diff_id)?.with_context(|| format!("layer {diff_id}: is not unpacked"));
        layers.push(Layers::files(&dir.hint(|| "a run of the image unpacks it".to_owned())?));
    }
    match layers.split_first() {
        Some((top, below)) => changes::changes(store, top, below, each),
        None => Ok(()),
    }
}

/// Gives `sink` a tar of a container's whole root filesystem.
pub fn export(name: &str, sink: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let found = container::find(name)?;
    let store = store(&found)?;
    let _in_use = store.in_use()?;
    pack::pack(&store, &whole(&found)?, sink).map(drop)
}

/// Makes an image of a container: its image and a layer with what was changed, or with `squash` one layer with all.
/// `change` is given the configuration.
pub fn commit(
    name: &str,
    target: Option<&Reference>,
    squash: bool,
    mut about: About,
    change: impl FnOnce(&mut About) -> Result<()>,
) -> Result<Image> {
    let found = container::find(name)?;
    let store = store(&found)?;
    let _in_use = store.in_use()?;
    // What cannot be removed is no reason not to go on: `system check` tells of it.
    let _ = temporary::sweep(&store);
    about.config = found.container.config.as_object().cloned().unwrap_or_default();
    about.created_by = found.container.args.join(" ");
    change(&mut about)?;
    let (base, what) = match (root(&found)?, &found.container.image) {
        (Root::Overlay(upper), Some(image)) if !squash => {
            let size = store.blobs().size(&image.manifest)?.context("the container's image is gone")?;
            // Whatever kind it is of: it says so itself.
            let base = Image::load(&store, Descriptor::new("", image.manifest.clone(), size))?;
            (Some(base), What::Changes { upper, layers: found.container.layers.clone() })
        }
        // What it was made of is no image, or cannot be told from what was changed.
        _ => (None, whole(&found)?),
    };
    let blob = pack::pack_to_blob(&store, &what, Compression::Gzip, None)?;
    let descriptor = Descriptor::new(layer_type(Compression::Gzip), blob.digest, blob.size);
    let layer = Layer { descriptor, diff_id: blob.packed.diff_id };
    let image = make::make(&store, base.as_ref(), Some(layer), about)?;
    match target {
        Some(target) => Catalog::new(&store).set(target, &image.descriptor)?,
        None => Catalog::new(&store).add(&image.descriptor)?,
    }
    Ok(image)
}

/// The store as it was opened for the container.
fn store(found: &Found) -> Result<Store> {
    let container = &found.container;
    if container.maps.uid.ranges().is_empty() {
        bail!("container {}: its ids are not known", found.shown());
    }
    Store::open(&paths::data_dir()?, container.maps.clone(), container.owners)
}

enum Root {
    /// Layers, and a directory with what is different.
    Overlay(PathBuf),
    /// All in one directory.
    Directory(PathBuf),
}

fn root(found: &Found) -> Result<Root> {
    // Where overlays are refused it runs in a copy.
    let copy = found.dir.join("0/root");
    Ok(match (&found.container.root, found.upper()) {
        (Some(dir), _) => Root::Directory(dir.clone()),
        _ if copy.is_dir() => Root::Directory(copy),
        (None, Some(upper)) => Root::Overlay(upper),
        (None, None) => bail!("container {}: has no root of its own", found.shown()),
    })
}

fn whole(found: &Found) -> Result<What> {
    Ok(match root(found)? {
        Root::Overlay(upper) => What::Whole { upper: Some(upper), layers: found.container.layers.clone() },
        Root::Directory(dir) => What::Whole { upper: None, layers: vec![dir] },
    })
}
