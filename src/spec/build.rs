//! The waist: options, an image's configuration and facts about the host in, an OCI Spec out. Pure.

use super::host::{Host, Joins};
use super::network::Network;
use super::options::{Namespace, Options, Userns};
use super::{annotation, capability, masks, mounts, process, seccomp, signal, sysctl};
use crate::userns::idmap::IdMap;
use anyhow::{Context, Result, bail};
use oci_spec::image::{Config, ImageConfiguration};
use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespace, LinuxNamespaceType, Root, Spec};
use std::collections::HashMap;
use std::path::PathBuf;

/// The version of the runtime specification whose words are used.
const VERSION: &str = "1.1.0";

/// Builds the Spec of a container as docker would, for any OCI runtime that an unprivileged user can run.
///
/// What only rbox's runtime knows is in annotations, see [`annotation`]. There is no `linux.resources` and no
/// `linux.cgroupsPath`: what becomes of limits depends on the host, and `engine/cgroup.rs` sees to it.
pub fn build(options: &Options, image: Option<&ImageConfiguration>, host: &Host) -> Result<Spec> {
    let image = image.and_then(|image| image.config().as_ref());
    let names = Names::of(options, host)?;
    let bounding = capability::wanted(options, host.bounding)?;
    let mut root = Root::default();
    root.set_path(host.root.clone()).set_readonly(Some(options.read_only));
    let mut spec = Spec::default();
    spec.set_version(VERSION.to_owned())
        .set_root(Some(root))
        .set_process(Some(process::build(options, image, host, names.variable.as_deref(), bounding)?))
        .set_hostname(names.hostname)
        .set_domainname(options.domainname.clone())
        .set_mounts(Some(mounts::build(options, host)?))
        .set_annotations(annotations(options, image, host)?)
        .set_linux(Some(linux(options, host, bounding)?))
        .set_hooks(None);
    Ok(spec)
}

fn linux(options: &Options, host: &Host, bounding: u64) -> Result<Linux> {
    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(namespaces(options, host)?))
        .set_uid_mappings(host.ids.as_ref().map(|ids| mappings(&ids.uid)).transpose()?)
        .set_gid_mappings(host.ids.as_ref().map(|ids| mappings(&ids.gid)).transpose()?)
        .set_sysctl(sysctl::build(options, host)?)
        .set_masked_paths(Some(masks::masked(options)))
        .set_readonly_paths(Some(masks::readonly(options)))
        .set_rootfs_propagation(Some(mounts::rootfs_propagation(options).to_owned()))
        .set_seccomp(seccomp::wanted(options, bounding, host.kernel)?)
        .set_resources(None);
    Ok(linux)
}

/// The container's host name, and what HOSTNAME says.
struct Names {
    hostname: Option<String>,
    variable: Option<String>,
}

impl Names {
    fn of(options: &Options, host: &Host) -> Result<Names> {
        if options.uts != Namespace::Private {
            if options.hostname.is_some() || options.domainname.is_some() {
                bail!("conflicting options: hostname and the UTS mode");
            }
            let variable = (options.uts == Namespace::Host).then(|| host.hostname.clone());
            return Ok(Names { hostname: None, variable });
        }
        let name = hostname(options, host);
        Ok(Names { hostname: Some(name.clone()), variable: Some(name) })
    }
}

/// What the container is called: by itself, and in its /etc.
pub fn hostname(options: &Options, host: &Host) -> String {
    options.hostname.clone().unwrap_or_else(|| match (&options.uts, &options.network) {
        (Namespace::Host, _) | (_, Network::Host) => host.hostname.clone(),
        _ => host.id.chars().take(12).collect(),
    })
}

/// A user namespace and a mount namespace always; the others unless they are the host's.
fn namespaces(options: &Options, host: &Host) -> Result<Vec<LinuxNamespace>> {
    let Joins { user, network, pid, ipc, uts, cgroup, .. } = &host.joins;
    let user = match &options.userns {
        Userns::Path(path) => Some(path.clone()),
        Userns::Container(name) => Some(user.clone().with_context(|| format!("--userns container:{name}: not found"))?),
        _ => user.clone(),
    };
    if user.is_none() && host.ids.is_none() {
        bail!("no id maps for the new user namespace");
    }
    let mut list = vec![namespace(LinuxNamespaceType::User, user), namespace(LinuxNamespaceType::Mount, None)];
    let shared = options.network.namespace();
    for (kind, option, wanted, joined) in [
        (LinuxNamespaceType::Pid, "pid", &options.pid, pid),
        (LinuxNamespaceType::Network, "network", &shared, network),
        (LinuxNamespaceType::Ipc, "ipc", &options.ipc, ipc),
        (LinuxNamespaceType::Uts, "uts", &options.uts, uts),
        (LinuxNamespaceType::Cgroup, "cgroupns", &options.cgroupns, cgroup),
    ] {
        match wanted {
            Namespace::Private => list.push(namespace(kind, None)),
            Namespace::Host => {}
            Namespace::Path(path) => list.push(namespace(kind, Some(path.clone()))),
            Namespace::Container(name) => {
                let path = joined.clone().with_context(|| format!("--{option} container:{name}: not found"))?;
                list.push(namespace(kind, Some(path)));
            }
        }
    }
    Ok(list)
}

fn namespace(kind: LinuxNamespaceType, path: Option<PathBuf>) -> LinuxNamespace {
    let mut namespace = LinuxNamespace::default();
    namespace.set_typ(kind).set_path(path);
    namespace
}

/// An id map as the Spec has it.
pub fn mappings(map: &IdMap) -> Result<Vec<LinuxIdMapping>> {
    map.ranges()
        .iter()
        .map(|range| {
            let mapping = LinuxIdMappingBuilder::default().container_id(range.inside).host_id(range.outside);
            Ok(mapping.size(range.count).build()?)
        })
        .collect()
}

fn annotations(options: &Options, image: Option<&Config>, host: &Host) -> Result<Option<HashMap<String, String>>> {
    let mut annotations: HashMap<String, String> = options.annotations.iter().cloned().collect();
    let mut set = |key: &str, value: String| annotations.insert(key.to_owned(), value);
    if options.init {
        if options.pid == Namespace::Host {
            bail!("--init: the first process of --pid host is the host's");
        }
        set(annotation::INIT, "1".to_owned());
    }
    if process::keeps_groups(options)? {
        set(annotation::KEEP_GROUPS, "1".to_owned());
    }
    if let Some(usual) = sysctl::usual(options, host) {
        set(annotation::USUAL_SYSCTLS, usual);
    }
    if let Some(volumes) = mounts::volumes(options, host)? {
        set(annotation::VOLUMES, volumes);
    }
    let of_image = image.and_then(|image| image.stop_signal().as_deref()).filter(|signal| !signal.is_empty());
    let of_image = of_image.map(|text| signal::parse(text).with_context(|| format!("the image's stop signal {text}")));
    if let Some(signal) = options.stop_signal.map_or_else(|| of_image.transpose(), |signal| Ok(Some(signal)))? {
        set(annotation::STOP_SIGNAL, signal.to_string());
    }
    Ok((!annotations.is_empty()).then_some(annotations))
}

#[cfg(test)]
mod tests;
