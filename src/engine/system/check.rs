//! `system check`: whether everything in the store is what its name says.

use crate::engine::container;
use crate::engine::images::{self, Remote, remove};
use crate::error::{Advise, Failure};
use crate::image::catalog::Catalog;
use crate::image::manifest::{Descriptor, NAME};
use crate::image::pull::Progress;
use crate::image::reference::Reference;
use crate::image::view::Image;
use crate::paths;
use crate::storage::blobs::ALGORITHMS;
use crate::storage::compression::BUFFER;
use crate::storage::digest::Digest;
use crate::storage::layers::{self, About, Layers};
use crate::storage::store::Store;
use crate::storage::temporary;
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    /// Blobs that were read.
    pub blobs: u64,
    /// Unpacked layers that were compared with their archives.
    pub layers: u64,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What nobody needs, which is no damage: the next image that is removed takes it along.
    pub unused: remove::Collected,
}

/// Something that is wrong.
#[derive(Debug)]
pub struct Problem {
    /// Where.
    pub what: String,
    /// What.
    pub why: String,
    /// It is mended.
    pub mended: bool,
    /// What kept it from being mended, if that was tried.
    pub failure: Option<Failure>,
}

/// How to go about it.
#[derive(Debug, Clone, Copy, Default)]
pub struct How {
    /// Mend what is damaged: fetch it again, unpack it again.
    pub repair: bool,
    /// Do not compare unpacked layers with their archives.
    pub quick: bool,
}

/// Reads every blob and compares every layer.
pub fn check(store: &Store, how: How, remote: &Remote, progress: &dyn Progress) -> Result<Report> {
    let in_use = store.in_use()?;
    let mut report = Report::default();
    if let Err(error) = temporary::sweep(store) {
        report.found("left by a process that was killed".to_owned(), Failure::from(&error).message, None);
    }
    let images = images(store, how, &mut report)?;
    let mut damaged = blobs(store, &mut report)?;
    let before = report.problems.len();
    for image in &images {
        one(store, image, &mut damaged, how, remote, progress, &mut report);
    }
    if how.repair {
        // What one image has fetched again may have been what others lacked.
        let left: Vec<Problem> = report.problems.split_off(before);
        for mut problem in left {
            let its = images.iter().find(|image| image.shown() == problem.what);
            if !problem.mended && its.is_some_and(|image| sound(store, image, &damaged).is_ok()) {
                (problem.mended, problem.failure) = (true, None);
            }
            report.problems.push(problem);
        }
    }
    let broken = if how.quick { Vec::new() } else { unpacked(store, &images, &damaged, &mut report)? };
    // Whoever deletes is alone.
    drop(in_use);
    for layer in broken {
        let mended = how.repair.then(|| unpack_again(store, &layer, progress));
        report.found(format!("layer {}", layer.dir.display()), layer.why, mended);
    }
    containers(&mut report)?;
    report.unused = remove::garbage(store).and_then(|garbage| remove::weigh(&garbage)).unwrap_or_default();
    Ok(report)
}

impl Report {
    fn found(&mut self, what: String, why: String, mended: Option<Result<()>>) {
        let failure = match &mended {
            Some(Err(error)) => Some(Failure::from(error)),
            _ => None,
        };
        self.problems.push(Problem { what, why, mended: matches!(mended, Some(Ok(()))), failure });
    }
}

/// An image with all of its names.
struct Named {
    descriptor: Descriptor,
    names: Vec<Reference>,
}

/// All images; an index that cannot be read is made again from the manifests that are there.
fn images(store: &Store, how: How, report: &mut Report) -> Result<Vec<Named>> {
    let catalog = Catalog::new(store);
    let entries = match catalog.all() {
        Ok(entries) => entries,
        Err(error) => {
            let mended = how.repair.then(|| rebuild(store));
            report.found("index of images".to_owned(), Failure::from(&error).message, mended);
            catalog.all().unwrap_or_default()
        }
    };
    let mut images: Vec<Named> = Vec::new();
    for mut entry in entries {
        let name = entry.annotations.remove(NAME).and_then(|name| Reference::parse(&name).ok());
        match images.iter_mut().find(|known| known.descriptor.digest == entry.digest) {
            Some(known) => known.names.extend(name),
            None => images.push(Named { descriptor: entry, names: name.into_iter().collect() }),
        }
    }
    Ok(images)
}

/// Makes the index again. Names are lost: they were nowhere else.
fn rebuild(store: &Store) -> Result<()> {
    let catalog = Catalog::new(store);
    catalog.begin_anew()?;
    for algorithm in ALGORITHMS {
        for digest in store.blobs().all(algorithm)? {
            let size = store.blobs().size(&digest)?.unwrap_or(0);
            if let Ok(image) = Image::load(store, Descriptor::new("", digest, size)) {
                let kind = image.media_type(store)?;
                catalog.add(&Descriptor { media_type: kind, ..image.descriptor })?;
            }
        }
    }
    Ok(())
}

/// Reads all blobs: those whose content has another digest.
fn blobs(store: &Store, report: &mut Report) -> Result<HashSet<Digest>> {
    let mut damaged = HashSet::new();
    for algorithm in ALGORITHMS {
        for digest in store.blobs().all(algorithm)? {
            report.blobs += 1;
            if !store.blobs().is_whole(&digest)? {
                damaged.insert(digest);
            }
        }
    }
    Ok(damaged)
}

impl Named {
    fn shown(&self) -> String {
        match self.names.first() {
            Some(name) => format!("image {name}"),
            None => format!("image {}", self.descriptor.digest),
        }
    }
}

/// Whether all blobs of an image are there and whole. `damaged`: those that were seen not to be.
fn sound(store: &Store, image: &Named, damaged: &HashSet<Digest>) -> Result<()> {
    let blobs = store.blobs();
    let loaded = Image::load(store, image.descriptor.clone())?;
    for part in [&loaded.manifest.config].into_iter().chain(&loaded.manifest.layers) {
        match blobs.size(&part.digest)? {
            None => bail!("blob {}: missing", part.digest),
            Some(size) if size != part.size => bail!("blob {}: {size} bytes instead of {}", part.digest, part.size),
            Some(_) if damaged.contains(&part.digest) => bail!("blob {}: damaged", part.digest),
            Some(_) => {}
        }
    }
    Ok(())
}

/// Tells of an image that is not sound. Mending fetches what is missing or damaged; what it has replaced is no longer
/// `damaged`.
fn one(
    store: &Store,
    image: &Named,
    damaged: &mut HashSet<Digest>,
    how: How,
    remote: &Remote,
    progress: &dyn Progress,
    report: &mut Report,
) {
    let what = image.shown();
    let Err(why) = sound(store, image, damaged) else { return };
    let why = Failure::from(&why).message;
    let mended = how.repair.then(|| -> Result<()> {
        let mut failed = None;
        for name in &image.names {
            let mended = images::mend(store, &image.descriptor, damaged, name, remote, progress);
            damaged.retain(|digest| !store.blobs().is_whole(digest).unwrap_or(false));
            match mended {
                Ok(()) => return Ok(()),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) => Err(error),
            None => bail!("it has no name that a registry knows"),
        }
    });
    report.found(what, why, mended);
}

/// A layer that is not what its archive says.
struct Broken {
    dir: PathBuf,
    why: String,
    about: Option<About>,
    image: Image,
}

/// Unpacks every layer again and compares: those that differ. Those whose blob is missing or damaged, which was said of
/// their images, stay as they are: there is nothing to compare them with, and they run.
fn unpacked(store: &Store, images: &[Named], damaged: &HashSet<Digest>, report: &mut Report) -> Result<Vec<Broken>> {
    let mut by_id: BTreeMap<String, (Digest, Digest, Image)> = BTreeMap::new();
    for image in images {
        let Ok(image) = Image::load(store, image.descriptor.clone()) else { continue };
        for (diff_id, layer) in image.diff_ids.iter().zip(&image.manifest.layers) {
            if damaged.contains(&layer.digest) || !store.blobs().has(&layer.digest, layer.size)? {
                continue;
            }
            let entry = (diff_id.clone(), layer.digest.clone(), image.clone());
            by_id.insert(layers::name(diff_id).to_owned(), entry);
        }
    }
    let mut broken = Vec::new();
    for dir in store.all_layers()? {
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Of no image: it goes with the next one that is removed.
        let Some((diff_id, blob, image)) = by_id.get(&name) else { continue };
        report.layers += 1;
        let (about, unreadable) = match layers::about(&dir) {
            Ok(about) => (about, "what is known of it is missing".to_owned()),
            Err(error) => (None, Failure::from(&error).message),
        };
        let why = match &about {
            None => Some(unreadable),
            Some(about) if about.unpacked.diff_id != *diff_id => Some("it is another layer".to_owned()),
            Some(_) if !Layers::files(&dir).is_dir() => Some("its files: No such file or directory".to_owned()),
            // What fails here says nothing about the layer: the disk may be full.
            Some(about) => difference(about, blob, &dir).with_context(|| format!("layer {}", dir.display()))?,
        };
        broken.extend(why.map(|why| Broken { dir, why, about, image: image.clone() }));
    }
    Ok(broken)
}

/// Takes the place of a broken layer, if nobody runs on it.
fn unpack_again(store: &Store, broken: &Broken, progress: &dyn Progress) -> Result<()> {
    let alone = store.for_deleting()?.context("the store is in use");
    let alone = alone.hint(|| "try again when no pull and no start is under way".to_owned())?;
    if let Some(user) = in_use()?.get(&broken.dir) {
        bail!("container {user} runs on it");
    }
    let old = temporary::condemn(store, &broken.dir)?;
    drop(alone);
    // For other ids it is unpacked when it is needed.
    if let Some(about) = &broken.about {
        images::pull_unpack(&opened(about)?, &broken.image, progress)?;
    }
    old.remove(store)
}

fn opened(about: &About) -> Result<Store> {
    Store::open(&paths::data_dir()?, about.maps.clone(), about.owners)
}

/// What is different. An error is no damage: on a full disk nothing can be unpacked, for instance.
fn difference(about: &About, blob: &Digest, dir: &Path) -> Result<Option<String>> {
    let store = opened(about)?;
    let mut again = store.layers().unpack()?;
    let mut file = fs_err::File::open(store.blobs().path(blob))?;
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer)? {
            0 => return again.compare(dir),
            length => again.write(&buffer[..length])?,
        }
    }
}

/// The layers on which containers run now, and which.
fn in_use() -> Result<HashMap<PathBuf, String>> {
    let mut busy = HashMap::new();
    for found in container::all()?.whole()?.into_iter().filter(|found| found.live) {
        for files in &found.container.layers {
            busy.extend(files.parent().map(|dir| (dir.to_owned(), found.shown().to_owned())));
        }
    }
    Ok(busy)
}

/// Whether the records of containers can be read.
fn containers(report: &mut Report) -> Result<()> {
    for (dir, failure) in container::all()?.damaged {
        report.found(format!("container {}", dir.display()), failure.message, None);
    }
    Ok(())
}
