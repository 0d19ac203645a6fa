//! What a container is: its ids, namespaces, mounts, names, environment, limits.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

use env::{Env, gid, uid};
use std::os::unix::fs::MetadataExt;

#[test]
fn root_and_pid_one_in_seven_namespaces_of_its_own() {
    let env = Env::new();
    let report = env.guest(&[], &["report"]).ok();
    for (key, value) in [("uid", "0"), ("euid", "0"), ("gid", "0"), ("pid", "1"), ("processes", "1"), ("cwd", "/")] {
        assert_eq!(report.field(key), value, "{key}");
    }
    assert_eq!(report.field("fds"), "0,1,2");
    for kind in ["user", "mnt", "pid", "uts", "ipc", "net", "cgroup"] {
        let own = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string();
        assert_ne!(report.field(&format!("ns.{kind}")), own, "{kind}");
    }
    let id = report.field("hostname");
    assert!(id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
}

#[test]
fn nothing_is_left() {
    let env = Env::new();
    env.guest(&["--name", "here"], &["exit", "0"]).ok();
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn exit_status_is_the_payloads() {
    let env = Env::new();
    for status in [0, 1, 42, 125, 126, 127, 255] {
        assert_eq!(env.guest(&[], &["exit", &status.to_string()]).status, status);
    }
    assert_eq!(env.guest(&["--init"], &["exit", "42"]).status, 42);
    // pid 1 may raise what it likes; only with --init is the payload another process, which the signal ends.
    assert_eq!(env.guest(&["--init"], &["raise", "15"]).status, 128 + 15);
}

#[test]
fn files_in_a_bind_belong_to_the_caller() {
    let env = Env::new();
    let dir = env.path("work");
    std::fs::create_dir(&dir).unwrap();
    let bind = format!("{}:/work", dir.display());
    assert_eq!(env.guest(&["-v", &bind], &["write", "/work/new", "text"]).ok().stdout, "ok\n");
    let meta = std::fs::metadata(dir.join("new")).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (uid(), gid()));
    assert_eq!(std::fs::read_to_string(dir.join("new")).unwrap(), "text");
}

#[test]
fn a_read_only_bind_is_read_only_also_below() {
    let env = Env::new();
    let dir = env.path("work");
    std::fs::create_dir(&dir).unwrap();
    for option in
        [format!("-v={}:/work:ro", dir.display()), format!("--mount=type=bind,src={},dst=/work,ro", dir.display())]
    {
        let done = env.guest(&[&option], &["write", "/work/new", "text"]).ok();
        assert_eq!(done.stdout, format!("errno={}\n", libc::EROFS), "{option}");
    }
    let short = format!("--mount={}:/work:ro", dir.display());
    assert_eq!(env.guest(&[&short], &["write", "/work/x", "t"]).ok().stdout, format!("errno={}\n", libc::EROFS));
}

#[test]
fn a_single_file_can_be_bound() {
    let env = Env::new();
    std::fs::write(env.path("file"), "inside").unwrap();
    let bind = format!("{}:/etc/deep/er/file:ro", env.path("file").display());
    assert_eq!(env.guest(&["-v", &bind], &["read", "/etc/deep/er/file"]).ok().stdout, "inside");
}

#[test]
fn tmpfs_and_shm_sizes() {
    let env = Env::new();
    let report = env.guest(&["--tmpfs", "/run:size=1m,mode=700", "--shm-size", "2m"], &["report"]).ok();
    let mounts: Vec<_> = report.stdout.lines().filter(|line| line.starts_with("mount=")).collect();
    assert!(mounts.iter().any(|line| line.contains(" /run ") && line.contains("size=1024k")), "{mounts:#?}");
    assert!(mounts.iter().any(|line| line.contains(" /dev/shm ") && line.contains("size=2048k")), "{mounts:#?}");
}

#[test]
fn read_only_root() {
    let env = Env::new();
    let done = env.guest(&["--read-only"], &["write", "/new", "x"]).ok();
    assert_eq!(done.stdout, format!("errno={}\n", libc::EROFS));
    assert_eq!(env.guest(&["--read-only"], &["write", "/dev/shm/new", "x"]).ok().stdout, "ok\n");
    assert!(!env.path("rootfs/new").exists());
}

#[test]
fn overlay_root_keeps_the_directory_as_it_is() {
    let env = Env::new();
    let rootfs = format!("{}:O", env.rootfs().display());
    let run = |verb: &[&str]| -> env::Done {
        env.rbox().args(["run", "--rm", "--rootfs", &rootfs, "/guest"]).args(verb).output().unwrap().into()
    };
    assert_eq!(run(&["write", "/new", "x"]).ok().stdout, "ok\n");
    assert!(!env.path("rootfs/new").exists());
    assert_eq!(run(&["read", "/new"]).ok().stdout, "error=No such file or directory (os error 2)\n");
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn names_and_environment() {
    let env = Env::new();
    let report = env.guest(&["--hostname", "box", "--domainname", "example"], &["report"]).ok();
    assert_eq!(report.field("hostname"), "box");
    assert_eq!(report.field("domainname"), "example");
    let done: env::Done = env
        .run_command(&["-e", "A=1", "-e", "FROM_HOST", "-e", "NOT_SET"])
        .args(["/guest", "env"])
        .env("FROM_HOST", "yes")
        .env("SECRET", "no")
        .output()
        .unwrap()
        .into();
    let vars = done.ok().fields();
    let mut keys: Vec<_> = vars.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["A", "FROM_HOST", "HOME", "HOSTNAME", "PATH"]);
    assert_eq!((vars["A"].as_str(), vars["FROM_HOST"].as_str(), vars["HOME"].as_str()), ("1", "yes", "/root"));
}

#[test]
fn env_file() {
    let env = Env::new();
    std::fs::write(env.path("vars"), "# comment\nA=from file\nB='quoted'\n\nHOSTVAR\n").unwrap();
    let done: env::Done = env
        .run_command(&["--env-file", "vars", "-e", "A=last"])
        .args(["/guest", "env"])
        .env("HOSTVAR", "imported")
        .output()
        .unwrap()
        .into();
    let vars = done.ok().fields();
    assert_eq!((vars["A"].as_str(), vars["B"].as_str(), vars["HOSTVAR"].as_str()), ("last", "'quoted'", "imported"));
}

#[test]
fn ten_thousand_variables() {
    let env = Env::new();
    let options: Vec<String> = (0..10_000).map(|n| format!("-eVAR{n}={n}")).collect();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let count: usize = env.guest(&options, &["env-count"]).ok().stdout.trim().parse().unwrap();
    assert_eq!(count, 10_003);
}

#[test]
fn workdir_is_made_and_entered() {
    let env = Env::new();
    assert_eq!(env.guest(&["-w", "/some/where"], &["report"]).ok().field("cwd"), "/some/where");
}

#[test]
fn capabilities() {
    let env = Env::new();
    let fourteen = "00000000a80425fb";
    let report = env.guest(&[], &["report"]).ok();
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(report.field(set), fourteen, "{set}");
    }
    for set in ["CapInh", "CapAmb"] {
        assert_eq!(report.field(set), "0000000000000000", "{set}");
    }
    let none = env.guest(&["--cap-drop", "ALL"], &["report"]).ok();
    assert_eq!(none.field("CapBnd"), "0000000000000000");
    let one = env.guest(&["--cap-drop", "all", "--cap-add", "net_raw"], &["report"]).ok();
    assert_eq!(one.field("CapEff"), "0000000000002000");
    let added = env.guest(&["--cap-add", "CAP_SYS_ADMIN"], &["report"]).ok();
    assert_eq!(added.field("CapEff"), "00000000a82425fb");
    let privileged = env.guest(&["--privileged"], &["report"]).ok();
    assert!(u64::from_str_radix(&privileged.field("CapEff"), 16).unwrap().count_ones() >= 41);
    assert_eq!(privileged.field("Seccomp"), "0");
}

#[test]
fn no_new_privileges_only_where_asked() {
    let env = Env::new();
    assert_eq!(env.guest(&[], &["report"]).ok().field("NoNewPrivs"), "0");
    let report = env.guest(&["--security-opt", "no-new-privileges"], &["report"]).ok();
    assert_eq!(report.field("NoNewPrivs"), "1");
    assert_eq!(report.field("Seccomp"), "2");
}

#[test]
fn seccomp_denies_what_dockers_denies() {
    let env = Env::new();
    let answer = |options: &[&str], call: &str| env.guest(options, &["try", call]).ok().stdout;
    let errno = |number: i32| format!("errno={number}\n");
    for call in ["unshare-user", "clone-user", "mount", "keyctl", "bpf", "io_uring_setup", "af_alg", "af_vsock"] {
        // docker denies the families with EPERM or EAFNOSUPPORT depending on its age.
        let said = answer(&[], call);
        assert!(said == errno(libc::EPERM) || said == errno(libc::EAFNOSUPPORT), "{call}: {said}");
    }
    for call in ["clone3", "int80", "x32"] {
        assert_eq!(answer(&[], call), errno(libc::ENOSYS), "{call}");
    }
    assert_eq!(answer(&["--security-opt", "seccomp=unconfined"], "keyctl"), "ok\n");
    assert_eq!(answer(&["--cap-add", "SYS_ADMIN"], "mount"), "ok\n");
    assert_eq!(answer(&["--cap-add", "SYS_ADMIN"], "unshare-user"), errno(libc::EPERM));
}

#[test]
fn i386_calls_can_be_let_in() {
    requires!("i386_calls_can_be_let_in", cfg!(target_arch = "x86_64"), "not an x86_64 machine");
    let env = Env::new();
    let done = env.guest(&["--security-opt", "seccomp-arch=+x86"], &["try", "int80"]).ok();
    // A kernel without IA32 emulation has none to let in.
    requires!(
        "i386_calls_can_be_let_in",
        done.stdout != format!("errno={}\n", libc::ENOSYS),
        "no 32-bit system calls here"
    );
    assert_eq!(done.stdout, "ok\n");
}

#[test]
fn limits_and_sysctls() {
    let env = Env::new();
    let report = env.guest(&["--ulimit", "nofile=100:200", "--ulimit", "core=0"], &["report"]).ok();
    assert_eq!(report.field("rlimit.nofile"), "100:200");
    assert_eq!(report.field("rlimit.core"), "0:0");
    let options = ["--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "kernel.shmmni=77"];
    assert_eq!(env.guest(&options, &["read", "/proc/sys/net/ipv4/ip_forward"]).ok().stdout, "1\n");
    assert_eq!(env.guest(&options, &["read", "/proc/sys/kernel/shmmni"]).ok().stdout, "77\n");
    assert_eq!(env.guest(&["--umask", "027"], &["report"]).ok().field("umask"), "27");
    assert_eq!(env.guest(&["--oom-score-adj", "500"], &["report"]).ok().field("oom_score_adj"), "500");
}

#[test]
fn loopback_is_up() {
    let env = Env::new();
    assert_eq!(env.guest(&[], &["loopback"]).ok().stdout, "ok\n");
    assert_eq!(env.guest(&["--network", "none"], &["loopback"]).ok().stdout, "ok\n");
}

#[test]
fn namespaces_of_the_host() {
    let env = Env::new();
    for (option, kind) in [("--network", "net"), ("--pid", "pid"), ("--ipc", "ipc"), ("--uts", "uts")] {
        let own = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string();
        let report = env.guest(&[option, "host"], &["report"]).ok();
        assert_eq!(report.field(&format!("ns.{kind}")), own, "{option}");
    }
}

#[test]
fn masked_and_read_only_paths() {
    let env = Env::new();
    let done = env.guest(&[], &["write", "/proc/sys/kernel/hostname", "x"]).ok();
    assert_eq!(done.stdout, format!("errno={}\n", libc::EROFS));
    assert_eq!(env.guest(&[], &["ls", "/sys/firmware"]).ok().stdout, "\n");
    assert_eq!(env.guest(&[], &["read", "/proc/timer_list"]).ok().stdout, "");
    let open = env.guest(&["--security-opt", "systempaths=unconfined", "--cap-add", "SYS_ADMIN"], &["report"]).ok();
    assert!(!open.stdout.contains(" /proc/sys "), "{}", open.stdout);
}

#[test]
fn devices() {
    let env = Env::new();
    assert_eq!(
        env.guest(&[], &["ls", "/dev"]).ok().stdout,
        "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero\n"
    );
    assert_eq!(env.guest(&[], &["write", "/dev/null", "x"]).ok().stdout, "ok\n");
    let done = env.guest(&["--device", "/dev/full:/dev/fuller"], &["write", "/dev/fuller", "x"]).ok();
    assert_eq!(done.stdout, format!("errno={}\n", libc::ENOSPC));
}

#[test]
fn users() {
    let env = Env::new();
    requires!("users", range);
    for (user, uid, gid, groups) in [
        ("0", "0", "0", "[]"),
        ("1", "1", "0", "[]"),
        ("1:1", "1", "1", "[]"),
        (":1", "0", "1", "[]"),
        ("ada", "1000", "1000", "[10]"),
        ("ada:wheel", "1000", "10", "[]"),
        ("1000", "1000", "1000", "[10]"),
    ] {
        let report = env.guest(&["-u", user], &["report"]).ok();
        assert_eq!((report.field("uid").as_str(), report.field("gid").as_str()), (uid, gid), "{user}");
        // docker lists the primary group among the supplementary ones; what counts is what comes beside it.
        let others: Vec<u32> = report
            .field("groups")
            .trim_matches(['[', ']'])
            .split(", ")
            .filter_map(|group| group.parse().ok())
            .filter(|group: &u32| group.to_string() != gid)
            .collect();
        assert_eq!(format!("{others:?}"), groups, "{user}");
        if uid != "0" {
            assert_eq!(report.field("CapEff"), "0000000000000000", "{user}");
            assert_eq!(report.field("CapBnd"), "00000000a80425fb", "{user}");
        }
    }
    let report = env.guest(&["--group-add", "wheel", "--group-add", "77"], &["report"]).ok();
    let groups = report.field("groups");
    assert!(groups.contains("10") && groups.contains("77"), "{groups}");
}

#[test]
fn id_maps() {
    let env = Env::new();
    let single = env.guest(&["--id-mode", "single"], &["report"]).ok();
    assert_eq!(single.field("uid_map"), format!("[\"0\", \"{}\", \"1\"]", uid()));
    let keep = env.guest(&["--id-mode", "single", "--userns", "keep-id"], &["report"]).ok();
    assert_eq!(keep.field("uid"), uid().to_string());
    requires!("id_maps", range);
    let range = env.guest(&["--id-mode", "range"], &["report"]).ok();
    assert!(range.field("uid_map").starts_with(&format!("[\"0\", \"{}\", \"1\", \"1\"", uid())));
    let keep = env.guest(&["--userns", "keep-id"], &["report"]).ok();
    assert_eq!(keep.field("uid"), uid().to_string());
    let nomap = env.guest(&["--userns", "nomap", "--rootfs", &format!("{}", env.rootfs().display())], &["report"]);
    assert!(nomap.status == 0 || nomap.stderr.contains("denied"), "{nomap:?}");
}

#[test]
fn init_reaps_and_stays_out_of_reach() {
    let env = Env::new();
    let report = env.guest(&["--init"], &["report"]).ok();
    assert_eq!((report.field("pid").as_str(), report.field("processes").as_str()), ("2", "2"));
    assert_eq!(env.guest(&["--init"], &["orphan"]).ok().stdout, "reaped\n");
    // Nothing of pid 1 can be read: its program is rbox itself, a file of the caller's.
    assert_eq!(env.guest(&["--init"], &["ls", "/proc/1/fd"]).ok().stdout, "\n");
    let done = env.guest(&["--init"], &["write", "/proc/1/exe", "x"]).ok();
    assert_eq!(done.stdout, format!("errno={}\n", libc::EACCES));
}

#[test]
fn older_kernels() {
    let env = Env::new();
    let all = [
        "clone3",
        "mount_setattr",
        "clone3,mount_setattr",
        "clone-beside",
        "clone-between",
        "clone-beside,clone-between",
    ];
    for call in all {
        let done: env::Done = env
            .command(env::program("rbox-guest"))
            .args(["without", call])
            .arg(env::program("rbox"))
            .args(["run", "--rm", "--id-mode", "single", "--network", "none"])
            .args(["--security-opt", "seccomp=unconfined", "--rootfs"])
            .arg(env.rootfs())
            .args(["/guest", "write", "/proc/sys/kernel/hostname", "x"])
            .output()
            .unwrap()
            .into();
        assert_eq!(done.ok().stdout, format!("errno={}\n", libc::EROFS), "without {call}");
    }
}

#[test]
fn what_belongs_to_a_network_namespace_is_its_roots() {
    let env = Env::new();
    // Whoever makes it and whoever writes the ids are at work at the same time.
    for _ in 0..20 {
        let done = env.guest(&["--id-mode", "single", "--network", "none"], &["stat", "/proc/self/net/dev"]).ok();
        assert_eq!(done.field("uid"), "0");
    }
}

#[test]
fn unshare_is_root_of_the_same_ids() {
    let env = Env::new();
    let done: env::Done = env.rbox().args(["unshare", "id", "-u"]).output().unwrap().into();
    assert_eq!(done.ok().stdout, "0\n");
    let done: env::Done = env.rbox().args(["unshare", "sh", "-c", "exit 7"]).output().unwrap().into();
    assert_eq!(done.status, 7);
    let done: env::Done = env.rbox().args(["unshare", "/nowhere"]).output().unwrap().into();
    done.fails(127, "/nowhere");
}

#[test]
fn going_on_with_one_id_is_said_once() {
    let env = Env::new();
    std::fs::remove_file(env.path(env::SAID)).unwrap();
    std::fs::create_dir(env.path("bin")).unwrap();
    for name in ["newuidmap", "newgidmap"] {
        let script = env.path("bin").join(name);
        std::fs::write(&script, format!("#!/bin/sh\necho {name}: broken >&2\nexit 1\n")).unwrap();
        env::set_mode(&script, 0o755);
    }
    let run = || -> env::Done {
        let mut command = env.run_command(&[]);
        command.env("PATH", format!("{}:/bin:/usr/bin", env.path("bin").display())).args(["/guest", "exit", "0"]);
        command.output().unwrap().into()
    };
    let first = run().ok();
    assert!(
        first.stderr.starts_with("rbox: note: ") && first.stderr.contains("; going on with one id\nhint: "),
        "{first:?}"
    );
    assert_eq!(run().ok().stderr, "");
}

#[test]
fn changes_of_a_container_of_another_session_stay() {
    let env = Env::new();
    let rootfs = format!("{}:O", env.rootfs().display());
    let mut first = env.rbox();
    first.args(["run", "--rm", "-i", "--rootfs", &rootfs, "/guest", "write-and-read", "/tmp/kept"]);
    let mut first = first.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut out = std::io::BufReader::new(first.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    assert_eq!(line, "written\n");
    // Another runtime directory, the same home.
    std::fs::create_dir(env.path("run2")).unwrap();
    env::set_mode(&env.path("run2"), 0o700);
    let mut second = env.rbox();
    second.env("XDG_RUNTIME_DIR", env.path("run2")).args(["run", "--rm", "--rootfs", &rootfs, "/guest", "exit", "0"]);
    assert!(second.status().unwrap().success());
    drop(first.stdin.take());
    line.clear();
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    assert_eq!(line, "kept\n");
    assert!(first.wait().unwrap().success());
}

#[test]
fn rboxs_own_arguments_are_not_shown_inside() {
    let env = Env::new();
    let shown = env.guest(&["--init", "-e", "SECRET=hunter2"], &["read", "/proc/1/cmdline"]).ok();
    assert!(!shown.stdout.contains("hunter2"), "{shown:?}");
}

#[test]
fn what_a_container_without_a_pid_namespace_leaves_is_ended() {
    let env = Env::new();
    let done = env.guest(&["--pid", "host"], &["orphan-forever"]).ok();
    let pid = done.field("orphan");
    env::eventually("the orphan ended", || !std::path::Path::new(&format!("/proc/{pid}")).exists());
}
