//! What a boot does with containers, and the unit that has it done.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

use env::{Done, Env, eventually, program};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::process::Command;

fn rbox(env: &Env, words: &[&str]) -> Done {
    env.rbox().args(words).output().unwrap().into()
}

fn made(env: &Env, verb: &str, name: &str, policy: &str, command: &[&str]) -> String {
    let mut words = env.rbox();
    words.args([verb, "-i", "--network=none", "--name", name, "--restart", policy]);
    if verb == "run" {
        words.arg("-d");
    }
    words.arg("--rootfs").arg(env.rootfs()).arg("/guest").args(command);
    Done::from(words.output().unwrap()).ok().stdout.trim_end().to_owned()
}

fn states(env: &Env) -> String {
    let done = rbox(env, &["ps", "-a", "--format", "{{.Names}}:{{.State}}"]).ok();
    let mut all: Vec<&str> = done.stdout.lines().collect();
    all.sort();
    all.join(" ")
}

fn pid(env: &Env, name: &str) -> String {
    rbox(env, &["inspect", "--format", "{{.State.Pid}}", name]).ok().stdout
}

/// Everything ends at once, what is in memory is gone, and the boot is another one.
fn reboot(env: &Env) {
    for entry in std::fs::read_dir(env.path("data/rbox/containers")).unwrap().flatten() {
        let path = entry.path().join("process.json");
        let Ok(text) = std::fs::read(&path) else { continue };
        let mut run: Value = serde_json::from_slice(&text).unwrap();
        let supervisor = Pid::from_raw(run["supervisor"]["pid"].as_i64().unwrap() as i32).unwrap();
        if entry.path().join("exit.json").exists() {
            continue;
        }
        kill_process(supervisor, Signal::KILL).unwrap();
        run["boot"] = "another".into();
        std::fs::write(&path, serde_json::to_vec(&run).unwrap()).unwrap();
    }
    eventually("nobody is left", || !states(env).contains("running"));
    std::fs::remove_dir_all(env.path("run/rbox")).unwrap();
}

#[test]
fn who_is_started() {
    let env = Env::new();
    let a = made(&env, "run", "a", "always", &["cat"]);
    let b = made(&env, "run", "b", "always", &["cat"]);
    let c = made(&env, "run", "c", "unless-stopped", &["cat"]);
    made(&env, "run", "d", "unless-stopped", &["cat"]);
    let e = made(&env, "run", "e", "on-failure", &["cat"]);
    made(&env, "run", "f", "on-failure", &["exit", "0"]);
    made(&env, "run", "g", "on-failure", &["cat"]);
    made(&env, "create", "h", "always", &["cat"]);
    made(&env, "run", "i", "no", &["cat"]);
    rbox(&env, &["stop", "b", "d", "g"]).ok();
    rbox(&env, &["wait", "f"]).ok();
    let before = "a:running b:exited c:running d:exited e:running f:exited g:exited h:created i:running";
    assert_eq!(states(&env), before);
    // What is running is none of its business.
    let first = pid(&env, "a");
    assert_eq!(rbox(&env, &["system", "boot"]).ok().stdout, format!("{b}\n"));
    assert_eq!(pid(&env, "a"), first);
    rbox(&env, &["stop", "b"]).ok();
    reboot(&env);
    let done = rbox(&env, &["system", "boot"]).ok();
    assert_eq!(done.stdout, [a.as_str(), &b, &c, &e].map(|id| format!("{id}\n")).concat());
    let after = "a:running b:running c:running d:exited e:running f:exited g:exited h:created i:exited";
    assert_eq!(states(&env), after);
    assert_eq!(rbox(&env, &["system", "boot"]).ok().stdout, "");
    rbox(&env, &["rm", "-f", "-a"]).ok();
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn one_that_does_not_start_is_no_obstacle() {
    let env = Env::new();
    std::fs::create_dir(env.path("other")).unwrap();
    std::fs::copy(program("rbox-guest"), env.path("other/guest")).unwrap();
    let mut words = env.rbox();
    words.args([
        "run",
        "-d",
        "-i",
        "--network=none",
        "--name=a",
        "--restart=always",
        "--rootfs",
        "other",
        "/guest",
        "cat",
    ]);
    Done::from(words.output().unwrap()).ok();
    let b = made(&env, "run", "b", "always", &["cat"]);
    let c = made(&env, "run", "c", "always", &["cat"]);
    reboot(&env);
    std::fs::remove_dir_all(env.path("other")).unwrap();
    std::fs::write(env.path("data/rbox/containers").join(&c).join("container.json"), "{").unwrap();
    let done = rbox(&env, &["system", "boot"]);
    assert_eq!((done.status, done.stdout.as_str()), (125, format!("{b}\n").as_str()));
    assert!(done.stderr.starts_with("rbox: container a: ") && done.stderr.contains(&c), "{done:?}");
    rbox(&env, &["rm", "-f", "a", "b", &c]).ok();
}

#[test]
fn a_shutdown_in_order() {
    let env = Env::new();
    let a = made(&env, "run", "a", "unless-stopped", &["cat"]);
    let b = made(&env, "run", "b", "always", &["exit", "0"]);
    made(&env, "run", "c", "no", &["cat"]);
    made(&env, "run", "d", "unless-stopped", &["cat"]);
    rbox(&env, &["stop", "d"]).ok();
    let done = rbox(&env, &["system", "boot", "--stop"]).ok();
    let stopped: Vec<&str> = done.stdout.lines().collect();
    assert!(stopped.contains(&a.as_str()) && stopped.contains(&b.as_str()) && stopped.len() == 2, "{done:?}");
    assert_eq!(states(&env), "a:exited b:exited c:running d:exited");
    assert_eq!(rbox(&env, &["system", "boot"]).ok().stdout, format!("{a}\n{b}\n"));
    // Somebody stops it who means it.
    rbox(&env, &["system", "boot", "--stop"]).ok();
    rbox(&env, &["stop", "a"]).ok();
    assert_eq!(rbox(&env, &["system", "boot"]).ok().stdout, format!("{b}\n"));
    rbox(&env, &["system", "boot", "--stop", "--unit"]).fails(125, "conflicting options: --stop and --unit");
    rbox(&env, &["rm", "-f", "-a"]).ok();
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

/// What systemd has to say to a unit, if it is there.
fn verified(env: &Env, name: &str, text: &str) {
    std::fs::write(env.path(name), text).unwrap();
    let done = Command::new("systemd-analyze")
        .args(["verify", "--user", "--man=no"])
        .arg(env.path(name))
        .env("HOME", env.path("home"))
        .env("XDG_RUNTIME_DIR", env.path("run"))
        .output();
    let Ok(done) = done else { return env::skip(name, "no systemd-analyze") };
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success() && !said.contains(name), "{said}");
}

#[test]
fn a_unit_for_one() {
    let env = Env::new();
    let create = |name: &str, options: &[&str]| {
        let mut words = env.rbox();
        words.args(["create", "--network=none", "--name", name]).args(options).arg("--rootfs").arg(env.rootfs());
        Done::from(words.args(["/guest", "sleep"]).output().unwrap()).ok().stdout.trim_end().to_owned()
    };
    let generated = |words: &[&str]| rbox(&env, &[&["generate"], words].concat());
    let id = create("web.1", &["--stop-timeout=7"]);
    let text = generated(&["unit", "web.1"]).ok().stdout;
    let own = program("rbox").display().to_string();
    for line in [
        "Type=exec".to_owned(),
        "Restart=on-failure".to_owned(),
        format!("ExecStart={own} start -a {id}"),
        format!("ExecStop={own} stop -t 7 {id}"),
        "TimeoutStopSec=67".to_owned(),
    ] {
        assert!(text.lines().any(|known| known == line), "{line} in {text}");
    }
    verified(&env, &format!("container-{id}.service"), &text);
    // podman's word for it, and its options.
    let words = ["systemd", "--files", "--name", "--restart-policy=always", "--restart-sec=3", "-t", "-1", "web.1"];
    let path = env.path("container-web.1.service");
    assert_eq!(generated(&words).ok().stdout, format!("{}\n", std::fs::canonicalize(&path).unwrap().display()));
    let text = std::fs::read_to_string(path).unwrap();
    for line in
        ["Restart=always", "RestartSec=3", "TimeoutStopSec=infinity", &format!("ExecStart={own} start -a web.1")]
    {
        assert!(text.lines().any(|known| known == line), "{line} in {text}");
    }
    verified(&env, "container-web.1.service", &text);
    create("told", &["--sdnotify=conmon"]);
    assert!(generated(&["unit", "told"]).ok().stdout.contains("\nType=notify\n"));
    create("own", &["--restart=always"]);
    generated(&["unit", "own"]).fails(125, "container own: is started again by itself (--restart always)");
    generated(&["unit", "--new", "told"]).fails(125, "--new: what a container was made with");
    generated(&["unit", "--restart-policy=perhaps", "told"]).fails(125, "--restart-policy perhaps: not one of");
    generated(&["unit", "nobody"]).fails(125, "no such container: nobody");
    rbox(&env, &["rm", "-a"]).ok();
}

/// What the unit says to systemd is what it does: its main process tells, ends with the container's status, and is stopped.
#[test]
fn the_main_process_of_a_unit() {
    let env = Env::new();
    let manager = std::os::unix::net::UnixDatagram::bind(env.path("manager.sock")).unwrap();
    manager.set_read_timeout(Some(env::LONG)).unwrap();
    let mut words = env.rbox();
    words.args(["create", "--network=none", "--name=a", "--sdnotify=conmon", "--rootfs"]).arg(env.rootfs());
    Done::from(words.args(["/guest", "sleep"]).output().unwrap()).ok();
    let text = rbox(&env, &["generate", "unit", "--name", "a"]).ok().stdout;
    let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).unwrap().to_owned();
    let mut started = env.command("sh");
    started.args(["-c", &format!("exec {}", line("ExecStart="))]).env("NOTIFY_SOCKET", env.path("manager.sock"));
    let mut started = started.stdout(std::process::Stdio::null()).spawn().unwrap();
    let mut buffer = [0; 1024];
    let length = manager.recv(&mut buffer).unwrap();
    assert_eq!(buffer[..length], *format!("MAINPID={}\nREADY=1", started.id()).as_bytes());
    let stopped: Done = env.command("sh").args(["-c", &line("ExecStop=")]).output().unwrap().into();
    stopped.ok();
    let status = started.wait().unwrap().code().unwrap();
    assert!(line("SuccessExitStatus=").split(' ').any(|known| known == status.to_string()), "{status}");
    rbox(&env, &["rm", "a"]).ok();
}

#[test]
fn without_lingering() {
    let unshares = Command::new("unshare").args(["-rm", "true"]).output().is_ok_and(|done| done.status.success());
    requires!("without_lingering", unshares, "no unshare");
    let env = Env::new();
    // What a machine with systemd has, and a user who is logged in.
    let script = "set -e
        mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/lib && mkdir -p /var/lib/systemd/linger
        run() { $rbox run --rm -d --network none --rootfs rootfs /guest exit 0 2>$1 >id; }
        run none
        mkdir -p /run/systemd/system
        run no-session
        export XDG_SESSION_ID=3
        touch /var/lib/systemd/linger/root
        run lingers
        rm /var/lib/systemd/linger/root
        run first
        run second";
    let mut command = env.command("unshare");
    command.args(["-r", "-m", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script]);
    Done::from(command.env_remove("XDG_SESSION_ID").env("rbox", program("rbox")).output().unwrap()).ok();
    let said = |name: &str| std::fs::read_to_string(env.path(name)).unwrap();
    for name in ["none", "no-session", "lingers", "second"] {
        assert_eq!(said(name), "", "{name}");
    }
    assert!(said("first").starts_with("rbox: note: with your last logout"), "{}", said("first"));
    assert!(said("first").contains("\nhint: `loginctl enable-linger`"), "{}", said("first"));
}

#[test]
fn a_unit_for_all() {
    let env = Env::new();
    let text = rbox(&env, &["system", "boot", "--unit"]).ok().stdout;
    let own = program("rbox");
    assert!(text.contains(&format!("\nExecStart={} system boot\n", own.display())), "{text}");
    assert!(text.contains("loginctl enable-linger") && text.contains("XDG_DATA_HOME="), "{text}");
    verified(&env, "rbox-boot.service", &text);
}
