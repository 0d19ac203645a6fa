//! `rbox-runtime`: the life of a container as an engine drives it.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

use env::{Done, Env, gid, uid};
use serde_json::{Value, json};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Stdio;

/// A bundle that maps the caller's own ids, and whatever `change` makes of it.
fn bundle(env: &Env, args: &[&str], change: impl FnOnce(&mut Value)) -> PathBuf {
    let capabilities = json!(["CAP_KILL", "CAP_CHOWN"]);
    let mut config = json!({
        "ociVersion": "1.2.0",
        "process": {
            "user": { "uid": 0, "gid": 0 }, "args": args, "env": ["PATH=/"], "cwd": "/", "noNewPrivileges": true,
            "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 64, "hard": 64 }]
        },
        "root": { "path": "rootfs" },
        "hostname": "boxed",
        "annotations": { "org.example": "kept" },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] }
        ],
        "linux": {
            "uidMappings": [{ "containerID": 0, "hostID": uid(), "size": 1 }],
            "gidMappings": [{ "containerID": 0, "hostID": gid(), "size": 1 }],
            "namespaces": [
                { "type": "user" }, { "type": "pid" }, { "type": "mount" }, { "type": "network" }, { "type": "uts" },
                { "type": "ipc" }
            ]
        }
    });
    change(&mut config);
    std::fs::write(env.path("config.json"), config.to_string()).unwrap();
    env.path("")
}

fn runtime(env: &Env, args: &[&str]) -> Done {
    // A container that was only created keeps its output open; files do not keep the test waiting. It may write later,
    // so each call has files of its own.
    let own = tempfile::Builder::new().prefix("call-").tempdir_in(env.path("")).unwrap();
    let (out, err) = (own.path().join("out"), own.path().join("err"));
    let file = |path: &PathBuf| std::fs::File::create(path).unwrap();
    let mut command = env.command(env::program("rbox-runtime"));
    let status =
        command.arg("--root").arg(env.path("oci")).args(args).stdout(file(&out)).stderr(file(&err)).status().unwrap();
    let text = |path| std::fs::read_to_string(path).unwrap();
    Done { status: status.code().unwrap_or(-1), stdout: text(out), stderr: text(err) }
}

fn state(env: &Env, id: &str) -> Value {
    serde_json::from_str(&runtime(env, &["state", id]).ok().stdout).unwrap()
}

fn eventually_stopped(env: &Env, id: &str) {
    env::eventually("stopped", || state(env, id)["status"] == "stopped");
}

#[test]
fn created_started_killed_deleted() {
    let env = Env::new();
    let dir = bundle(&env, &["/guest", "sleep"], |_| {});
    let pid_file = env.path("pid");
    runtime(&env, &["create", "--bundle", dir.to_str().unwrap(), "--pid-file", pid_file.to_str().unwrap(), "box"]).ok();
    let created = state(&env, "box");
    assert_eq!(created["status"], "created");
    assert_eq!((&created["id"], &created["ociVersion"]), (&json!("box"), &json!("1.2.0")));
    assert_eq!(created["annotations"]["org.example"], "kept");
    assert_eq!(created["pid"].to_string(), std::fs::read_to_string(&pid_file).unwrap());
    assert_eq!(created["bundle"], json!(dir.canonicalize().unwrap()));

    runtime(&env, &["create", "--bundle", dir.to_str().unwrap(), "box"]).fails(1, "exists");
    runtime(&env, &["start", "box"]).ok();
    assert_eq!(state(&env, "box")["status"], "running");
    runtime(&env, &["start", "box"]).fails(1, "not in the state created");
    runtime(&env, &["delete", "box"]).fails(1, "not stopped: running");

    runtime(&env, &["kill", "box", "KILL"]).ok();
    eventually_stopped(&env, "box");
    assert_eq!(state(&env, "box")["pid"], 0);
    runtime(&env, &["kill", "box"]).fails(1, "not running");
    runtime(&env, &["delete", "box"]).ok();
    runtime(&env, &["state", "box"]).fails(1, "does not exist");
    runtime(&env, &["delete", "box"]).fails(1, "does not exist");
    runtime(&env, &["delete", "--force", "box"]).ok();
    assert_eq!(std::fs::read_dir(env.path("oci")).unwrap().count(), 0);
}

#[test]
fn a_container_that_never_started_can_go() {
    let env = Env::new();
    let dir = bundle(&env, &["/guest", "sleep"], |_| {});
    for (verb, extra) in [("delete", None), ("delete", Some("--force"))] {
        runtime(&env, &["create", "-b", dir.to_str().unwrap(), "box"]).ok();
        let pid = state(&env, "box")["pid"].to_string();
        runtime(&env, &[&[verb], extra.as_slice(), &["box"]].concat()).ok();
        env::eventually("gone", || {
            std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
        });
    }
}

#[test]
fn the_payload_is_what_the_bundle_says() {
    let env = Env::new();
    let dir = bundle(&env, &["/guest", "report"], |config| {
        config["process"]["oomScoreAdj"] = json!(300);
        config["process"]["user"]["umask"] = json!(0o027);
    });
    let report = runtime(&env, &["run", "-b", dir.to_str().unwrap(), "box"]).ok();
    for (key, value) in [
        ("uid", "0"),
        ("pid", "1"),
        ("hostname", "boxed"),
        ("CapBnd", "0000000000000021"),
        ("CapEff", "0000000000000021"),
        ("CapInh", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "0"),
        ("rlimit.nofile", "64:64"),
        ("oom_score_adj", "300"),
        ("umask", "27"),
        ("fds", "0,1,2"),
    ] {
        assert_eq!(report.field(key), value, "{key}");
    }
    assert_eq!(std::fs::read_dir(env.path("oci")).unwrap().count(), 0);
}

#[test]
fn run_gives_the_status_of_the_payload() {
    let env = Env::new();
    let dir = bundle(&env, &["/guest", "exit", "42"], |_| {});
    assert_eq!(runtime(&env, &["run", "-b", dir.to_str().unwrap(), "box"]).status, 42);
    let dir = bundle(&env, &["/none"], |_| {});
    runtime(&env, &["run", "-b", dir.to_str().unwrap(), "box"]).fails(1, "/none");
    // What is no program is noticed by execve only, which comes with the start.
    std::fs::write(env.path("rootfs/text"), "no program").unwrap();
    env::set_mode(&env.path("rootfs/text"), 0o755);
    let dir = bundle(&env, &["/text"], |_| {});
    runtime(&env, &["run", "-b", dir.to_str().unwrap(), "box"]).fails(1, "exec /text: Exec format error");
    assert_eq!(std::fs::read_dir(env.path("oci")).unwrap().count(), 0);
}

#[test]
fn hooks_run_in_order_and_see_the_state() {
    let env = Env::new();
    let script = env.path("rootfs/hook");
    let log = env.path("rootfs/log");
    // A program of the host for the hooks outside, found by the same name inside.
    std::fs::copy(env::program("rbox-guest"), &script).unwrap();
    let kinds = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    let dir = bundle(&env, &["/guest", "exit", "0"], |config| {
        for kind in kinds {
            let (path, log) = match kind {
                "startContainer" => ("/hook".to_owned(), "/log".to_owned()),
                _ => (script.display().to_string(), log.display().to_string()),
            };
            config["hooks"][kind] = json!([{ "path": path, "args": ["hook", "log-state", log, kind] }]);
        }
    });
    runtime(&env, &["run", "-b", dir.to_str().unwrap(), "box"]).ok();
    let text = std::fs::read_to_string(&log).unwrap();
    let seen: Vec<(&str, Value)> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(kind, state)| (kind, serde_json::from_str(state).unwrap()))
        .collect();
    assert_eq!(seen.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), kinds);
    let statuses: Vec<&str> = seen.iter().map(|(_, state)| state["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["creating", "creating", "creating", "created", "running", "stopped"]);
    assert!(seen.iter().all(|(_, state)| state["id"] == "box" && state["annotations"]["org.example"] == "kept"));
}

#[test]
fn a_hook_that_fails_stops_the_creation() {
    let env = Env::new();
    let dir = bundle(&env, &["/guest", "exit", "0"], |config| {
        config["hooks"]["createRuntime"] = json!([{ "path": "/bin/false" }]);
    });
    runtime(&env, &["create", "-b", dir.to_str().unwrap(), "box"]).fails(1, "createRuntime");
    assert_eq!(std::fs::read_dir(env.path("oci")).unwrap().count(), 0);
}

#[test]
fn the_terminal_goes_to_the_console_socket() {
    let env = Env::new();
    let dir = bundle(&env, &["/guest", "report"], |config| {
        config["process"]["terminal"] = json!(true);
        let pts = json!({ "destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": ["newinstance", "ptmxmode=0666"] });
        config["mounts"].as_array_mut().unwrap().push(pts);
    });
    let path = env.path("console");
    let listener = UnixListener::bind(&path).unwrap();
    runtime(&env, &["create", "-b", dir.to_str().unwrap(), "--console-socket", path.to_str().unwrap(), "box"]).ok();
    let (socket, _) = listener.accept().unwrap();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = rustix::net::RecvAncillaryBuffer::new(&mut space);
    let mut text = [0; 64];
    let mut parts = [std::io::IoSliceMut::new(&mut text)];
    rustix::net::recvmsg(socket.as_fd(), &mut parts, &mut control, rustix::net::RecvFlags::empty()).unwrap();
    let master = control
        .drain()
        .find_map(|message| match message {
            rustix::net::RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        })
        .expect("a descriptor");
    runtime(&env, &["start", "box"]).ok();
    let mut output = Vec::new();
    let mut buffer = [0; 4096];
    // The other side's end is an error of the master, EIO.
    while let Ok(length @ 1..) = rustix::io::read(&master, &mut buffer) {
        output.extend_from_slice(&buffer[..length]);
    }
    let text = String::from_utf8_lossy(&output);
    assert!(text.contains("tty=111"), "{text}");
    eventually_stopped(&env, "box");
    runtime(&env, &["delete", "box"]).ok();
    // One without the other is refused.
    runtime(&env, &["create", "-b", dir.to_str().unwrap(), "box"]).fails(1, "--console-socket");
}

#[test]
fn ids_are_names_of_files_and_no_paths() {
    let env = Env::new();
    let dir = bundle(&env, &["/guest", "exit", "0"], |_| {});
    for id in ["..", ".", "a/b", "", "a b", "a\nb"] {
        runtime(&env, &["create", "-b", dir.to_str().unwrap(), id]).fails(1, "invalid container id");
        runtime(&env, &["delete", id]).fails(1, "invalid container id");
    }
}

#[test]
fn what_cannot_be_done_is_refused() {
    let env = Env::new();
    type Change = fn(&mut Value);
    let cases: [(&str, Change); 7] = [
        ("linux.resources", |config| config["linux"]["resources"] = json!({ "pids": { "limit": 10 } })),
        ("root", |config| drop(config.as_object_mut().unwrap().remove("root"))),
        ("process", |config| drop(config.as_object_mut().unwrap().remove("process"))),
        ("mount namespace", |config| config["linux"]["namespaces"] = json!([{ "type": "user" }])),
        ("there is twice", |config| {
            let pid = json!({ "type": "pid" });
            config["linux"]["namespaces"].as_array_mut().unwrap().push(pid);
        }),
        ("/nowhere", |config| {
            let mount = json!({ "destination": "/x", "type": "bind", "source": "/nowhere", "options": ["bind"] });
            config["mounts"].as_array_mut().unwrap().push(mount);
        }),
        ("config.json", |config| *config = json!("no object")),
    ];
    for (word, change) in cases {
        let dir = bundle(&env, &["/guest", "exit", "0"], change);
        let word = if word == "there is twice" { "twice" } else { word };
        runtime(&env, &["create", "-b", dir.to_str().unwrap(), "box"]).fails(1, word);
        assert_eq!(std::fs::read_dir(env.path("oci")).map_or(0, Iterator::count), 0, "{word}");
    }
}

#[test]
fn errors_go_to_the_log_that_engines_read() {
    let env = Env::new();
    let log = env.path("log");
    let mut command = env.command(env::program("rbox-runtime"));
    let status = command
        .args(["--log-format", "json", "--log"])
        .arg(&log)
        .arg("--root")
        .arg(env.path("oci"))
        .args(["start", "nobody"])
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(1));
    let line: Value = serde_json::from_str(&std::fs::read_to_string(&log).unwrap()).unwrap();
    assert_eq!((&line["level"], &line["msg"]), (&json!("error"), &json!("container does not exist: nobody")));
}

#[test]
fn a_user_without_capabilities_can_be_started() {
    requires!("a_user_without_capabilities_can_be_started", range);
    let env = Env::new();
    let subid: Vec<u32> = ["/etc/subuid", "/etc/subgid"].map(env::first_subid).into();
    let dir = bundle(&env, &["/guest", "report"], |config| {
        config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
        config["process"].as_object_mut().unwrap().remove("capabilities");
        for (key, own, first) in [("uidMappings", uid(), subid[0]), ("gidMappings", gid(), subid[1])] {
            config["linux"][key] = json!([
                { "containerID": 0, "hostID": own, "size": 1 }, { "containerID": 1, "hostID": first, "size": 2000 }
            ]);
        }
    });
    let report = runtime(&env, &["run", "-b", dir.to_str().unwrap(), "box"]).ok();
    assert_eq!((report.field("uid"), report.field("CapEff")), ("1000".to_owned(), "0000000000000000".to_owned()));
    // Created by one process, started by another.
    runtime(&env, &["create", "-b", dir.to_str().unwrap(), "box"]).ok();
    // What the caller's own runtime ignored is not ignored here.
    runtime(&env, &["start", "box"]).ok();
    eventually_stopped(&env, "box");
    runtime(&env, &["delete", "box"]).ok();
}

#[test]
fn later_changes_of_the_bundle_do_not_count() {
    let env = Env::new();
    let dir = bundle(&env, &["/guest", "sleep"], |_| {});
    runtime(&env, &["create", "-b", dir.to_str().unwrap(), "box"]).ok();
    std::fs::remove_file(env.path("config.json")).unwrap();
    runtime(&env, &["start", "box"]).ok();
    assert_eq!(state(&env, "box")["annotations"]["org.example"], "kept");
    runtime(&env, &["delete", "--force", "box"]).ok();
}

#[test]
fn a_hook_that_fails_late_ends_the_container_or_nothing() {
    let env = Env::new();
    let dir = bundle(&env, &["/guest", "sleep"], |config| {
        config["hooks"]["poststart"] = json!([{ "path": "/bin/false" }]);
    });
    runtime(&env, &["run", "-b", dir.to_str().unwrap(), "box"]).fails(1, "poststart");
    assert_eq!(std::fs::read_dir(env.path("oci")).unwrap().count(), 0);
    let dir = bundle(&env, &["/guest", "exit", "7"], |config| {
        config["hooks"]["poststop"] = json!([{ "path": "/bin/false" }]);
    });
    let done = runtime(&env, &["run", "-b", dir.to_str().unwrap(), "box"]);
    assert_eq!(done.status, 7, "{done:?}");
    assert!(done.stderr.starts_with("rbox: note: poststop hook /bin/false"), "{done:?}");
}

#[test]
fn hooks_of_the_image_do_not_reach_the_runtime() {
    let env = Env::new();
    let dir = bundle(&env, &["/guest", "exit", "0"], |config| {
        config["hooks"]["startContainer"] = json!([{ "path": "/guest", "args": ["hook", "look-at-pid-1", "/looked"] }]);
    });
    runtime(&env, &["run", "-b", dir.to_str().unwrap(), "box"]).ok();
    assert_eq!(std::fs::read_to_string(env.path("rootfs/looked")).unwrap(), "exe=false fd=false");
}
