//! A bundle: a directory with a config.json. All that can be refused about it is refused here.

use super::namespaces::Namespaces;
use super::prepared::Prepared;
use crate::cgroup::group::Group;
use crate::error::Advise;
use crate::sys::clone::{CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWTIME, CLONE_NEWUSER, CLONE_NEWUTS};
use crate::userns::idmap::{IdMap, IdMaps, IdRange};
use anyhow::{Context, Result, anyhow, bail, ensure};
use oci_spec::runtime::{LinuxIdMapping, LinuxResources, Mount, Spec};
use std::path::{Path, PathBuf};

/// A bundle that was read and checked.
#[derive(Debug)]
pub struct Bundle {
    /// The directory; `root.path` and hooks are relative to it.
    pub dir: PathBuf,
    /// config.json.
    pub spec: Spec,
    /// Its namespaces.
    pub namespaces: Namespaces,
    /// Its id maps, if it makes a user namespace.
    pub maps: Option<IdMaps>,
    /// Some of its namespaces, if they are there already.
    pub prepared: Option<Prepared>,
    /// The cgroup that its processes are in, if they are not to be in rbox's own.
    pub cgroup: Option<Group>,
    /// The ids of a user namespace around the container's, if it needs a fence (fence.rs). Its own are among them.
    pub fence: Option<IdMaps>,
}

impl Bundle {
    /// Reads `DIR/config.json`.
    pub fn load(dir: &Path) -> Result<Bundle> {
        let file = dir.join("config.json");
        let text = fs_err::read(&file)?;
        let spec = serde_json::from_slice(&text).with_context(|| format!("{}", file.display()))?;
        Bundle::new(dir, spec)
    }

    /// Checks a Spec that was made for the directory.
    pub fn new(dir: &Path, mut spec: Spec) -> Result<Bundle> {
        make_absolute(dir, &mut spec);
        let namespaces = Namespaces::of(&spec)?;
        let maps = if namespaces.makes(CLONE_NEWUSER) { Some(maps(&spec)?) } else { None };
        let bundle = Bundle { dir: dir.to_owned(), spec, namespaces, maps, prepared: None, cgroup: None, fence: None };
        bundle.check_process()?;
        bundle.check_namespaces()?;
        bundle.check_unsupported()?;
        Ok(bundle)
    }

    fn check_process(&self) -> Result<()> {
        let version = self.spec.version();
        ensure!(version.starts_with("1."), "ociVersion: {version}: version 1 is known");
        let process = self.spec.process().as_ref().context("process: missing")?;
        ensure!(process.args().as_ref().is_some_and(|args| !args.is_empty()), "process.args: no command");
        ensure!(process.cwd().is_absolute(), "process.cwd: {}: not an absolute path", process.cwd().display());
        for mount in self.spec.mounts().iter().flatten() {
            let target = mount.destination();
            ensure!(target.is_absolute(), "mount {}: not an absolute path", target.display());
        }
        let Some(maps) = &self.maps else { return Ok(()) };
        let user = process.user();
        let mapped = |what: &str, id: u32, map: &IdMap| match map.outside(id) {
            Some(_) => Ok(()),
            None => Err(anyhow!("{what} {id}: not mapped; the container has the ids {map}"))
                .hint(|| "more ids come from a range in /etc/subuid and /etc/subgid (--id-mode range)".to_owned()),
        };
        mapped("user", user.uid(), &maps.uid)?;
        mapped("group", user.gid(), &maps.gid)?;
        user.additional_gids().iter().flatten().try_for_each(|gid| mapped("group", *gid, &maps.gid))
    }

    fn check_namespaces(&self) -> Result<()> {
        let own = |what: &str, wanted: bool, flag: u32, kind: &str| {
            ensure!(!wanted || self.namespaces.has(flag), "{what}: needs a {kind} namespace of its own");
            Ok(())
        };
        own("hostname", self.spec.hostname().is_some(), CLONE_NEWUTS, "uts")?;
        own("domainname", self.spec.domainname().is_some(), CLONE_NEWUTS, "uts")?;
        let Some(linux) = self.spec.linux() else { return Ok(()) };
        let offsets = linux.time_offsets().as_ref().is_some_and(|all| !all.is_empty());
        own("linux.timeOffsets", offsets, CLONE_NEWTIME, "time")?;
        for key in linux.sysctl().iter().flat_map(|all| all.keys()) {
            let name = key.replace('/', ".");
            let what = format!("sysctl {key}");
            if name.starts_with("net.") {
                own(&what, true, CLONE_NEWNET, "network")?;
            } else if name == "kernel.domainname" || name == "kernel.hostname" {
                own(&what, true, CLONE_NEWUTS, "uts")?;
            } else if ["kernel.msg", "kernel.shm", "kernel.sem", "fs.mqueue."].iter().any(|own| name.starts_with(own)) {
                own(&what, true, CLONE_NEWIPC, "ipc")?;
            } else if !name.starts_with("user.") {
                bail!("{what}: belongs to the whole machine, not to a namespace");
            }
        }
        Ok(())
    }

    /// What a Spec may say and this runtime does not do: refused, never ignored.
    fn check_unsupported(&self) -> Result<()> {
        let refuse = |there: bool, what: &str| {
            ensure!(!there, "{what}: not supported");
            Ok(())
        };
        if let Some(process) = self.spec.process() {
            let named = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
            refuse(named(process.selinux_label()), "process.selinuxLabel")?;
            let profile = process.apparmor_profile().as_deref().unwrap_or_default();
            refuse(!matches!(profile, "" | "unconfined"), "process.apparmorProfile")?;
            refuse(process.scheduler().is_some(), "process.scheduler")?;
            refuse(process.exec_cpu_affinity().is_some(), "process.execCPUAffinity")?;
        }
        let Some(linux) = self.spec.linux() else { return Ok(()) };
        refuse(linux.mount_label().as_deref().is_some_and(|label| !label.is_empty()), "linux.mountLabel")?;
        refuse(linux.intel_rdt().is_some(), "linux.intelRdt")?;
        refuse(linux.memory_policy().is_some(), "linux.memoryPolicy")?;
        refuse(linux.personality().is_some(), "linux.personality")?;
        refuse(linux.net_devices().as_ref().is_some_and(|devices| !devices.is_empty()), "linux.netDevices")?;
        refuse(linux.devices().as_ref().is_some_and(|devices| !devices.is_empty()), "linux.devices")?;
        refuse(linux.resources().as_ref().is_some_and(limits), "linux.resources")?;
        for mount in self.spec.mounts().iter().flatten() {
            let what = format!("mount {}: id mappings", mount.destination().display());
            refuse(mount.uid_mappings().is_some() || mount.gid_mappings().is_some(), &what)?;
        }
        Ok(())
    }
}

/// True if limits are asked for. Device rules are none: they need root on the host, and without them a user namespace
/// has only the nodes that were bound into it.
fn limits(resources: &LinuxResources) -> bool {
    resources.memory().is_some()
        || resources.cpu().is_some()
        || resources.pids().is_some()
        || resources.block_io().is_some()
        || resources.hugepage_limits().as_ref().is_some_and(|limits| !limits.is_empty())
        || resources.network().is_some()
        || resources.rdma().as_ref().is_some_and(|limits| !limits.is_empty())
        || resources.unified().as_ref().is_some_and(|limits| !limits.is_empty())
}

/// A relative target is meant from "/", a relative source of a bind from the bundle (runtime-spec config.md, "Mounts").
fn make_absolute(dir: &Path, spec: &mut Spec) {
    let is_relative = |mount: &Mount| {
        mount.destination().is_relative() || mount.source().as_ref().is_some_and(|source| source.is_relative())
    };
    let Some(mounts) = spec.mounts_mut().as_mut().filter(|all| all.iter().any(is_relative)) else { return };
    for mount in mounts {
        if mount.destination().is_relative() {
            let target = Path::new("/").join(mount.destination());
            mount.set_destination(target);
        }
        let words = mount.options().as_deref().unwrap_or_default();
        let is_bind =
            mount.typ().as_deref() == Some("bind") || words.iter().any(|word| word == "bind" || word == "rbind");
        if let (true, Some(source)) = (is_bind, mount.source()) {
            let source = dir.join(source);
            mount.set_source(Some(source));
        }
    }
}

fn maps(spec: &Spec) -> Result<IdMaps> {
    let linux = spec.linux().as_ref().context("linux: missing")?;
    let map = |mappings: &Option<Vec<LinuxIdMapping>>, what: &str| {
        let ranges = mappings.iter().flatten().map(|mapping| IdRange {
            inside: mapping.container_id(),
            outside: mapping.host_id(),
            count: mapping.size(),
        });
        IdMap::new(ranges.collect()).with_context(|| what.to_owned())
    };
    Ok(IdMaps {
        uid: map(linux.uid_mappings(), "linux.uidMappings")?,
        gid: map(linux.gid_mappings(), "linux.gidMappings")?,
    })
}
