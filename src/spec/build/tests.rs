use super::*;
use crate::error::Failure;
use crate::spec::host::{self, Etc, Overlay};
use crate::spec::options::{self, Device, Mount, Propagation, Root, Seccomp, Security, Ulimit};
use crate::userns::idmap::{IdMaps, IdRange};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// An engine that found a range of subordinate ids.
fn host() -> Host {
    let map = |own: u32| {
        let ranges =
            vec![IdRange { inside: 0, outside: own, count: 1 }, IdRange { inside: 1, outside: 100_000, count: 65536 }];
        IdMap::new(ranges).expect("a valid map")
    };
    Host {
        id: "0123456789abcdef".repeat(4),
        hostname: "laptop".to_owned(),
        uid: 1000,
        gid: 1000,
        ids: Some(IdMaps { uid: map(1000), gid: map(1000) }),
        passwd: Some("root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\n".to_owned()),
        group: Some("root:x:0:root\nwheel:x:10:root,ada\nhuge:x:4000000:ada\n".to_owned()),
        root: "/srv/alpine".into(),
        bounding: crate::seccomp::capability::EVERY,
        kernel: (6, 1),
        etc: Etc { hosts: Some("/run/id/hosts".into()), ..Etc::default() },
        v6: true,
        ..Host::default()
    }
}

fn single(mut host: Host) -> Host {
    host.ids = Some(IdMaps { uid: IdMap::single(0, 1000), gid: IdMap::single(0, 1000) });
    host
}

fn options() -> Options {
    Options {
        root: Root::Directory { path: "/srv/alpine".into(), overlay: false },
        command: vec!["sh".to_owned()],
        // The filter has tests of its own; here it would be most of the text.
        security: Security { seccomp: Seccomp::Unconfined, ..Security::default() },
        ..Options::default()
    }
}

fn image(json: &str) -> ImageConfiguration {
    let text = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":[]}},"config":{json}}}"#
    );
    serde_json::from_str(&text).expect("an image configuration")
}

/// The Spec as JSON in one order: sets and maps of the crate have none.
fn json(spec: &Spec) -> Value {
    let mut value = serde_json::to_value(spec).expect("serializable");
    for set in value["process"]["capabilities"].as_object_mut().expect("an object").values_mut() {
        set.as_array_mut().expect("an array").sort_by_key(ToString::to_string);
    }
    value
}

/// Compares with `tests/golden/NAME.json`; with UPDATE_GOLDEN in the environment writes it.
fn golden(name: &str, spec: &Spec) {
    let path = source().join("tests/golden").join(name).with_extension("json");
    let text = serde_json::to_string_pretty(&json(spec)).expect("serializable") + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs_err::write(&path, &text).expect("writable");
    }
    let expected = fs_err::read_to_string(&path).unwrap_or_default();
    assert!(expected == text, "{} differs from:\n{text}", path.display());
}

fn make(options: &Options, host: &Host) -> Result<Spec> {
    build(options, None, host)
}

fn message(result: Result<Spec>) -> String {
    Failure::from(&result.expect_err("refused")).message
}

fn env(spec: &Spec) -> Vec<String> {
    spec.process().as_ref().and_then(|process| process.env().clone()).expect("an environment")
}

fn args(spec: &Spec) -> Vec<String> {
    spec.process().as_ref().and_then(|process| process.args().clone()).expect("arguments")
}

/// Options of one mount, by destination.
fn mount_options(spec: &Spec, destination: &str) -> Option<String> {
    let mount = spec.mounts().iter().flatten().find(|mount| mount.destination() == Path::new(destination))?;
    Some(format!("{} {}", mount.typ().as_deref()?, mount.options().as_ref()?.join(",")))
}

fn user(spec: &Spec) -> (u32, u32, Vec<u32>) {
    let user = spec.process().as_ref().expect("a process").user();
    (user.uid(), user.gid(), user.additional_gids().clone().unwrap_or_default())
}

#[test]
fn goldens() {
    golden("default", &make(&options(), &host()).expect("valid"));
    golden("single-id", &make(&options(), &single(host())).expect("valid"));
    golden("privileged", &make(&Options { privileged: true, ..options() }, &host()).expect("valid"));
    let shared = Options {
        network: Network::Host,
        pid: Namespace::Host,
        ipc: Namespace::Host,
        uts: Namespace::Host,
        ..options()
    };
    let joins = Joins { mqueue: Some("/dev/mqueue".into()), ..Joins::default() };
    golden("host-namespaces", &make(&shared, &Host { joins, ..host() }).expect("valid"));
    let joined = Options {
        network: Network::Container("web".to_owned()),
        pid: Namespace::Path("/proc/4711/ns/pid".into()),
        ..options()
    };
    let joins = Joins {
        user: Some("/proc/4711/ns/user".into()),
        network: Some("/proc/4711/ns/net".into()),
        ..Joins::default()
    };
    golden("joined", &make(&joined, &Host { ids: None, joins, ..host() }).expect("valid"));
    golden("everything", &everything());
}

fn everything() -> Spec {
    let text = |text: &str| text.to_owned();
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let options = Options {
        root: Root::Directory { path: "/srv/al:pi,ne".into(), overlay: true },
        tty: true,
        env: vec![pair("LANG", "C"), pair("PATH", "/bin"), pair("LANG", "C.UTF-8")],
        unset_env: vec![text("GONE")],
        workdir: Some(text("/work")),
        user: Some(text("ada")),
        group_add: vec![text("10"), text("4711")],
        hostname: Some(text("box")),
        domainname: Some(text("example.org")),
        entrypoint: Some(vec![text("/bin/sh"), text("-c")]),
        command: vec![text("id")],
        mounts: vec![
            Mount::Bind {
                source: "/home/ada/a".into(),
                target: text("/deep/er/a"),
                readonly: true,
                recursive: true,
                propagation: Propagation::RSlave,
                flags: vec![text("noexec")],
            },
            Mount::Tmpfs { target: text("/tmp"), options: vec![text("exec"), text("size=1048576")] },
            Mount::Overlay { source: "/home/ada/b".into(), target: text("/b") },
            Mount::Tmpfs { target: text("/dev/shm"), options: Vec::new() },
        ],
        read_only: true,
        devices: vec![Device { source: "/dev/fuse".into(), target: text("/dev/fuse") }],
        cap_add: vec![text("NET_ADMIN")],
        cap_drop: vec![text("MKNOD")],
        security: Security {
            no_new_privileges: true,
            seccomp: Seccomp::Unconfined,
            unmask: vec![text("/sys/*")],
            mask: vec![text("/etc/shadow")],
            ..Security::default()
        },
        ulimits: vec![Ulimit { name: text("nofile"), soft: 1024, hard: u64::MAX }],
        sysctls: vec![pair("net.ipv4.ip_forward", "1")],
        init: true,
        umask: Some(0o027),
        oom_score_adj: Some(500),
        annotations: vec![pair("org.example.a", "b")],
        stop_signal: Some(3),
        ..options()
    };
    let overlay =
        |name: &str| Overlay { upper: format!("/x/{name}/upper").into(), work: format!("/x/{name}/work").into() };
    let layers = vec!["/srv/al:pi,ne".into()];
    let host = Host { root: "/x/root".into(), layers, overlays: vec![overlay("0"), overlay("1")], ..host() };
    let image = image(r#"{"Env":["GONE=1","KEPT=2"],"Cmd":["dropped"],"WorkingDir":"/else","User":"root"}"#);
    build(&options, Some(&image), &host).expect("valid")
}

#[test]
fn command_and_entrypoint() {
    let image = image(r#"{"Entrypoint":["/entry","x"],"Cmd":["cmd"]}"#);
    let list = |words: &str| words.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    for (entrypoint, command, expected) in [
        (None, "", "/entry x cmd"),
        (None, "a b", "/entry x a b"),
        (Some("/mine"), "", "/mine"),
        (Some("/mine"), "a", "/mine a"),
        (Some(""), "a", "a"),
    ] {
        let options = Options { entrypoint: entrypoint.map(list), command: list(command), ..options() };
        assert_eq!(args(&build(&options, Some(&image), &host()).expect(expected)), list(expected));
    }
    let none = Options { entrypoint: Some(Vec::new()), command: Vec::new(), ..options() };
    assert_eq!(message(build(&none, Some(&image), &host())), "no command specified");
    assert_eq!(message(make(&Options { command: Vec::new(), ..options() }, &host())), "no command specified");
}

#[test]
fn environment() {
    let image = image(r#"{"Env":["PATH=/image","SECRET","HOME*","=x","A=1","B=2","A=3"]}"#);
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let options = Options { env: vec![pair("B", "4"), pair("C", "5")], tty: true, ..options() };
    let spec = build(&options, Some(&image), &host()).expect("valid");
    let expected = ["PATH=/image", "HOSTNAME=0123456789ab", "TERM=xterm", "A=3", "B=4", "C=5", "HOME=/root"];
    assert_eq!(env(&spec), expected);

    let unset = Options { unset_env: vec!["A".to_owned(), "B".to_owned()], env: vec![pair("B", "6")], ..options };
    let spec = build(&unset, Some(&image), &host()).expect("valid");
    assert_eq!(env(&spec), ["PATH=/image", "HOSTNAME=0123456789ab", "TERM=xterm", "B=6", "HOME=/root"]);

    let home = Options { env: vec![pair("HOME", "/h")], user: Some("ada".to_owned()), ..unset };
    assert!(env(&make(&home, &host()).expect("valid")).contains(&"HOME=/h".to_owned()));
    let home = Options { env: Vec::new(), ..home };
    assert!(env(&make(&home, &host()).expect("valid")).contains(&"HOME=/home/ada".to_owned()));
}

#[test]
fn many_variables() {
    let variables = (0..10_000).map(|n| (format!("N{n}"), n.to_string())).collect();
    let spec = make(&Options { env: variables, ..options() }, &host()).expect("valid");
    assert_eq!(env(&spec).len(), 10_003);
}

#[test]
fn nothing_with_a_nul_byte() {
    let image = image(r#"{"Env":["A=x\u0000y"]}"#);
    assert_eq!(message(build(&options(), Some(&image), &host())), r#"environment "A=x\0y": a NUL byte in it"#);
}

#[test]
fn users() {
    let with = |user: &str| Options { user: Some(user.to_owned()), ..options() };
    for (text, uid, gid, groups) in [
        ("", 0, 0, vec![0, 10]),
        ("0:5", 0, 5, vec![5]),
        // The group `huge` is not mapped.
        ("ada", 1000, 1000, vec![1000, 10]),
        ("65536:65536", 65536, 65536, vec![65536]),
    ] {
        assert_eq!(user(&make(&with(text), &host()).expect(text)), (uid, gid, groups), "{text:?}");
    }
    for (text, expected) in [
        ("eve", "-u eve: unable to find user eve: no matching entries in passwd file"),
        ("4294967296", "-u 4294967296: 4294967296 is not an id: ids go from 0 to 4294967294"),
        ("70000", "-u 70000: user id 70000 is not mapped: the container has 0-65536"),
        ("0:70000", "-u 0:70000: group id 70000 is not mapped: the container has 0-65536"),
    ] {
        assert_eq!(message(make(&with(text), &host())), expected);
    }
    assert_eq!(message(make(&with("1"), &single(host()))), "-u 1: user id 1 is not mapped: the container has 0");
}

#[test]
fn whose_user_it_is() {
    let image = image(r#"{"User":"ada"}"#);
    assert_eq!(user(&build(&options(), Some(&image), &host()).expect("valid")).0, 1000);
    let root = Options { user: Some("0".to_owned()), ..options() };
    assert_eq!(user(&build(&root, Some(&image), &host()).expect("valid")).0, 0);

    let keep = Options { userns: Userns::KeepId { uid: None, gid: None, size: None }, ..options() };
    let mut host = host();
    let map = |inside| IdMap::single(inside, 1000);
    host.ids = Some(IdMaps { uid: map(1000), gid: map(100) });
    assert_eq!(user(&make(&keep, &host).expect("valid")), (1000, 100, vec![]));
    assert!(env(&make(&keep, &host).expect("valid")).contains(&"HOME=/home/ada".to_owned()));
    assert_eq!(
        message(make(&Options { user: Some("0".to_owned()), ..keep }, &host)),
        "-u 0: user id 0 is not mapped: the container has 1000"
    );
}

#[test]
fn supplementary_groups() {
    let with = |groups: &[&str]| Options { group_add: groups.iter().map(|g| (*g).to_owned()).collect(), ..options() };
    assert_eq!(user(&make(&with(&["wheel", "5"]), &host()).expect("valid")).2, [0, 10, 5]);
    assert_eq!(
        message(make(&with(&["huge"]), &host())),
        "--group-add huge: group id 4000000 is not mapped: the container has 0-65536"
    );
    assert_eq!(
        message(make(&with(&["none"]), &host())),
        "--group-add none: unable to find group none: no matching entries in group file"
    );
    assert!(message(make(&with(&["wheel"]), &single(host()))).contains("group id 10 is not mapped"));
    assert!(user(&make(&options(), &single(host())).expect("valid")).2.is_empty());
    // As an image may have it: in every group that is mapped, and twice.
    let group: String = (0..2 * 65537).map(|number| format!("g:x:{}:root\n", number % 65537)).collect();
    let many = Host { group: Some(group), ..host() };
    assert_eq!(user(&make(&options(), &many).expect("valid")).2.len(), 65537);

    let spec = make(&with(&["keep-groups"]), &host()).expect("valid");
    let annotations = spec.annotations().clone().expect("one");
    assert_eq!(annotations.get("run.oci.keep_original_groups").map(String::as_str), Some("1"));
    assert!(user(&spec).2.is_empty());
    assert!(message(make(&with(&["keep-groups", "5"]), &host())).contains("excludes other groups"));
}

#[test]
fn host_names() {
    let hostname = |change: fn(&mut Options)| {
        let mut options = options();
        change(&mut options);
        make(&options, &host()).map(|spec| (spec.hostname().clone(), env(&spec)[1].clone()))
    };
    let some = |name: &str| Some(name.to_owned());
    let (name, variable) = hostname(|_| {}).expect("valid");
    assert_eq!((name, variable.as_str()), (some("0123456789ab"), "HOSTNAME=0123456789ab"));
    let (name, variable) = hostname(|options| options.hostname = Some("box".to_owned())).expect("valid");
    assert_eq!((name, variable.as_str()), (some("box"), "HOSTNAME=box"));
    let (name, variable) = hostname(|options| options.network = Network::Host).expect("valid");
    assert_eq!((name, variable.as_str()), (some("laptop"), "HOSTNAME=laptop"));
    let (name, variable) = hostname(|options| options.uts = Namespace::Host).expect("valid");
    assert_eq!((name, variable.as_str()), (None, "HOSTNAME=laptop"));
    let clash = hostname(|options| (options.uts, options.hostname) = (Namespace::Host, Some("box".to_owned())));
    assert_eq!(clash.expect_err("refused").to_string(), "conflicting options: hostname and the UTS mode");
}

#[test]
fn working_directories() {
    let cwd = |options: &Options, image: Option<&ImageConfiguration>| {
        build(options, image, &host()).map(|spec| spec.process().as_ref().expect("a process").cwd().clone())
    };
    let image = image(r#"{"WorkingDir":"/image"}"#);
    let with = |dir: &str| Options { workdir: Some(dir.to_owned()), ..options() };
    assert_eq!(cwd(&options(), None).expect("valid"), Path::new("/"));
    assert_eq!(cwd(&options(), Some(&image)).expect("valid"), Path::new("/image"));
    assert_eq!(cwd(&with("/mine"), Some(&image)).expect("valid"), Path::new("/mine"));
    let error = cwd(&with("mine"), None).expect_err("relative").to_string();
    assert_eq!(error, "the working directory 'mine' is invalid, it needs to be an absolute path");
}

#[test]
fn mounts_of_the_user_replace_and_hide() {
    let tmpfs = |target: &str| Mount::Tmpfs { target: target.to_owned(), options: Vec::new() };
    let with = |targets: &[&str]| Options { mounts: targets.iter().map(|target| tmpfs(target)).collect(), ..options() };
    let places = |options: &Options| -> Vec<String> {
        let spec = make(options, &host()).expect("valid");
        spec.mounts().iter().flatten().map(|mount| mount.destination().display().to_string()).collect()
    };
    assert_eq!(
        places(&with(&["/dev/shm", "/a/b", "/c"])),
        ["/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup", "/dev/mqueue", "/etc/hosts", "/c", "/dev/shm", "/a/b"]
    );
    assert_eq!(places(&with(&["/dev"])), ["/proc", "/sys", "/sys/fs/cgroup", "/etc/hosts", "/dev"]);
    let others = ["/dev", "/dev/pts", "/dev/mqueue", "/dev/shm", "/etc/hosts", "/sys", "/proc"];
    assert_eq!(places(&with(&["/sys", "/proc"])), others);
    assert!(!places(&with(&["/etc"])).contains(&"/etc/hosts".to_owned()));
    assert_eq!(message(make(&with(&["/a", "/a"]), &host())), "duplicate mount point: /a");

    let device = Device { source: "/dev/fuse".into(), target: "/dev/fuse".to_owned() };
    let twice = Options { devices: vec![device.clone(), device.clone()], ..options() };
    assert_eq!(places(&twice).iter().filter(|place| *place == "/dev/fuse").count(), 1);
    let clash = Options { devices: vec![device], ..with(&["/dev/fuse"]) };
    assert_eq!(message(make(&clash, &host())), "duplicate mount point: /dev/fuse");
}

#[test]
fn volumes() {
    let volume = |target: &str, readonly, nocopy| {
        Mount::Volume(options::Volume { target: target.to_owned(), readonly, nocopy, ..Default::default() })
    };
    let mounts = vec![volume("/a/b", false, false), volume("/c", true, true), volume("/d", true, false)];
    let found = |name: &str, content| host::Volume { name: name.to_owned(), content };
    let volumes = vec![
        found("one", host::Content::Directory("/x/one/_data".into())),
        found("two", host::Content::Bind { path: "/srv".into(), readonly: false }),
        found("three", host::Content::Tmpfs(vec!["size=4096".to_owned()])),
    ];
    let spec = make(&Options { mounts, ..options() }, &Host { volumes, ..host() }).expect("valid");
    assert_eq!(mount_options(&spec, "/a/b").as_deref(), Some("bind rbind,rprivate,x-rbox.copyup"));
    assert_eq!(mount_options(&spec, "/c").as_deref(), Some("bind rbind,rprivate,rro"));
    assert_eq!(mount_options(&spec, "/d").as_deref(), Some("tmpfs noexec,nosuid,nodev,rprivate,size=4096,ro"));
    let annotations = spec.annotations().clone().expect("one");
    let named = annotations.get("rbox.volumes").map(String::as_str);
    assert_eq!(named, Some(r#"{"/a/b":"one","/c":"two","/d":"three"}"#));
}

#[test]
fn shared_memory() {
    let spec = make(&Options { shm_size: Some(4096), ..options() }, &host()).expect("valid");
    assert_eq!(mount_options(&spec, "/dev/shm").as_deref(), Some("tmpfs nosuid,noexec,nodev,mode=1777,size=4096"));
    let spec = make(&Options { no_shm: true, ..options() }, &host()).expect("valid");
    assert_eq!(mount_options(&spec, "/dev/shm"), None);
    let spec = make(&Options { ipc: Namespace::Host, ..options() }, &host()).expect("valid");
    assert_eq!(mount_options(&spec, "/dev/shm").as_deref(), Some("bind rbind,nosuid,noexec,nodev,rprivate"));
    assert_eq!(mount_options(&spec, "/dev/mqueue"), None);
    let clash = Options { ipc: Namespace::Host, shm_size: Some(4096), ..options() };
    assert_eq!(message(make(&clash, &host())), "--shm-size: with this --ipc /dev/shm is not the container's own");
    let joins = Joins { ipc: Some("/proc/1/ns/ipc".into()), ..Joins::default() };
    let other = Options { ipc: Namespace::Container("web".to_owned()), ..options() };
    assert!(message(make(&other, &Host { joins, ..host() })).contains("cannot be shared yet"));
}

#[test]
fn what_needs_a_mapped_group() {
    let pts = |host: &Host| mount_options(&make(&options(), host).expect("valid"), "/dev/pts").expect("one");
    assert!(pts(&host()).ends_with(",gid=5"));
    assert!(!pts(&single(host())).contains("gid"));
}

#[test]
fn an_init_of_its_own_needs_a_pid_namespace() {
    let options = Options { init: true, pid: Namespace::Host, ..options() };
    assert_eq!(message(make(&options, &host())), "--init: the first process of --pid host is the host's");
}

/// The source tree, which may have been taken elsewhere together with this program.
fn source() -> PathBuf {
    std::env::var_os("RBOX_SOURCE").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}
