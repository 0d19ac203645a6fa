//! Volumes of containers: which one needs, which one has.

use super::{Volume, Wanted, create, remove_unused, sweep};
use crate::engine::{etc, record};
use crate::paths;
use crate::runtime::mount_options::COPY_UP;
use crate::spec::annotation;
use crate::spec::host::{self, Content};
use crate::spec::options::{self, Mount, Options, Propagation};
use crate::spec::volume::{self, Kind};
use anyhow::{Context, Result};
use oci_spec::image::ImageConfiguration;
use oci_spec::runtime::Spec;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// Volumes that a container uses: as long as this is held, nobody removes them. At the end those go that the container
/// alone has.
#[derive(Debug, Default)]
pub struct Held {
    locks: Vec<OwnedFd>,
    /// Directories of volumes that end with the container.
    own: Vec<PathBuf>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.locks.clear();
        for dir in &self.own {
            // What stays is swept by the next one.
            let _ = remove_unused(dir);
        }
    }
}

/// The options with what comes from elsewhere: `--volumes-from`, then the image's volumes, each where nothing else is
/// mounted. Of two containers that have something at the same place, the later one counts.
pub fn complete<'a>(options: &'a Options, image: Option<&ImageConfiguration>) -> Result<Cow<'a, Options>> {
    let config = image.and_then(|image| image.config().as_ref());
    let places = config.and_then(|config| config.volumes().as_deref()).unwrap_or_default();
    if places.is_empty() && options.volumes_from.is_empty() {
        return Ok(Cow::Borrowed(options));
    }
    let mut found: Vec<Mount> = Vec::new();
    for from in &options.volumes_from {
        let mounts = of_container(&from.container).with_context(|| format!("--volumes-from {}", from.container))?;
        for mut mount in mounts {
            if let Mount::Bind { readonly, .. } | Mount::Volume(options::Volume { readonly, .. }) = &mut mount {
                *readonly |= from.readonly;
            }
            found.retain(|known| known.target() != mount.target());
            found.push(mount);
        }
    }
    found.retain(|mount| !options.mounts.iter().any(|own| own.target() == mount.target()));
    let mut all = options.clone();
    all.mounts.extend(found);
    let of_image = volume::of_image(places, &all.mounts)?;
    all.mounts.extend(of_image);
    Ok(Cow::Owned(all))
}

/// Finds or makes the volumes that the options name, one after the other. `id`: the container.
pub fn hold(options: &Options, id: &str) -> Result<(Vec<host::Volume>, Held)> {
    let (mut found, mut held) = (Vec::new(), Held::default());
    let is_anonymous = |mount: &Mount| matches!(mount, Mount::Volume(volume) if volume.name.is_none());
    if options.mounts.iter().any(is_anonymous) {
        // Those of containers that a whole session has forgotten. What cannot be removed is no reason not to start.
        let _ = sweep();
    }
    for mount in &options.mounts {
        let Mount::Volume(wanted) = mount else { continue };
        let container = (wanted.name.is_none() && options.remove).then(|| id.to_owned());
        let wanted = Wanted {
            name: wanted.name.clone(),
            options: wanted.options.clone(),
            labels: wanted.labels.clone(),
            container,
        };
        let (volume, lock) = create(&wanted)?;
        held.locks.push(lock);
        held.own.extend(wanted.container.map(|_| volume.dir.clone()));
        found.push(host::Volume { name: volume.name.clone(), content: content(&volume)? });
    }
    Ok((found, held))
}

/// For a container that is started again: its volumes are held, and stay as they are, for what is filled is only a new
/// container's.
pub fn hold_again(spec: &mut Spec) -> Result<Held> {
    let mut held = Held::default();
    for name in named(spec)?.into_values() {
        let lock = super::shared(&super::base()?.join(&name))?;
        held.locks.push(lock.with_context(|| format!("volume {name}: no such volume"))?);
    }
    for mount in spec.mounts_mut().iter_mut().flatten() {
        if let Some(words) = mount.options_mut() {
            words.retain(|word| word != COPY_UP);
        }
    }
    Ok(held)
}

/// Removes the anonymous volumes of a container that is no more, unless another one has them (`rm -v`).
pub fn remove_anonymous(spec: &Spec) -> Result<()> {
    for name in named(spec)?.into_values() {
        if super::find(&name).is_ok_and(|volume| volume.is_anonymous()) {
            remove_unused(&super::base()?.join(&name))?;
        }
    }
    Ok(())
}

fn content(volume: &Volume) -> Result<Content> {
    Ok(match Kind::of(&volume.about.options).with_context(|| format!("volume {}", volume.name))? {
        Kind::Directory => Content::Directory(volume.mountpoint()),
        Kind::Bind { path, readonly } => Content::Bind { path, readonly },
        Kind::Tmpfs(options) => Content::Tmpfs(options),
    })
}

/// The containers that have this volume, running ones and those that are kept.
pub fn users(name: &str) -> Result<Vec<String>> {
    let mut users: Vec<String> = Vec::new();
    let (runtime, data) = (paths::runtime_dir()?, paths::data_dir()?);
    for (place, is_kept) in [(&runtime, false), (&data, true)] {
        let place = place.join("containers");
        for id in record::ids_in(&place)? {
            if !is_kept && !record::is_held(&runtime, &id)? {
                continue;
            }
            // One that is just being made or removed has none.
            let Ok(text) = fs_err::read(place.join(&id).join("config.json")) else { continue };
            let Ok(spec) = serde_json::from_slice::<Spec>(&text) else { continue };
            if !users.contains(&id) && named(&spec)?.values().any(|volume| volume == name) {
                users.push(id);
            }
        }
    }
    Ok(users)
}

/// The targets and names of the volumes in a Spec.
fn named(spec: &Spec) -> Result<BTreeMap<String, String>> {
    match spec.annotations().as_ref().and_then(|all| all.get(annotation::VOLUMES)) {
        Some(text) => serde_json::from_str(text).context(annotation::VOLUMES),
        None => Ok(BTreeMap::new()),
    }
}

/// The volumes and the directories and files of the host that a container has, as options that mount the same.
pub fn of_container(name: &str) -> Result<Vec<Mount>> {
    in_spec(&record::spec_of(name)?)
}

fn in_spec(spec: &Spec) -> Result<Vec<Mount>> {
    let volumes = named(spec)?;
    let mut found = Vec::new();
    for mount in spec.mounts().iter().flatten() {
        let Some(target) = mount.destination().to_str().map(str::to_owned) else { continue };
        let words = mount.options().as_deref().unwrap_or_default();
        let has = |wanted: &str| words.iter().any(|word| word == wanted);
        let readonly = has("ro") || has("rro");
        let flags = ["nosuid", "nodev", "noexec"].into_iter().filter(|flag| has(flag)).map(str::to_owned).collect();
        if let Some(name) = volumes.get(&target) {
            let name = Some(name.clone());
            found.push(Mount::Volume(options::Volume {
                name,
                target,
                readonly,
                nocopy: true,
                flags,
                ..options::Volume::default()
            }));
            continue;
        }
        let Some(source) = mount.source().clone().filter(|_| mount.typ().as_deref() == Some("bind")) else { continue };
        if is_own(&source, &target) {
            continue;
        }
        let propagations =
            [("slave", Propagation::Slave), ("rslave", Propagation::RSlave), ("private", Propagation::Private)];
        let propagation = propagations.into_iter().find(|(word, _)| has(word)).map(|(_, kind)| kind);
        let (recursive, propagation) = (has("rbind"), propagation.unwrap_or_default());
        found.push(Mount::Bind { source, target, readonly, recursive, propagation, flags });
    }
    Ok(found)
}

/// What rbox binds by itself, and devices.
fn is_own(source: &Path, target: &str) -> bool {
    let device = |kind: std::fs::FileType| kind.is_char_device() || kind.is_block_device();
    let is_of_etc = etc::FILES.iter().any(|file| Path::new("/etc").join(file) == Path::new(target))
        && paths::runtime_dir().is_ok_and(|runtime| source.starts_with(runtime.join("containers")));
    is_of_etc
        || matches!(target, "/proc" | "/sys" | "/sys/fs/cgroup" | "/dev/mqueue" | "/dev/shm")
        || (source.starts_with("/dev") && target.starts_with("/dev/"))
        || fs_err::metadata(source).is_ok_and(|about| device(about.file_type()))
}
