//! The programs that carry packets: which one it is, and what becomes of the network without it.

use crate::env::bed::{CLIENT, Echo, RBOX};
use crate::env::{self, Done, Env, eventually, set_mode};
use crate::{OWN, in_each_mode_of_its_own, requires};
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::process::Stdio;

const ECHO: [&str; 5] = ["connect", "tcp", "192.0.2.2", "7", "hello"];

/// A directory of programs for PATH: those of the host that rbox needs, and these scripts.
fn programs(env: &Env, name: &str, installed: &[&str], scripts: &[(&str, &str)]) -> PathBuf {
    let dir = env.path(name);
    std::fs::create_dir(&dir).unwrap();
    for program in ["newuidmap", "newgidmap", "sh", "sleep"].iter().chain(installed) {
        for place in ["/usr/bin", "/bin"] {
            let path = Path::new(place).join(program);
            if path.exists() && !dir.join(program).exists() {
                std::os::unix::fs::symlink(path, dir.join(program)).unwrap();
            }
        }
    }
    for (name, text) in scripts {
        std::fs::write(dir.join(name), format!("#!/bin/sh\n{text}\n")).unwrap();
        set_mode(&dir.join(name), 0o755);
    }
    dir
}

fn run(env: &Env, path: &Path, options: &[&str], verb: &[&str]) -> Done {
    env.run_command(options).env("PATH", path).arg("/guest").args(verb).output().unwrap().into()
}

/// Processes of this user whose command line has these words.
fn processes(words: &[&str]) -> Vec<Pid> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) {
            if words.iter().all(|word| line.contains(word)) {
                found.push(pid);
            }
        }
    }
    found
}

#[test]
fn without_a_helper_it_is_said_what_to_install() {
    let env = Env::new();
    let path = programs(&env, "none", &[], &[]);
    for (mode, missing) in [
        ("--network=private", "neither pasta nor slirp4netns is installed"),
        ("--network=pasta", "pasta is not installed"),
        ("--network=slirp4netns", "slirp4netns is not installed"),
    ] {
        let done = run(&env, &path, &[mode], &["exit", "0"]).fails(125, missing);
        done.advises("apt install passt").advises("--network none");
    }
    for mode in ["--network=none", "--network=host"] {
        run(&env, &path, &[mode], &["exit", "0"]).ok();
    }
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn the_other_helper_takes_over() {
    requires!("the_other_helper_takes_over", bed);
    let env = Env::new();
    let path = programs(&env, "programs", &["slirp4netns"], &[("pasta", "echo no luck >&2; exit 3")]);
    let done = run(&env, &path, &[], &ECHO).ok();
    assert_eq!(Echo::read(&done.stdout).text, "hello");
    assert_eq!(done.stderr, "");
    // Not if pasta alone was asked for: then it is told.
    let done = run(&env, &path, &["--network=pasta"], &["knock", "192.0.2.2:7"]);
    assert_eq!((done.stdout.as_str(), done.status), ("", 0));
    assert_eq!(done.stderr, "rbox: network: pasta: exit status 3: no luck\n");
}

#[test]
fn a_helper_that_dies_is_started_again() {
    requires!("a_helper_that_dies_is_started_again", bed);
    in_each_mode_of_its_own(|env, mode| {
        let _held = env.listen(&[mode, &["--name=held"]].concat(), &["tcp", "80"]);
        let ask = || env.guest(&["--network=container:held"], &ECHO);
        let name = env.path("run").display().to_string();
        assert_eq!(Echo::read(&ask().ok().stdout).text, "hello", "{mode:?}");
        let helpers = || -> Vec<Pid> {
            let process = std::fs::read_to_string(process_file(&name)).unwrap();
            let pid = process.split("\"pid\":").nth(1).unwrap().split([',', '}']).next().unwrap().to_owned();
            let mut found = processes(&["--userns", &format!("/proc/{pid}/ns/user")]);
            found.extend(processes(&["slirp4netns", "--enable-sandbox", &format!(" {pid} rbox0")]));
            found
        };
        // The keeper has the same words.
        assert_eq!(helpers().len(), 2, "{mode:?}");
        for pid in helpers() {
            // One may have ended with the other.
            let _ = kill_process(pid, Signal::KILL);
        }
        eventually("another helper", || ask().stdout.starts_with("peer="));
    });
}

/// Where the one container of a runtime directory has its first process written down.
fn process_file(run: &str) -> PathBuf {
    let mut all = std::fs::read_dir(format!("{run}/rbox/containers")).unwrap().flatten();
    let found = all.find(|entry| entry.path().join("process.json").exists());
    found.expect("a container").path().join("process.json")
}

/// Kills rbox in every moment of a start with helper, relay and names, and looks for what is left.
#[test]
fn kill_leaves_no_helper_and_no_port() {
    requires!("kill_leaves_no_helper_and_no_port", bed);
    let rounds = if std::env::var_os("RBOX_TEST_LONG").is_some() { 100 } else { 12 };
    for mode in OWN.iter().copied() {
        let env = Env::new();
        let mark = env.dir().display().to_string();
        for round in 0..rounds {
            let mut command = env.run_command(&[mode, &["-p", "8120:80", "-p", "8120:80/udp"]].concat());
            command.args(["/guest", "connect", "tcp", "192.0.2.2", "7", "hello"]).stdout(Stdio::null());
            let mut child = command.stderr(Stdio::null()).spawn().unwrap();
            // Spread over the time in which a helper starts.
            let after = std::time::Duration::from_micros(1000 * (round * 60 / rounds));
            let end = std::time::Instant::now() + after;
            while std::time::Instant::now() < end {
                if round % 3 == 0 {
                    // A relay starts, too.
                    let _ = std::net::TcpStream::connect((RBOX.v4(), 8120));
                }
            }
            child.kill().unwrap();
            child.wait().unwrap();
            let names = ["net-keeper", "net-relay", "pasta", "slirp4netns"];
            eventually("no helper", || {
                names.iter().all(|name| processes(&[name]).into_iter().all(|pid| !belongs_to(pid, &mark)))
            });
            eventually("free ports", || {
                std::net::TcpListener::bind("0.0.0.0:8120").is_ok() && std::net::UdpSocket::bind("0.0.0.0:8120").is_ok()
            });
        }
        // The next container removes what is left on disk, and has a network.
        let done = env.guest(mode, &ECHO).ok();
        assert_eq!(Echo::read(&done.stdout).text, "hello", "{mode:?}");
        assert_eq!(env.leftovers(), Vec::<String>::new(), "{mode:?}");
    }
}

/// Whether a process was started in this test's environment.
fn belongs_to(pid: Pid, mark: &str) -> bool {
    let path = format!("/proc/{}/environ", pid.as_raw_nonzero());
    std::fs::read(path).is_ok_and(|text| String::from_utf8_lossy(&text).contains(mark))
}

#[test]
fn five_hundred_ports() {
    requires!("five_hundred_ports", bed);
    in_each_mode_of_its_own(|env, mode| {
        let options = [mode, &["-p", "21000-21499:80-579", "-p", "21000-21499:80-579/udp"]].concat();
        let _held = env.listen(&options, &["tcp", "579", "udp", "579"]);
        for protocol in ["tcp", "udp"] {
            let said = CLIENT.guest(&["connect", protocol, "192.0.2.1", "21499", "hello"]);
            assert_eq!(Echo::read(&said).peer.ip(), CLIENT.v4(), "{mode:?} {protocol}");
        }
    });
}

#[test]
fn a_port_without_an_address_is_where_the_configuration_says() {
    requires!("a_port_without_an_address_is_where_the_configuration_says", bed);
    let env = Env::new();
    std::fs::create_dir_all(env.path("home/.config/rbox")).unwrap();
    let file = env.path("home/.config/rbox/config.toml");
    std::fs::write(&file, "[network]\npublish_address = \"127.0.0.1\"\n").unwrap();
    let options = ["--name=web", "-p", "8131:80", "-p", "192.0.2.1:8132:80"];
    {
        let _held = env.listen(&options, &["tcp", "80"]);
        let port = |verb: &[&str]| {
            let output = env.rbox().arg("port").args(verb).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(port(&["web"]), "80/tcp -> 127.0.0.1:8131\n80/tcp -> 192.0.2.1:8132\n");
        assert_eq!(port(&["web", "80"]), "127.0.0.1:8131\n192.0.2.1:8132\n");
        assert!(CLIENT.guest(&["connect", "tcp", "192.0.2.1", "8131", "hello"]).starts_with("error="));
        assert!(CLIENT.guest(&["connect", "tcp", "192.0.2.1", "8132", "hello"]).starts_with("peer="));
    }
    std::fs::write(&file, "[network]\npublish_adress = \"127.0.0.1\"\n").unwrap();
    let done = env.guest(&["-p", "8131:80"], &["exit", "0"]);
    done.fails(125, "config.toml").fails(125, "publish_adress");
    // Nobody else pays for a bad file.
    env.guest(&[], &["exit", "0"]).ok();
}

#[test]
fn a_container_without_packets_has_no_helper() {
    requires!("a_container_without_packets_has_no_helper", bed);
    let env = Env::new();
    // Both would tell if they were started.
    let path = programs(&env, "programs", &[], &[("pasta", "touch $XDG_RUNTIME_DIR/started"), ("slirp4netns", "")]);
    run(&env, &path, &[], &["exit", "0"]).ok();
    assert!(!env.path("run/started").exists());
}
