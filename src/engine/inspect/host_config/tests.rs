use super::*;
use crate::spec::network::{Membership, Network};
use crate::spec::options::{Device, Propagation, Security, Volume, VolumesFrom};
use crate::spec::port;
use crate::spec::resolver::Resolver;
use crate::storage::unpack::Owners;
use crate::time::Time;
use crate::userns::idmap::{IdMaps, IdRange};

fn container() -> Container {
    let map = || IdMap::new(vec![IdRange { inside: 0, outside: 1000, count: 1 }]).unwrap();
    Container {
        id: "0".repeat(64),
        name: None,
        created: Time::NEVER,
        image: None,
        config: json!({}),
        args: vec![],
        maps: IdMaps { uid: map(), gid: map() },
        owners: Owners::Record,
        layers: vec![],
        root: None,
        once: false,
        restart: Default::default(),
        asked: None,
        log: Default::default(),
    }
}

#[test]
fn nothing_asked() {
    let config = of(&container(), &Options::default());
    for (key, value) in [
        ("Binds", Value::Null),
        ("CapAdd", Value::Null),
        ("NetworkMode", json!("bridge")),
        ("PortBindings", json!({})),
        ("RestartPolicy", json!({ "Name": "no", "MaximumRetryCount": 0 })),
        ("LogConfig", json!({ "Type": "json-file", "Config": { "max-size": "10m", "max-file": "3" } })),
        ("IpcMode", json!("private")),
        ("PidMode", json!("")),
        ("ShmSize", json!(64 << 20)),
        ("SecurityOpt", Value::Null),
        ("Devices", json!([])),
        ("Ulimits", json!([])),
        ("Memory", json!(0)),
        ("IDMappings", json!({ "UidMap": ["0:1000:1"], "GidMap": ["0:1000:1"] })),
    ] {
        assert_eq!(config[key], value, "{key}");
    }
    assert_eq!(config["MaskedPaths"].as_array().map(Vec::len), Some(12));
    // docker leaves them out.
    for key in ["Init", "Tmpfs", "Sysctls", "Annotations"] {
        assert!(config.get(key).is_none(), "{key}");
    }
}

#[test]
fn all_asked() {
    let bind = Mount::Bind {
        source: "/s".into(),
        target: "/t".to_owned(),
        readonly: true,
        recursive: true,
        propagation: Propagation::RSlave,
        flags: vec!["nodev".to_owned()],
    };
    let volume =
        |name: &str| Mount::Volume(Volume { name: Some(name.to_owned()), target: "/v".into(), ..Volume::default() });
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let options = Options {
        remove: true,
        mounts: vec![
            bind,
            volume("data"),
            volume(&"a".repeat(64)),
            Mount::Tmpfs { target: "/tmp".into(), options: vec!["mode=755".into()] },
        ],
        volumes_from: vec![VolumesFrom { container: "other".into(), readonly: true }],
        read_only: true,
        devices: vec![Device { source: "/dev/fuse".into(), target: "/dev/f".into() }],
        network: Network::Shared(vec![Membership { network: "net".into(), ..Membership::default() }]),
        publish: port::publish(&["127.0.0.1:8080:80", "80", "53:53/udp", "9000-9010:90"]).unwrap(),
        resolver: Resolver {
            servers: vec!["192.0.2.1".parse().unwrap()],
            search: Some(vec!["example".into()]),
            ..Resolver::default()
        },
        extra_hosts: vec![crate::spec::extra_host::parse("a;b=host-gateway").unwrap()],
        pid: Namespace::Host,
        ipc: Namespace::Container("other".into()),
        uts: Namespace::Path("/x".into()),
        userns: Userns::KeepId { uid: Some(5), gid: None, size: Some(9) },
        cap_add: vec!["NET_ADMIN".into()],
        cap_drop: vec!["ALL".into()],
        privileged: true,
        security: Security {
            no_new_privileges: true,
            seccomp: Seccomp::Unconfined,
            mask: vec!["/a".into(), "/b".into()],
            ..Security::default()
        },
        ulimits: vec![Ulimit { name: "nofile".into(), soft: 1024, hard: u64::MAX }],
        sysctls: vec![pair("net.a", "1")],
        init: true,
        oom_score_adj: Some(500),
        labels: vec![pair("l", "1")],
        annotations: vec![pair("l", "1"), pair("own", "2")],
        log: Log { driver: Driver::K8sFile, max_size: 2048, max_file: 1, ..Log::default() },
        ..Options::default()
    };
    let config = of(&container(), &options);
    for (key, value) in [
        ("AutoRemove", json!(true)),
        ("Annotations", json!({ "own": "2" })),
        ("Binds", json!(["/s:/t:ro,rslave,nodev", "data:/v"])),
        ("Tmpfs", json!({ "/tmp": "mode=755" })),
        ("VolumesFrom", json!(["other:ro"])),
        ("ReadonlyRootfs", json!(true)),
        ("Devices", json!([{ "PathOnHost": "/dev/fuse", "PathInContainer": "/dev/f", "CgroupPermissions": "rwm" }])),
        ("NetworkMode", json!("net")),
        (
            "PortBindings",
            json!({
                "80/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "8080" }, { "HostIp": "", "HostPort": "" }],
                "53/udp": [{ "HostIp": "", "HostPort": "53" }],
                "90/tcp": [{ "HostIp": "", "HostPort": "9000-9010" }],
            }),
        ),
        ("Dns", json!(["192.0.2.1"])),
        ("DnsSearch", json!(["example"])),
        ("ExtraHosts", json!(["a:host-gateway", "b:host-gateway"])),
        ("PidMode", json!("host")),
        ("IpcMode", json!("container:other")),
        ("UTSMode", json!("ns:/x")),
        ("UsernsMode", json!("keep-id:uid=5,size=9")),
        ("CapAdd", json!(["CAP_NET_ADMIN"])),
        ("CapDrop", json!(["ALL"])),
        ("Privileged", json!(true)),
        ("MaskedPaths", json!(["/a", "/b"])),
        ("ReadonlyPaths", Value::Null),
        ("SecurityOpt", json!(["no-new-privileges", "seccomp=unconfined", "mask=/a:/b"])),
        ("Ulimits", json!([{ "Name": "nofile", "Soft": 1024, "Hard": -1 }])),
        ("Sysctls", json!({ "net.a": "1" })),
        ("Init", json!(true)),
        ("OomScoreAdj", json!(500)),
        ("LogConfig", json!({ "Type": "k8s-file", "Config": { "max-size": "2k", "max-file": "1" } })),
    ] {
        assert_eq!(config[key], value, "{key}");
    }
    let unlimited = Log { max_size: 0, ..Log::default() };
    assert_eq!(log_options(&unlimited)["max-size"], "-1");
    assert_eq!(log_options(&Log { driver: Driver::None, ..Log::default() }), json!({}));
}
