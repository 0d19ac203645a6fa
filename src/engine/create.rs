//! Makes a container ready to be started: its record, its bundle.

use super::cgroup;
use super::container::{self, Container, Found, OfImage};
use super::created::{Created, Unwritten};
use super::events::Actor;
use super::ids::{self, Caller};
use super::images::{self, Chosen, Remote};
use super::network::{self, Outside};
use super::networks::membership::{self, Shared};
use super::notify::{self};
use super::record::{self, Record};
use super::root::Accounts;
use super::told::CidFile;
use super::volumes::{self};
use super::{again, etc, generated, limits, names, overlay, prepared, remove, root, said, skeleton};
use crate::error::Failure;
use crate::image::pull::Progress;
use crate::runtime::bundle::Bundle;
use crate::seccomp::capability;
use crate::spec::host::{Etc, Host, Joins, Overlay};
use crate::spec::options::{IdMode, Mount, Namespace, Options, Overlays, Root, Userns};
use crate::spec::sdnotify::{self};
use crate::spec::{build, merged};
use crate::time::Time;
use crate::userns::idmap::IdMaps;
use anyhow::{Context, Result, bail, ensure};
use oci_spec::image::ImageConfiguration;
use oci_spec::runtime::Spec;
use std::borrow::Cow;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

/// What a container is made of, when all is found.
#[derive(Default)]
struct Parts {
    /// The ids of its files; none where it has those of another.
    maps: Option<IdMaps>,
    /// Why it has one id, if it was not asked for.
    missing: Option<anyhow::Error>,
    /// The directories that are stacked for its root.
    layers: Vec<PathBuf>,
    accounts: Accounts,
    /// What the host has of its network, if it has a way out of its own.
    network: Option<Outside>,
}

/// Makes the container's directories and its Spec; fetches the image if it has to.
pub fn create(options: &Options, remote: &Remote, progress: &dyn Progress) -> Result<Created> {
    let caller = Caller::this();
    let joins = joins(options)?;
    refuse_ids_of_another(options, &joins)?;
    let (maps, missing) = if joins.user.is_some() || matches!(options.userns, Userns::Path(_)) {
        (None, None)
    } else {
        let ids = ids::ids(options, caller)?;
        (Some(ids.maps), ids.missing)
    };
    check_devices(options)?;
    if options.later {
        // What cannot be meant is refused now, and not with the start.
        limits::wanted(&options.limits)?;
    }
    let network = network::prepare(options)?;
    let place = (!options.later).then(|| cgroup::look(options, None));
    let has_cgroup = place.as_ref().is_some_and(cgroup::Where::is_somewhere);
    let prepared = prepared::begin(options, maps.as_ref(), network.as_ref(), has_cgroup)?;
    let chosen = image(options, maps.as_ref(), remote, progress)?;
    let config = chosen.as_ref().map(|chosen| &chosen.image.config);
    let completed = volumes::complete(options, config)?;
    let cidfile = options.cidfile.as_deref().map(CidFile::new).transpose()?;
    let layers = chosen.as_ref().map(|chosen| chosen.layers.clone()).unwrap_or_default();
    let parts = parts(&completed, maps, missing, layers)?;
    replace(&completed)?;
    let (options, record) = named(&completed)?;
    let options = &*options;
    let place = place.map(|place| place.ask(&record.id, options)).transpose()?;
    let layers = parts.layers.clone();
    let (mut created, host) = assemble(options, config, joins, Parts { network, ..parts }, record)?;
    let mut about = described(options, chosen.as_ref(), layers, &host, &created.bundle.spec)?;
    created.learn(&about, options)?;
    created.is_new = true;
    created.bundle.prepared = prepared;
    let mut again = None;
    if created.record.is_kept() {
        again = Some(again::text(options, config, &host)?);
    } else {
        about.asked = Some(Box::new(again::options(options, &host)));
    }
    if chosen.is_some() || again.is_some() || options.detach {
        created.record.on_disk()?;
    }
    created.unwritten = Unwritten { about: Some(about), again, _image: chosen };
    if options.later {
        created.unwritten().write(&created.record, &created.bundle.spec)?;
        created.record.sync()?;
    }
    place.map_or(Ok(()), |place| created.enter(place, options))?;
    if options.later {
        cidfile.map_or(Ok(()), |file| file.write(&created.record.id))?;
    } else {
        created.cidfile = cidfile;
    }
    Ok(created)
}

/// Removes the one that has its name. Everything that can be refused before has been.
fn replace(options: &Options) -> Result<()> {
    let Some(name) = options.name.as_deref().filter(|_| options.replace) else { return Ok(()) };
    let there = container::all()?.found.into_iter().find(|found| found.container.name.as_deref() == Some(name));
    there.map_or(Ok(()), |found| remove::remove(&found.container.id, true, false).map(drop)).context("--replace")
}

/// Its record, under its name. One that stays, or that nobody waits for, gets one if it was given none.
fn named(options: &Options) -> Result<(Cow<'_, Options>, Record)> {
    let is_kept = !options.remove || options.later;
    if options.name.is_some() || !(is_kept || options.detach) {
        return Ok((Cow::Borrowed(options), Record::create(options.name.as_deref(), is_kept)?));
    }
    let mut attempt = 0;
    loop {
        attempt += 1;
        // Of 4096 names many may be taken; then there is a number behind.
        let random = record::random_id()?;
        let number = if attempt > 3 { random[60..].to_owned() } else { String::new() };
        let name = generated::name(&random) + &number;
        match Record::create(Some(&name), is_kept) {
            Ok(record) => return Ok((Cow::Owned(Options { name: Some(name), ..options.clone() }), record)),
            Err(error) if attempt < 10 && error.chain().any(|cause| cause.is::<names::Taken>()) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The same of a container that was made before, to be started again by somebody. `overlays`: the way that is to be taken, if
/// another one did not work.
pub fn again(found: &Found, overlays: Option<Overlays>) -> Result<Created> {
    remade(found, overlays, || Record::open(found))
}

/// The same by itself: the locks are this process's already.
pub fn once_more(found: &Found, locks: [OwnedFd; 2]) -> Result<Created> {
    remade(found, None, || Record::adopt(found, locks))
}

fn remade(found: &Found, overlays: Option<Overlays>, record: impl FnOnce() -> Result<Record>) -> Result<Created> {
    let (mut options, config) = again::read(found)?;
    options.overlays = overlays.or(options.overlays);
    let joins = joins(&options)?;
    let maps =
        (joins.user.is_none() && !matches!(options.userns, Userns::Path(_))).then(|| found.container.maps.clone());
    check_devices(&options)?;
    let network = network::prepare(&options)?;
    let place = cgroup::look(&options, Some(&found.container.id));
    let prepared = prepared::begin(&options, maps.as_ref(), network.as_ref(), place.is_somewhere())?;
    let parts = parts(&options, maps, None, found.container.layers.clone())?;
    let record = record()?;
    let place = place.ask(&record.id, &options)?;
    let mut created = assemble(&options, config.as_ref(), joins, Parts { network, ..parts }, record)?.0;
    created.learn(&found.container, &options)?;
    created.bundle.prepared = prepared;
    created.enter(place, &options)?;
    Ok(created)
}

fn parts(
    options: &Options,
    maps: Option<IdMaps>,
    missing: Option<anyhow::Error>,
    layers: Vec<PathBuf>,
) -> Result<Parts> {
    let (layers, accounts) = match &options.root {
        Root::Directory { path, overlay: false } => (vec![], root::accounts(path, maps.as_ref())?),
        Root::Directory { path, overlay: true } => (vec![path.clone()], root::accounts(path, maps.as_ref())?),
        Root::Image { .. } => {
            let accounts = root::accounts_in_layers(&layers, maps.as_ref())?;
            (layers, accounts)
        }
    };
    Ok(Parts { maps, missing, layers, accounts, network: None })
}

/// Everything of a container that is there only as long as somebody is responsible for it.
fn assemble(
    options: &Options,
    config: Option<&ImageConfiguration>,
    joins: Joins,
    parts: Parts,
    mut record: Record,
) -> Result<(Created, Host)> {
    let Parts { maps, missing, layers, accounts, mut network } = parts;
    let caller = Caller::this();
    let overlays = overlays(options, &layers, &mut record)?;
    let (volumes, held) = volumes::hold(options, &record.id)?;
    if let Some(network) = &mut network {
        network.publish = network::published(options, config)?;
    }
    let mut shared = membership::prepare(options, config, maps.as_ref(), &record.id)?;
    let (notify, unheard) = match notify::prepare(options, &record.dir) {
        Ok(notify) => (notify, None),
        Err(error) => (None, Some(error)),
    };
    let system = rustix::system::uname();
    let mut host = Host {
        id: record.id.clone(),
        hostname: system.nodename().to_string_lossy().into_owned(),
        uid: caller.uid,
        gid: caller.gid,
        ids: maps,
        passwd: accounts.passwd,
        group: accounts.group,
        root: root_path(options, &record)?,
        layers: with_skeleton(&layers)?,
        overlays,
        volumes,
        notify: notify.as_ref().and_then(|notify| notify.dir.clone()),
        etc: Etc::default(),
        v6: network.as_ref().is_some_and(|outside| outside.link.v6.is_some())
            || shared.as_ref().is_some_and(Shared::has_v6),
        joins,
        // A new user namespace has all that the kernel knows, whatever its maker has.
        bounding: capability::EVERY,
        kernel: version(&system.release().to_string_lossy()),
    };
    let hostname = build::hostname(options, &host);
    host.etc = etc::write(options, network.as_ref(), shared.as_ref(), &hostname, &record.dir)?;
    if let Some(shared) = &mut shared {
        shared.hosts = host.etc.hosts.clone().map(|path| (path, hostname));
    }
    let mut spec = build::build(options, config, &host)?;
    overlay::adapt(&mut spec, options.overlays, host.ids.as_ref())?;
    let bundle = Bundle::new(&record.dir, spec)?;
    let Options { tty, interactive, timeout, .. } = *options;
    let mut extra = options.extra.clone();
    extra
        .env
        .extend(host.notify.is_some().then(|| format!("NOTIFY_SOCKET={}/{}", sdnotify::DIRECTORY, sdnotify::SOCKET)));
    let note = missing.filter(|_| said::first_time(said::ONE_ID)).map(|error| Failure::from(&error));
    let (unwritten, pidfile, log) = (Unwritten::default(), options.pidfile.clone(), options.log.clone());
    let created = Created {
        cgroup: None,
        record,
        bundle,
        tty,
        interactive,
        extra,
        timeout,
        network,
        shared,
        notify,
        unheard,
        note,
        warning: None,
        log,
        journal: Vec::new(),
        restart: options.restart,
        actor: Actor::default(),
        is_new: false,
        once: false,
        health: None,
        stop: (None, None),
        unwritten,
        sweeping: None,
        cidfile: None,
        pidfile,
        _volumes: held,
    };
    Ok((created, host))
}

/// What is no device is a matter for `-v`. A directory of devices is one that the host has below /dev.
fn check_devices(options: &Options) -> Result<()> {
    for device in &options.devices {
        let source = &device.source;
        let kind = fs_err::metadata(source).with_context(|| format!("--device {}", source.display()))?.file_type();
        let is_well = kind.is_char_device() || kind.is_block_device() || (kind.is_dir() && source.starts_with("/dev"));
        ensure!(is_well, "--device {}: not a device", source.display());
    }
    Ok(())
}

/// Whoever joins a user namespace has its ids and no others.
fn refuse_ids_of_another(options: &Options, joins: &Joins) -> Result<()> {
    if joins.user.is_none() {
        return Ok(());
    }
    let asked = match &options.userns {
        Userns::Private | Userns::Container(_) => None,
        _ => Some("--userns"),
    };
    let asked = asked.or((!options.uidmap.is_empty()).then_some("--uidmap"));
    let asked = asked.or((!options.gidmap.is_empty()).then_some("--gidmap"));
    let asked = asked.or((options.id_mode != IdMode::Auto).then_some("--id-mode"));
    match asked {
        Some(option) => bail!("{option}: the namespaces of another container come with its ids"),
        None => Ok(()),
    }
}

/// The image and the directories of its layers, if the container runs one.
fn image(options: &Options, maps: Option<&IdMaps>, remote: &Remote, progress: &dyn Progress) -> Result<Option<Chosen>> {
    let Root::Image { name, pull } = &options.root else { return Ok(None) };
    let store = match maps {
        Some(maps) => images::store_with(maps, options.id_overflow)?,
        // Ids of a namespace that is joined: most likely they are the usual ones.
        None => images::default_store(IdMode::Auto)?,
    };
    images::for_container(&store, name, *pull, remote, progress).map(Some)
}

/// The directories to stack for a root that is an overlay.
fn with_skeleton(layers: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut all = layers.to_vec();
    if !layers.is_empty() {
        all.extend(skeleton::directory()?);
    }
    Ok(all)
}

/// What is written down of the container.
fn described(
    options: &Options,
    chosen: Option<&Chosen>,
    layers: Vec<PathBuf>,
    host: &Host,
    spec: &Spec,
) -> Result<Container> {
    let maps = host.ids.clone().map_or_else(images::default_maps, Ok)?;
    let image = match (&options.root, chosen) {
        (Root::Image { name, .. }, Some(Chosen { image, .. })) => {
            Some(OfImage { name: name.clone(), id: image.id().clone(), manifest: image.descriptor.digest.clone() })
        }
        _ => None,
    };
    let raw = chosen.map(|chosen| chosen.image.raw()).transpose()?.unwrap_or_default();
    Ok(Container {
        id: host.id.clone(),
        name: options.name.clone(),
        created: Time::now(),
        image,
        config: merged::config(options, &raw["config"]),
        args: spec.process().as_ref().and_then(|process| process.args().clone()).unwrap_or_default(),
        owners: images::owners(&maps, options.id_overflow),
        maps,
        layers,
        root: matches!(options.root, Root::Directory { overlay: false, .. }).then(|| host.root.clone()),
        restart: options.restart,
        once: options.remove && options.later,
        asked: None,
        log: options.log.driver,
    })
}

/// `root.path`: the directory itself, or an empty one for an overlay to be mounted on.
fn root_path(options: &Options, record: &Record) -> Result<PathBuf> {
    match &options.root {
        Root::Directory { path, overlay: false } => Ok(path.clone()),
        _ => record.mount_point(),
    }
}

/// Scratch directories for every overlay: the root's first, if it is one, then those that the options ask for.
fn overlays(options: &Options, layers: &[PathBuf], record: &mut Record) -> Result<Vec<Overlay>> {
    let count = options.mounts.iter().filter(|mount| matches!(mount, Mount::Overlay { .. })).count();
    let make = |record: &mut Record| -> Result<Overlay> {
        let dir = record.scratch()?;
        Ok(Overlay { upper: dir.join("upper"), work: dir.join("work") })
    };
    let mut all = Vec::new();
    if let Some(top) = layers.first() {
        let overlay = make(record)?;
        // The upper directory is the root that the container sees: it has the mode of the one below.
        let mode = fs_err::metadata(top)?.permissions();
        // With the next use of a directory it mostly has that one already.
        if fs_err::metadata(&overlay.upper)?.permissions() != mode {
            fs_err::set_permissions(&overlay.upper, mode)?;
        }
        all.push(overlay);
    }
    for _ in 0..count {
        all.push(make(record)?);
    }
    Ok(all)
}

/// Looks up the containers that `container:NAME` options name. Their namespaces belong to their user namespace, so
/// that one is joined, too.
fn joins(options: &Options) -> Result<Joins> {
    let mut joins = Joins::default();
    let network = options.network.namespace();
    let mut owner: Option<&str> = None;
    let wanted = [
        (&network, &mut joins.network, "net"),
        (&options.pid, &mut joins.pid, "pid"),
        (&options.ipc, &mut joins.ipc, "ipc"),
        (&options.uts, &mut joins.uts, "uts"),
        (&options.cgroupns, &mut joins.cgroup, "cgroup"),
    ];
    for (namespace, join, kind) in wanted {
        if let Namespace::Container(name) = namespace {
            *join = Some(namespace_of(name, kind)?);
            if owner.replace(name).is_some_and(|other| other != name) {
                bail!("namespaces of two containers cannot be joined: each belongs to a user namespace of its own");
            }
        }
    }
    if let Userns::Container(name) = &options.userns {
        owner = Some(name);
    }
    if let Some(name) = owner {
        joins.user = Some(namespace_of(name, "user")?);
    }
    Ok(joins)
}

fn namespace_of(container: &str, kind: &str) -> Result<PathBuf> {
    Ok(PathBuf::from(format!("/proc/{}/ns/{kind}", record::process_of(container)?)))
}

/// `6.1.0-13-amd64` is 6 and 1.
pub(super) fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
