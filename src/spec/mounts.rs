//! The Spec's mounts: docker's own ones, then the user's by the depth of their targets.

use super::host::{Content, Etc, Host, Overlay};
use super::network::Network;
use super::options::{self, Mount, Namespace, Options, Propagation};
use super::{defaults, sdnotify, tmpfs};
use crate::runtime::mount_options::COPY_UP;
use anyhow::{Context, Result, bail};
use oci_spec::runtime::Mount as SpecMount;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

/// All mounts in the order in which they are made.
pub fn build(options: &Options, host: &Host) -> Result<Vec<SpecMount>> {
    let mut overlays = host.overlays.iter();
    let mut mounts = Vec::new();
    if !host.layers.is_empty() {
        // What a kept container changed must survive.
        let volatile = options.remove;
        let scratch = overlays.next().context("root: no directory for its changes")?;
        mounts.push(overlay("/", &host.layers, scratch, volatile)?);
    }
    let users = asked(options, overlays, host)?;
    let taken: HashSet<&Path> = users.iter().map(|mount| mount.destination().as_path()).collect();
    // What the user puts on /dev, /sys or /proc brings along or leaves out what is below.
    let hidden = |place: &Path| place.ancestors().any(|above| taken.contains(above));
    mounts.extend(own(options, host)?.into_iter().filter(|mount| !hidden(mount.destination())));
    mounts.extend(users);
    Ok(mounts)
}

/// Whether mounts that the host makes later may show up in the container.
pub fn rootfs_propagation(options: &Options) -> &'static str {
    let follows = |mount: &Mount| match mount {
        Mount::Bind { propagation, .. } => !matches!(propagation, Propagation::Private | Propagation::RPrivate),
        _ => false,
    };
    if options.mounts.iter().any(follows) { "rslave" } else { "rprivate" }
}

/// How one of the host's own filesystems is bound.
const SHARED: [&str; 5] = ["rbind", "nosuid", "noexec", "nodev", "rprivate"];

/// What every container has (moby, `daemon/pkg/oci/defaults.go`).
fn own(options: &Options, host: &Host) -> Result<Vec<SpecMount>> {
    let mut mounts = Vec::new();
    // A new proc needs a pid namespace of its own (EPERM otherwise).
    mounts.push(match options.pid {
        Namespace::Host => bind("/proc", Path::new("/proc"), &SHARED),
        _ => mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
    });
    mounts.push(mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]));
    let mut pts = vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    // The group tty of all distributions; the kernel refuses ids that are not mapped.
    if host.ids.as_ref().is_some_and(|ids| ids.gid.outside(5).is_some()) {
        pts.push("gid=5");
    }
    mounts.push(mount("/dev/pts", "devpts", "devpts", &pts));
    let writable = options.privileged && !options.read_only;
    // A new sysfs needs a network namespace of its own.
    mounts.push(match (&options.network, writable) {
        (Network::Host, true) => bind("/sys", Path::new("/sys"), &SHARED),
        (Network::Host, false) => {
            mount("/sys", "bind", "/sys", &["rbind", "rro", "nosuid", "noexec", "nodev", "rprivate"])
        }
        (_, true) => mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev"]),
        (_, false) => mount("/sys", "sysfs", "sysfs", &["ro", "nosuid", "noexec", "nodev"]),
    });
    let access = if options.privileged { "rw" } else { "ro" };
    mounts.push(mount("/sys/fs/cgroup", "cgroup", "cgroup", &[access, "nosuid", "noexec", "nodev", "relatime"]));
    // Likewise with the IPC namespace.
    match (&options.ipc, &host.joins.mqueue) {
        (Namespace::Host, None) => {}
        (Namespace::Host, Some(path)) => mounts.push(bind("/dev/mqueue", path, &SHARED)),
        _ => mounts.push(mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"])),
    }
    mounts.extend(shm(options, host)?);
    let Etc { hosts, hostname, resolv_conf } = &host.etc;
    let words = if options.read_only { ["bind", "ro", "rprivate"].as_slice() } else { &["bind", "rprivate"] };
    for (target, file) in [("/etc/hosts", hosts), ("/etc/hostname", hostname), ("/etc/resolv.conf", resolv_conf)] {
        mounts.extend(file.as_deref().map(|file| bind(target, file, words)));
    }
    Ok(mounts)
}

/// POSIX shared memory goes with the IPC namespace, though the kernel knows nothing of that.
fn shm(options: &Options, host: &Host) -> Result<Option<SpecMount>> {
    let shared = match &options.ipc {
        Namespace::Private | Namespace::Path(_) => None,
        Namespace::Host => Some(Path::new("/dev/shm")),
        Namespace::Container(name) => match &host.joins.shm {
            Some(path) => Some(path.as_path()),
            None => bail!("--ipc container:{name}: the /dev/shm of another container cannot be shared yet"),
        },
    };
    if let Some(path) = shared {
        if options.shm_size.is_some() {
            bail!("--shm-size: with this --ipc /dev/shm is not the container's own");
        }
        return Ok(Some(bind("/dev/shm", path, &SHARED)));
    }
    if options.no_shm {
        if options.shm_size.is_some() {
            bail!("--shm-size: there is no /dev/shm with --ipc none");
        }
        return Ok(None);
    }
    let size = format!("size={}", options.shm_size.unwrap_or(defaults::SHM_SIZE));
    Ok(Some(mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", &size])))
}

/// The user's mounts and devices, those nearer to the root first, as docker sorts them.
fn asked<'a>(
    options: &Options,
    mut overlays: impl Iterator<Item = &'a Overlay>,
    host: &Host,
) -> Result<Vec<SpecMount>> {
    let mut volumes = host.volumes.iter();
    let mut mounts = Vec::new();
    for wanted in &options.mounts {
        mounts.push(match wanted {
            Mount::Bind { source, target, readonly, recursive, propagation, flags } => {
                // docker makes read-only also what is mounted below, where the kernel can (since 25.0).
                let mut words = match (recursive, readonly) {
                    (true, false) => vec!["rbind"],
                    (true, true) => vec!["rbind", "rro"],
                    (false, false) => vec!["bind"],
                    (false, true) => vec!["bind", "ro"],
                };
                words.push(propagation.word());
                words.extend(flags.iter().map(String::as_str));
                bind(target, source, &words)
            }
            Mount::Tmpfs { target, options } => {
                let merged = tmpfs::merge(options);
                mount(target, "tmpfs", "tmpfs", &merged.iter().map(String::as_str).collect::<Vec<_>>())
            }
            Mount::Overlay { source, target } => {
                let scratch = overlays.next().with_context(|| format!("{target}: no directory for :O"))?;
                overlay(target, std::slice::from_ref(source), scratch, true)?
            }
            Mount::Volume(wanted) => {
                let found = volumes.next().with_context(|| format!("{}: no volume", wanted.target))?;
                volume(wanted, &found.content)
            }
        });
    }
    for (n, device) in options.devices.iter().enumerate() {
        if !options.devices[..n].contains(device) {
            mounts.push(bind(&device.target, &device.source, &["rbind", "nosuid", "noexec", "rprivate"]));
        }
    }
    // Not one of rbox's own: those are below what the user mounts. A socket is heard on a read-only mount, too.
    let words = ["bind", "ro", "nosuid", "nodev", "noexec", "rprivate"];
    mounts.extend(host.notify.as_deref().map(|dir| bind(sdnotify::DIRECTORY, dir, &words)));
    let mut seen = HashSet::new();
    if let Some(twice) = mounts.iter().find(|mount| !seen.insert(mount.destination())) {
        bail!("duplicate mount point: {}", twice.destination().display());
    }
    mounts.sort_by_key(|mount| mount.destination().components().count());
    Ok(mounts)
}

/// docker binds a volume with all that is mounted below it and makes it read-only in the same way.
fn volume(wanted: &options::Volume, content: &Content) -> SpecMount {
    let (path, readonly) = match content {
        Content::Directory(path) => (path, wanted.readonly),
        Content::Bind { path, readonly } => (path, wanted.readonly || *readonly),
        Content::Tmpfs(options) => {
            let mut options = options.clone();
            options.extend(wanted.readonly.then(|| "ro".to_owned()));
            options.extend(wanted.flags.iter().cloned());
            let merged = tmpfs::merge(&options);
            return mount(&wanted.target, "tmpfs", "tmpfs", &merged.iter().map(String::as_str).collect::<Vec<_>>());
        }
    };
    let mut words = vec!["rbind", "rprivate"];
    words.extend(readonly.then_some("rro"));
    words.extend((matches!(content, Content::Directory(_)) && !wanted.nocopy).then_some(COPY_UP));
    words.extend(wanted.flags.iter().map(String::as_str));
    bind(&wanted.target, path, &words)
}

/// Which volume is where, for whoever reads the Spec later: the targets and the names, as JSON.
pub fn volumes(options: &Options, host: &Host) -> Result<Option<String>> {
    let targets = options.mounts.iter().filter(|mount| matches!(mount, Mount::Volume(_))).map(Mount::target);
    let all: BTreeMap<&str, &str> = targets.zip(host.volumes.iter().map(|volume| volume.name.as_str())).collect();
    if all.is_empty() { Ok(None) } else { Ok(Some(serde_json::to_string(&all)?)) }
}

/// An overlay. With `volatile` its changes are thrown away, and nothing of them needs to reach the disk: otherwise each
/// end is a syncfs(2) of the whole file system (overlayfs.rst, "Volatile mount"). Without root its attributes are named
/// `user.overlay.*` (`userxattr`).
fn overlay(target: &str, layers: &[PathBuf], scratch: &Overlay, volatile: bool) -> Result<SpecMount> {
    let layers: Vec<String> = layers.iter().map(|layer| escaped(layer)).collect::<Result<_>>()?;
    let lower = format!("lowerdir={}", layers.join(":"));
    let upper = format!("upperdir={}", escaped(&scratch.upper)?);
    let work = format!("workdir={}", escaped(&scratch.work)?);
    let mut words: Vec<&str> = vec![&lower, &upper, &work, "userxattr"];
    words.extend(volatile.then_some("volatile"));
    Ok(mount(target, "overlay", "overlay", &words))
}

/// Colons separate lower layers and commas options; the kernel takes a backslash before any character
/// (`fs/overlayfs/params.c`).
fn escaped(path: &Path) -> Result<String> {
    let path = path.to_str().with_context(|| format!("{}: not UTF-8, which a Spec must be", path.display()))?;
    let mut text = String::new();
    for c in path.chars() {
        if matches!(c, '\\' | ':' | ',') {
            text.push('\\');
        }
        text.push(c);
    }
    Ok(text)
}

fn bind(target: &str, source: &Path, words: &[&str]) -> SpecMount {
    let mut made = mount(target, "bind", "", words);
    made.set_source(Some(source.to_owned()));
    made
}

fn mount(target: &str, kind: &str, source: &str, words: &[&str]) -> SpecMount {
    let mut made = SpecMount::default();
    made.set_destination(target.into())
        .set_typ(Some(kind.to_owned()))
        .set_source(Some(source.into()))
        .set_options(Some(words.iter().map(|word| (*word).to_owned()).collect()));
    made
}
