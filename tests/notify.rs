//! What a service manager is told of a container; the test is the manager.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

use env::{Done, Env, LONG, eventually};
use serde_json::Value;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Command;

/// A service manager that listens at a path of the test's world.
struct Manager {
    socket: UnixDatagram,
    address: String,
}

impl Manager {
    fn new(env: &Env) -> Manager {
        let path = env.path("manager.sock");
        Manager::at(UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap())
    }

    fn at(socket: UnixDatagram, address: &str) -> Manager {
        socket.set_read_timeout(Some(LONG)).unwrap();
        Manager { socket, address: address.to_owned() }
    }

    /// The next message.
    fn hears(&self) -> String {
        let mut buffer = [0; 8192];
        let length = self.socket.recv(&mut buffer).expect("a message");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// Nothing is there that was not heard yet.
    fn has_heard_all(&self) {
        self.socket.set_nonblocking(true).unwrap();
        let error = self.socket.recv(&mut [0; 8192]).expect_err("a message");
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        self.socket.set_nonblocking(false).unwrap();
    }

    fn command(&self, env: &Env, verb: &str, options: &[&str]) -> Command {
        let mut command = env.rbox();
        command.env("NOTIFY_SOCKET", &self.address).arg(verb).args(["--network=none", "--name=a"]).args(options);
        command.arg("--rootfs").arg(env.rootfs()).arg("/guest");
        command
    }

    fn run(&self, env: &Env, options: &[&str], verb: &[&str]) -> Done {
        self.command(env, "run", options).args(verb).output().unwrap().into()
    }
}

fn rbox(env: &Env, words: &[&str]) -> Done {
    env.rbox().args(words).output().unwrap().into()
}

fn supervisor(env: &Env) -> String {
    let all: Value = serde_json::from_str(&rbox(env, &["inspect", "a"]).ok().stdout).unwrap();
    let dir = env.path("data/rbox/containers").join(all[0]["Id"].as_str().unwrap());
    let run: Value = serde_json::from_slice(&std::fs::read(dir.join("process.json")).unwrap()).unwrap();
    run["supervisor"]["pid"].to_string()
}

fn end(env: &Env) {
    rbox(env, &["rm", "-f", "a"]).ok();
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn the_supervisor_tells() {
    let env = Env::new();
    let manager = Manager::new(&env);
    manager.run(&env, &["-d", "-i", "--sdnotify=conmon"], &["cat"]).ok();
    assert_eq!(manager.hears(), format!("MAINPID={}\nREADY=1", supervisor(&env)));
    let inside = rbox(&env, &["exec", "a", "/guest", "env"]).ok().stdout;
    assert!(!inside.contains("NOTIFY_SOCKET"), "{inside}");
    assert_eq!(rbox(&env, &["exec", "a", "/guest", "exists", "/run/notify"]).status, 1);
    end(&env);
    // In the foreground it is the command itself.
    let mut command = manager.command(&env, "run", &["--sdnotify=conmon"]);
    let started = command.arg("env").stdout(std::process::Stdio::piped()).spawn().unwrap();
    let pid = started.id();
    let done: Done = started.wait_with_output().unwrap().into();
    assert_eq!(manager.hears(), format!("MAINPID={pid}\nREADY=1"));
    assert!(!done.ok().stdout.contains("NOTIFY_SOCKET"));
    // Also when it is started later, as it was made.
    let done = Done::from(env.rbox().env("NOTIFY_SOCKET", &manager.address).args(["start", "a"]).output().unwrap());
    done.ok();
    assert!(manager.hears().ends_with("\nREADY=1"));
    rbox(&env, &["wait", "a"]).ok();
    manager.has_heard_all();
    end(&env);
}

#[test]
fn the_payload_tells() {
    let env = Env::new();
    let manager = Manager::new(&env);
    let message = ["notify", "MAINPID=1", "READY=1", "FDSTORE=1", "STATUS=hello"];
    for options in [&["-d", "-i"][..], &["-d", "-i", "--sdnotify=container", "--init", "--tmpfs=/run", "--read-only"]] {
        manager.run(&env, options, &message).ok();
        assert_eq!(manager.hears(), format!("MAINPID={}", supervisor(&env)));
        assert_eq!(manager.hears(), "READY=1\nSTATUS=hello");
        manager.has_heard_all();
        end(&env);
    }
    // Nobody else in there is asked.
    manager.run(&env, &["-d", "-i"], &["cat"]).ok();
    assert!(!rbox(&env, &["exec", "a", "/guest", "env"]).ok().stdout.contains("NOTIFY_SOCKET"));
    assert!(manager.hears().starts_with("MAINPID="));
    end(&env);
    // It is a socket, and no place for files: that would be the host's memory.
    let written = manager.run(&env, &["--rm"], &["write", "/run/notify/file", "x"]).ok();
    assert_eq!((written.stdout.as_str(), manager.hears().starts_with("MAINPID=")), ("errno=30\n", true));
    // What it says last is heard, too.
    assert_eq!(manager.run(&env, &[], &["notify", "STOPPING=1"]).ok().stdout, "notified\n");
    assert!(manager.hears().starts_with("MAINPID="));
    assert_eq!(manager.hears(), "STOPPING=1");
    end(&env);
    let environment = manager.run(&env, &["--rm", "-e", "NOTIFY_SOCKET=/elsewhere"], &["env"]).ok();
    assert_eq!(environment.field("NOTIFY_SOCKET"), "/run/notify/notify.sock");
    assert_eq!(environment.stdout.matches("NOTIFY_SOCKET").count(), 1);
    manager.run(&env, &["-v", "/tmp:/run/notify"], &["exit", "0"]).fails(125, "duplicate mount point: /run/notify");
}

#[test]
fn the_payload_of_another_user_tells() {
    requires!("the_payload_of_another_user_tells", range);
    let env = Env::new();
    let manager = Manager::new(&env);
    manager.run(&env, &["--rm", "-u", "ada"], &["notify", "READY=1"]).ok();
    assert!(manager.hears().starts_with("MAINPID="));
    assert_eq!(manager.hears(), "READY=1");
}

#[test]
fn when_it_is_healthy() {
    let env = Env::new();
    let manager = Manager::new(&env);
    let check = "--health-cmd=[\"/guest\", \"exists\", \"/tmp/well\"]";
    let options = ["-d", "-i", "--sdnotify=healthy", check, "--health-interval=10ms", "--health-retries=1"];
    manager.run(&env, &options, &["cat"]).ok();
    assert_eq!(manager.hears(), format!("MAINPID={}", supervisor(&env)));
    let health = || rbox(&env, &["inspect", "--format", "{{.State.Health.Status}}", "a"]).ok().stdout;
    eventually("it is not", || health() == "unhealthy\n");
    manager.has_heard_all();
    std::fs::write(env.rootfs().join("tmp/well"), "").unwrap();
    assert_eq!(manager.hears(), "READY=1");
    // Once.
    std::fs::remove_file(env.rootfs().join("tmp/well")).unwrap();
    eventually("it is not any more", || health() == "unhealthy\n");
    std::fs::write(env.rootfs().join("tmp/well"), "").unwrap();
    eventually("it is again", || health() == "healthy\n");
    manager.has_heard_all();
    end(&env);
    manager.run(&env, &["--sdnotify=healthy"], &["cat"]).fails(125, "--sdnotify healthy: the container has no health");
}

#[test]
fn nobody_tells() {
    let env = Env::new();
    let manager = Manager::new(&env);
    assert!(!manager.run(&env, &["--rm", "--sdnotify=ignore"], &["env"]).ok().stdout.contains("NOTIFY_SOCKET"));
    manager.has_heard_all();
    // Nobody asks.
    assert!(!env.guest(&["--sdnotify=conmon"], &["env"]).ok().stdout.contains("NOTIFY_SOCKET"));
    env.guest(&["--sdnotify=perhaps"], &["env"]).fails(125, "--sdnotify perhaps: container, conmon, healthy or ignore");
    // Nobody is there: the container runs, and the user is told.
    drop(manager.socket);
    let gone = Manager::at(UnixDatagram::unbound().unwrap(), &manager.address);
    let done = gone.run(&env, &["--rm"], &["env"]).ok();
    assert!(!done.stdout.contains("NOTIFY_SOCKET"));
    assert!(done.stderr.starts_with(&format!("rbox: NOTIFY_SOCKET={}: connect", gone.address)), "{done:?}");
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn a_manager_without_a_path() {
    let env = Env::new();
    let name = format!("rbox-test-{}", std::process::id());
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let manager = Manager::at(socket, &format!("@{name}"));
    manager.run(&env, &["--rm", "--sdnotify=conmon"], &["exit", "0"]).ok();
    assert!(manager.hears().ends_with("\nREADY=1"));
    manager.run(&env, &["--rm"], &["notify", "READY=1"]).ok();
    assert!(manager.hears().starts_with("MAINPID="));
    assert_eq!(manager.hears(), "READY=1");
}
