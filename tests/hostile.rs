//! Bad input and hostile images: one clear line, the right status, the host untouched.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

use env::{Done, Env};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

/// A directory of the user's that no image may change, and what is in it.
fn victim(env: &Env) -> std::path::PathBuf {
    let dir = env.path("home/victim");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("file"), "precious").unwrap();
    dir
}

#[track_caller]
fn unharmed(dir: &Path) {
    let names: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["file"], "{dir:?}");
    assert_eq!(std::fs::read_to_string(dir.join("file")).unwrap(), "precious");
}

#[test]
fn the_root_filesystem() {
    let env = Env::new();
    let run =
        |rootfs: &str| -> Done { env.rbox().args(["run", "--rootfs", rootfs, "/guest"]).output().unwrap().into() };
    run("/no/such/dir").fails(125, "/no/such/dir");
    run(env.path("rootfs/guest").to_str().unwrap()).fails(125, "not a directory");
    let done: Done = env.rbox().args(["run", "--rm", "/guest"]).output().unwrap().into();
    assert_eq!(done.status, 125, "{done:?}");
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn the_command() {
    let env = Env::new();
    let run = |args: &[&str]| -> Done { env.run_command(&[]).args(args).output().unwrap().into() };
    std::fs::write(env.path("rootfs/script"), "#!/no/interpreter\n").unwrap();
    std::fs::write(env.path("rootfs/text"), "no program\n").unwrap();
    env::set_mode(&env.path("rootfs/script"), 0o755);
    env::set_mode(&env.path("rootfs/text"), 0o755);
    std::fs::write(env.path("rootfs/plain"), "x").unwrap();
    run(&["nothing"]).fails(127, "executable file not found in $PATH");
    run(&["/nothing"]).fails(127, "No such file");
    run(&["/etc"]).fails(126, "/etc");
    run(&["/plain"]).fails(126, "ermission denied");
    run(&["/script"]).fails(127, "/script");
    run(&["/text"]).fails(126, "/text");
    run(&[]).fails(125, "command");
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn options() {
    let env = Env::new();
    for (options, text) in [
        (&["-u", "nobody-here"][..], "nobody-here"),
        (&["-u", "far"], "4000000"),
        (&["-u", "4294967295"], "4294967295"),
        (&["-u", "4294967296"], "4294967296"),
        (&["-u", "-1"], "-1"),
        (&["-v", "/no/such/source:/x"], "/no/such/source"),
        (&["-v", "/tmp:relative"], "relative"),
        (&["-v", "/tmp:/x:what"], "what"),
        (&["-v", "/tmp:/x", "-v", "/etc:/x"], "/x"),
        (&["--mount", "type=bind,src=/tmp"], "--mount"),
        (&["-w", "relative"], "relative"),
        (&["--cap-add", "nonsense"], "nonsense"),
        (&["--ulimit", "nofile=x"], "nofile"),
        (&["--ulimit", "nofile=99999999:99999999"], "nofile"),
        (&["--sysctl", "kernel.panic=1"], "kernel.panic"),
        (&["--sysctl", "net.no.such=1"], "net.no.such"),
        (&["--network", "host", "--sysctl", "net.ipv4.ip_forward=1"], "net.ipv4.ip_forward"),
        (&["--security-opt", "nonsense"], "nonsense"),
        (&["--security-opt", "seccomp=/no/such/file"], "/no/such/file"),
        (&["--device", "/dev/no-such-device"], "no-such-device"),
        (&["--device", "/dev/null:/dev/x:r"], "r"),
        (&["--hostname", "bad\nname"], "hostname"),
        (&["--name", "../up"], "../up"),
        (&["--name=-option"], "-option"),
        (&["--pid", "container:none-such"], "none-such"),
        (&["--network", "ns:relative"], "relative"),
        (&["--network", "none", "--network", "host"], "none"),
        (&["--network", "pasta:--no-such"], "--no-such"),
        (&["--network", "slirp4netns:mtu=1"], "mtu"),
        (&["-p", "80-81:1-3"], "80-81"),
        (&["-p", "8080:80", "-p", "8080:81"], "-p 8080:80"),
        (&["-p", "80", "--network", "none"], "port publishing"),
        (&["--dns", "nowhere"], "nowhere"),
        (&["--add-host", "a"], "add-host"),
        (&["--mac-address", "ff:ff:ff:ff:ff:ff"], "ff:ff:ff:ff:ff:ff"),
        (&["--ip", "10.0.2.255"], "10.0.2.255"),
        (&["--shm-size", "lots"], "lots"),
        (&["--uidmap", "0:x"], "0:x"),
        (&["--env-file", "/no/such/file"], "/no/such/file"),
        (&["--oom-score-adj", "5000"], "5000"),
    ] {
        env.guest(options, &["exit", "0"]).fails(125, text);
    }
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn unknown_options_and_arguments_that_are_no_text() {
    let env = Env::new();
    let done: Done = env.rbox().args(["run", "--no-such-option"]).output().unwrap().into();
    assert_eq!(done.status, 125, "{done:?}");
    assert!(done.stderr.contains("--no-such-option"), "{done:?}");
    let done: Done = env.run_command(&[]).arg("/guest").arg(OsStr::from_bytes(b"\xff\xfe")).output().unwrap().into();
    done.fails(125, "UTF-8");
}

#[test]
fn directories_of_the_image_that_are_symlinks_to_the_host() {
    for name in ["dev", "proc", "sys"] {
        for (kind, rewrite) in [("absolute", false), ("relative", true)] {
            let env = Env::new();
            let victim = victim(&env);
            let target = if rewrite { Path::new("../home/victim").to_owned() } else { victim.clone() };
            symlink(&target, env.path("rootfs").join(name)).unwrap();
            env.guest(&[], &["exit", "0"]).fails(125, name);
            unharmed(&victim);
            assert!(env.path("rootfs").join(name).is_symlink(), "{kind}");
        }
    }
    // What lies deeper is refused, too: dev is a directory, its pts leads out.
    let env = Env::new();
    let victim = victim(&env);
    std::fs::create_dir(env.path("rootfs/sys")).unwrap();
    symlink(&victim, env.path("rootfs/sys/fs")).unwrap();
    env.guest(&[], &["exit", "0"]).ok();
    unharmed(&victim);
}

#[test]
fn etc_that_is_a_symlink_to_the_host() {
    let env = Env::new();
    let victim = victim(&env);
    std::fs::remove_dir_all(env.path("rootfs/etc")).unwrap();
    symlink(&victim, env.path("rootfs/etc")).unwrap();
    std::fs::write(victim.join("file"), "precious").unwrap();
    let bind = format!("{}:/etc/hosts", env.path("rootfs/guest").display());
    // Followed inside the root only: the name is made there, not on the host.
    let done = env.guest(&["-v", &bind], &["exit", "0"]);
    assert!(matches!(done.status, 0 | 125), "{done:?}");
    unharmed(&victim);
    // The host's accounts are not read through it either.
    std::fs::write(victim.join("file"), "precious").unwrap();
    env.guest(&["-u", "root"], &["exit", "0"]);
}

#[test]
fn mount_targets_that_lead_out() {
    for target in ["/link", "/link/deep/er", "/up", "/dangling/x"] {
        let env = Env::new();
        let victim = victim(&env);
        symlink(&victim, env.path("rootfs/link")).unwrap();
        symlink("../../../../../../../../..", env.path("rootfs/up")).unwrap();
        symlink("/not/there/yet", env.path("rootfs/dangling")).unwrap();
        std::fs::create_dir(env.path("source")).unwrap();
        let bind = format!("{}:{target}", env.path("source").display());
        let done = env.guest(&["-v", &bind], &["exit", "0"]);
        assert!(matches!(done.status, 0 | 125 | 127), "{target}: {done:?}");
        unharmed(&victim);
    }
}

#[test]
fn a_working_directory_in_proc_self_fd() {
    let env = Env::new();
    for number in 3..20 {
        let done = env.guest(&["-w", &format!("/proc/self/fd/{number}")], &["report"]);
        assert_eq!(done.status, 125, "{number}: {done:?}");
        assert_eq!(done.stdout, "");
    }
    let done = env.guest(&["-w", "/proc/self/fd/7/../../../.."], &["report"]);
    assert!(done.status == 125 || done.field("cwd") == "/", "{done:?}");
}

#[test]
fn a_working_directory_that_leads_out() {
    let env = Env::new();
    let victim = victim(&env);
    symlink(&victim, env.path("rootfs/a")).unwrap();
    let done = env.guest(&["-w", "/a/b"], &["report"]);
    assert!(done.status == 125 || done.field("cwd").starts_with('/'), "{done:?}");
    unharmed(&victim);
}

#[test]
fn accounts_of_the_image() {
    let passwd = |make: &dyn Fn(&Path)| -> Done {
        let env = Env::new();
        let path = env.path("rootfs/etc/passwd");
        std::fs::remove_file(&path).unwrap();
        make(&path);
        env.guest(&["-u", "ada"], &["report"])
    };
    let fifo = passwd(&|path| {
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    });
    fifo.fails(125, "passwd");
    passwd(&|path| symlink("/etc/shadow", path).unwrap()).fails(125, "ada");
    passwd(&|path| symlink("/proc/self/fd/0", path).unwrap()).fails(125, "");
    passwd(&|path| {
        let file = std::fs::File::create(path).unwrap();
        file.set_len(1 << 40).unwrap();
    })
    .fails(125, "passwd");
    passwd(&|path| std::fs::write(path, vec![0; 1000]).unwrap()).fails(125, "ada");
    // A number is never looked up as a name (CVE-2026-46680).
    passwd(&|path| std::fs::write(path, "4294967296:x:0:0::/:\n").unwrap());
    let env = Env::new();
    std::fs::write(env.path("rootfs/etc/passwd"), "4294967296:x:0:0::/:\n").unwrap();
    env.guest(&["-u", "4294967296"], &["report"]).fails(125, "4294967296");
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let env = Env::new();
    let done: Done = env.run_command(&[]).arg("/x\x1b[2Jy\nrbox: fake").output().unwrap().into();
    assert!(!done.stderr.contains('\x1b'), "{done:?}");
    assert_eq!(done.stderr.lines().count(), 1, "{done:?}");
}

#[test]
fn without_a_place_for_files() {
    let env = Env::new();
    // No XDG_RUNTIME_DIR, as after su or in cron.
    let mut command = env.run_command(&[]);
    let done: Done = command.args(["/guest", "exit", "0"]).env_remove("XDG_RUNTIME_DIR").output().unwrap().into();
    done.ok();
    // One that belongs to somebody else, as after su.
    let mut command = env.run_command(&[]);
    let done: Done = command.args(["/guest", "exit", "0"]).env("XDG_RUNTIME_DIR", "/").output().unwrap().into();
    done.ok();
    // One that is not writable.
    std::fs::remove_dir_all(env.path("run/rbox")).unwrap();
    env::set_mode(&env.path("run"), 0o500);
    let done = env.guest(&[], &["exit", "0"]);
    env::set_mode(&env.path("run"), 0o700);
    if !rustix::process::geteuid().is_root() {
        done.fails(125, "run");
    }
}

#[test]
fn without_the_helpers() {
    let env = Env::new();
    let mut command = env.run_command(&["--network", "none"]);
    let done: Done = command.args(["/guest", "report"]).env("PATH", "/nonexistent").output().unwrap().into();
    assert!(done.ok().field("uid_map").starts_with(&format!("[\"0\", \"{}\", \"1\"]", env::uid())));
    let mut command = env.run_command(&["--id-mode", "range"]);
    let done: Done = command.args(["/guest", "report"]).env("PATH", "/nonexistent").output().unwrap().into();
    let done = done.fails(125, "");
    assert!(done.stderr.contains("hint: "), "{done:?}");
}

#[test]
fn a_long_error_keeps_its_status() {
    let env = Env::new();
    let name = "a".repeat(20_000);
    let done: Done = env.run_command(&[]).arg(&name).output().unwrap().into();
    done.fails(127, "exec \"aaa");
}

#[test]
fn an_early_error_is_never_lost() {
    let env = Env::new();
    // The maker writes maps while the first process fails already.
    for _ in 0..50 {
        env.guest(&["-v", "/nowhere:/x"], &["exit", "0"]).fails(125, "/nowhere");
    }
}

#[test]
fn ignored_signals_of_the_caller_change_nothing() {
    let env = Env::new();
    let mut command = env.command("/bin/sh");
    let script = r#"trap '' CHLD PIPE USR1; exec "$@""#;
    command.args(["-c", script, "sh"]).arg(env::program("rbox")).args(["run", "--rm", "--rootfs"]);
    let done: Done = command.arg(env.rootfs()).args(["/guest", "report"]).output().unwrap().into();
    // SIGPIPE is what the guest's own runtime ignores.
    assert_eq!(done.ok().field("SigIgn"), "0000000000001000");
}

#[test]
fn a_hostile_umask_of_the_caller_changes_nothing() {
    let env = Env::new();
    std::fs::remove_dir_all(env.path("run/rbox")).unwrap();
    for _ in 0..2 {
        let mut command = env.command("/bin/sh");
        command.args(["-c", r#"umask 0777; exec "$@""#, "sh"]).arg(env::program("rbox"));
        command.args(["run", "--rm", "--rootfs"]).arg(env.rootfs()).args(["/guest", "exit", "0"]);
        Done::from(command.output().unwrap()).ok();
    }
}

#[test]
fn what_is_no_device_is_none() {
    let env = Env::new();
    env.guest(&["--device", "/etc/passwd:/dev/x"], &["exit", "0"]).fails(125, "not a device");
}
