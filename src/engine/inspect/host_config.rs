//! What was asked of the host for a container, in docker's words (moby, `api/types/container`, `HostConfig`). Pure.
//!
//! Limits are what was asked for. What became of them is in `Limits` of the whole.

use super::{mounts, networks};
use crate::engine::container::Container;
use crate::spec::extra_host::Target;
use crate::spec::limits::{PIDS, RateKind};
use crate::spec::log::{Driver, Log};
use crate::spec::options::{Mount, Namespace, Options, Seccomp, Ulimit, Userns};
use crate::spec::port::HostPort;
use crate::spec::restart::Restart;
use crate::spec::{defaults, masks};
use crate::userns::idmap::IdMap;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The object.
pub fn of(container: &Container, options: &Options) -> Value {
    let mut all = Map::new();
    for part in [general(options), files(options), namespaces(container, options), security(options), limits(options)] {
        all.extend(part.as_object().cloned().unwrap_or_default());
    }
    all.into()
}

fn general(options: &Options) -> Value {
    let mut general = json!({
        "AutoRemove": options.remove,
        "ConsoleSize": [0, 0],
        "Dns": options.resolver.servers,
        "DnsOptions": options.resolver.options,
        "DnsSearch": options.resolver.search.clone().unwrap_or_default(),
        "ExtraHosts": or_null(extra_hosts(options)),
        "Links": null,
        "LogConfig": { "Type": options.log.driver.to_string(), "Config": log_options(&options.log) },
        "NetworkMode": networks::mode(&options.network),
        "PortBindings": port_bindings(options),
        "PublishAllPorts": options.publish_all,
        "RestartPolicy": {
            "Name": options.restart.name(),
            "MaximumRetryCount": match options.restart {
                Restart::OnFailure(count) => count,
                _ => 0,
            },
        },
        "Runtime": "rbox",
    });
    let annotations: Map<String, Value> = options
        .annotations
        .iter()
        .filter(|annotation| !options.labels.contains(annotation))
        .map(|(key, value)| (key.clone(), json!(value)))
        .collect();
    if !annotations.is_empty() {
        general["Annotations"] = annotations.into();
    }
    if options.init {
        general["Init"] = json!(true);
    }
    general
}

/// docker has an empty list for null in some places, and the other way round.
fn or_null<T: Serialize>(list: Vec<T>) -> Value {
    if list.is_empty() { Value::Null } else { json!(list) }
}

fn extra_hosts(options: &Options) -> Vec<String> {
    let lines = options.extra_hosts.iter().flat_map(|host| {
        let target = match host.target {
            Target::Address(address) => address.to_string(),
            Target::HostGateway => "host-gateway".to_owned(),
        };
        host.names.iter().map(move |name| format!("{name}:{target}"))
    });
    lines.collect()
}

/// What counts, also where nothing was said.
fn log_options(log: &Log) -> Value {
    if !matches!(log.driver, Driver::JsonFile | Driver::K8sFile) {
        return json!({});
    }
    let size = match log.max_size {
        0 => "-1".to_owned(),
        size if size % (1 << 20) == 0 => format!("{}m", size >> 20),
        size if size % (1 << 10) == 0 => format!("{}k", size >> 10),
        size => size.to_string(),
    };
    json!({ "max-size": size, "max-file": log.max_file.to_string() })
}

fn port_bindings(options: &Options) -> Value {
    let mut all: Map<String, Value> = Map::new();
    for publish in &options.publish {
        let port = match &publish.host_port {
            HostPort::Random => String::new(),
            HostPort::Fixed(port) => port.to_string(),
            HostPort::FirstFree(ports) => format!("{}-{}", ports.start(), ports.end()),
        };
        let address = publish.host_ip.map(|address| address.to_string()).unwrap_or_default();
        let binding = json!({ "HostIp": address, "HostPort": port });
        let inner = format!("{}/{}", publish.container_port, publish.protocol);
        if let Some(bindings) = all.entry(inner).or_insert_with(|| json!([])).as_array_mut() {
            bindings.push(binding);
        }
    }
    all.into()
}

fn files(options: &Options) -> Value {
    // An anonymous volume is in Config.Volumes, as in docker; which of -v and --mount was typed nobody knows.
    let bind = |mount: &Mount| {
        let source = match mount {
            Mount::Bind { source, .. } | Mount::Overlay { source, .. } => source.display().to_string(),
            Mount::Volume(volume) if !is_anonymous(volume.name.as_deref()) => volume.name.clone().unwrap_or_default(),
            Mount::Volume(_) | Mount::Tmpfs { .. } => return None,
        };
        let words = mounts::words(mount).join(",");
        let end = if words.is_empty() { String::new() } else { format!(":{words}") };
        Some(format!("{source}:{}{end}", mount.target()))
    };
    let devices = options.devices.iter().map(
        |device| json!({ "PathOnHost": device.source, "PathInContainer": device.target, "CgroupPermissions": "rwm" }),
    );
    let from = options.volumes_from.iter().map(|from| match from.readonly {
        true => format!("{}:ro", from.container),
        false => from.container.clone(),
    });
    let mut files = json!({
        "Binds": or_null(options.mounts.iter().filter_map(bind).collect()),
        "DeviceCgroupRules": null,
        "DeviceRequests": null,
        "Devices": devices.collect::<Vec<_>>(),
        "ReadonlyRootfs": options.read_only,
        "ShmSize": if options.no_shm { 0 } else { options.shm_size.unwrap_or(defaults::SHM_SIZE) },
        "VolumeDriver": "",
        "VolumesFrom": or_null(from.collect()),
    });
    let tmpfs: Map<String, Value> = options
        .mounts
        .iter()
        .filter(|mount| matches!(mount, Mount::Tmpfs { .. }))
        .map(|mount| (mount.target().to_owned(), json!(mounts::words(mount).join(","))))
        .collect();
    if !tmpfs.is_empty() {
        files["Tmpfs"] = tmpfs.into();
    }
    files
}

/// True if that is the name of a volume to which nobody has given one.
pub fn is_anonymous(name: Option<&str>) -> bool {
    name.is_none_or(|name| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn namespaces(container: &Container, options: &Options) -> Value {
    let mode = |namespace: &Namespace, private: &str| match namespace {
        Namespace::Private => private.to_owned(),
        Namespace::Host => "host".to_owned(),
        Namespace::Container(name) => format!("container:{name}"),
        Namespace::Path(path) => format!("ns:{}", path.display()),
    };
    json!({
        "Cgroup": "",
        "CgroupnsMode": mode(&options.cgroupns, "private"),
        // podman's.
        "IDMappings": { "UidMap": ranges(&container.maps.uid), "GidMap": ranges(&container.maps.gid) },
        "IpcMode": mode(&options.ipc, if options.no_shm { "none" } else { "private" }),
        "Isolation": "",
        "PidMode": mode(&options.pid, ""),
        "UTSMode": mode(&options.uts, ""),
        "UsernsMode": userns(options),
    })
}

fn ranges(map: &IdMap) -> Vec<String> {
    map.ranges().iter().map(|range| format!("{}:{}:{}", range.inside, range.outside, range.count)).collect()
}

fn userns(options: &Options) -> String {
    match &options.userns {
        Userns::Private => String::new(),
        Userns::KeepId { uid, gid, size } => {
            let words = [("uid", uid), ("gid", gid), ("size", size)];
            let words = words.iter().filter_map(|(key, value)| value.map(|value| format!("{key}={value}")));
            let words: Vec<String> = words.collect();
            if words.is_empty() { "keep-id".to_owned() } else { format!("keep-id:{}", words.join(",")) }
        }
        Userns::NoMap => "nomap".to_owned(),
        Userns::Auto { size: None } => "auto".to_owned(),
        Userns::Auto { size: Some(size) } => format!("auto:size={size}"),
        Userns::Container(name) => format!("container:{name}"),
        Userns::Path(path) => format!("ns:{}", path.display()),
    }
}

fn security(options: &Options) -> Value {
    let capabilities = |names: &[String]| {
        let full = |name: &String| if name == "ALL" { name.clone() } else { format!("CAP_{name}") };
        or_null(names.iter().map(full).collect())
    };
    let (masked, readonly) = (masks::masked(options), masks::readonly(options));
    json!({
        "CapAdd": capabilities(&options.cap_add),
        "CapDrop": capabilities(&options.cap_drop),
        "GroupAdd": or_null(options.group_add.clone()),
        "MaskedPaths": or_null(masked),
        "Privileged": options.privileged,
        "ReadonlyPaths": or_null(readonly),
        "SecurityOpt": or_null(security_options(options)),
    })
}

fn security_options(options: &Options) -> Vec<String> {
    let security = &options.security;
    let mut all = Vec::new();
    all.extend(security.no_new_privileges.then(|| "no-new-privileges".to_owned()));
    match &security.seccomp {
        Seccomp::Builtin => {}
        Seccomp::Unconfined => all.push("seccomp=unconfined".to_owned()),
        Seccomp::Profile(profile) => all.push(format!("seccomp={profile}")),
    }
    let mut list = |key: &str, separator: &str, words: &[String]| {
        if !words.is_empty() {
            all.push(format!("{key}={}", words.join(separator)));
        }
    };
    list("seccomp-arch", ",", &security.seccomp_arch.iter().map(|arch| format!("+{arch}")).collect::<Vec<_>>());
    list("mask", ":", &security.mask);
    list("unmask", ":", &security.unmask);
    all.extend(security.unmask_all.then(|| "systempaths=unconfined".to_owned()));
    all
}

fn limits(options: &Options) -> Value {
    // docker's -1 is without end.
    let amount = |amount: u64| i64::try_from(amount).unwrap_or(-1);
    let ulimit = |one: &Ulimit| json!({ "Name": one.name, "Soft": amount(one.soft), "Hard": amount(one.hard) });
    let asked = &options.limits;
    let rates = |kind: RateKind| {
        let of = asked.rates.iter().filter(|rate| rate.kind == kind);
        or_null(of.map(|rate| json!({ "Path": rate.path, "Rate": rate.rate })).collect())
    };
    // Files such as io.max take several lines.
    let mut conf: BTreeMap<&str, String> = BTreeMap::new();
    for (file, text) in &asked.conf {
        conf.entry(file).and_modify(|lines| *lines = format!("{lines}\n{text}")).or_insert_with(|| text.clone());
    }
    let mut limits = json!({
        "BlkioDeviceReadBps": rates(RateKind::ReadBytes),
        "BlkioDeviceReadIOps": rates(RateKind::Reads),
        "BlkioDeviceWriteBps": rates(RateKind::WriteBytes),
        "BlkioDeviceWriteIOps": rates(RateKind::Writes),
        "BlkioWeight": asked.blkio_weight.unwrap_or(0),
        "BlkioWeightDevice": null,
        "CgroupConf": conf,
        "CgroupParent": options.cgroup_parent.as_deref().unwrap_or_default(),
        "CpuCount": 0,
        "CpuPercent": 0,
        "CpuPeriod": asked.period.unwrap_or(0),
        "CpuQuota": asked.quota.unwrap_or(0),
        "CpuRealtimePeriod": 0,
        "CpuRealtimeRuntime": 0,
        "CpuShares": asked.shares.unwrap_or(0),
        "CpusetCpus": asked.cpuset_cpus.as_deref().unwrap_or_default(),
        "CpusetMems": asked.cpuset_mems.as_deref().unwrap_or_default(),
        "IOMaximumBandwidth": 0,
        "IOMaximumIOps": 0,
        "Memory": asked.memory.unwrap_or(0).max(0),
        "MemoryReservation": asked.reservation.unwrap_or(0),
        "MemorySwap": asked.memory_and_swap().unwrap_or(0),
        "MemorySwappiness": null,
        "NanoCpus": asked.cpus.unwrap_or(0),
        "OomKillDisable": null,
        "OomScoreAdj": options.oom_score_adj.unwrap_or(0),
        "PidsLimit": asked.pids.unwrap_or(PIDS),
        "Ulimits": options.ulimits.iter().map(ulimit).collect::<Vec<_>>(),
    });
    let sysctls: Map<String, Value> = options.sysctls.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    if !sysctls.is_empty() {
        limits["Sysctls"] = sysctls.into();
    }
    limits
}

#[cfg(test)]
mod tests;
