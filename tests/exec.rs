//! `rbox exec`: one more process in a container that runs.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

use env::{Done, Env, eventually};
use rustix::process::{Pid, Signal, kill_process};
use std::io::Write;
use std::process::{Child, Stdio};

/// A container named `a` that waits.
struct Running {
    env: Env,
    child: Option<Child>,
}

impl Running {
    /// In the background.
    fn new(options: &[&str]) -> Running {
        let env = Env::new();
        let mut command = env.rbox();
        command.args(["run", "-d", "-i", "--network=none", "--name=a"]).args(options).arg("--rootfs").arg(env.rootfs());
        Done::from(command.args(["/guest", "cat"]).output().unwrap()).ok();
        Running { env, child: None }
    }

    /// In the foreground.
    fn foreground(options: &[&str]) -> Running {
        let env = Env::new();
        let mut command = env.run_command(&[&["-i", "--network=none", "--name=a"], options].concat());
        command.args(["/guest", "cat"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let child = Some(command.spawn().unwrap());
        eventually("it runs", || env.rbox().args(["exec", "a", "/guest", "exit", "0"]).status().unwrap().success());
        Running { env, child }
    }

    fn exec(&self, options: &[&str], command: &[&str]) -> Done {
        let mut words = self.env.rbox();
        words.arg("exec").args(options).arg("a").args(command).output().unwrap().into()
    }

    fn guest(&self, options: &[&str], verb: &[&str]) -> Done {
        self.exec(options, &[&["/guest"], verb].concat())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let removed = self.env.rbox().args(["rm", "-f", "a"]).output().unwrap();
        if let Some(mut child) = self.child.take() {
            child.wait().unwrap();
        }
        if !std::thread::panicking() {
            Done::from(removed).ok();
            assert_eq!(self.env.leftovers(), Vec::<String>::new());
        }
    }
}

#[test]
fn its_status_is_its_own() {
    for running in [Running::new(&[]), Running::foreground(&[]), Running::new(&["--init"])] {
        for (status, text) in [(0, "0"), (7, "7")] {
            assert_eq!(running.guest(&[], &["exit", text]).status, status);
        }
        assert_eq!(running.guest(&[], &["raise", "9"]).status, 137);
        let done = running.guest(&[], &["say", "out:one", "err:two"]).ok();
        assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("one\n", "two\n"));
        running.exec(&[], &["/nothing"]).fails(127, "exec /nothing: No such file or directory");
        running.exec(&[], &["/etc/passwd"]).fails(126, "exec /etc/passwd");
        assert_eq!(running.guest(&["-u", "root"], &["report"]).ok().field("uid"), "0");
        running.guest(&["-u", "nobody-here"], &["exit", "0"]).fails(125, "-u nobody-here");
        running.guest(&["-w", "relative"], &["exit", "0"]).fails(125, "-w relative");
    }
}

#[test]
fn it_is_what_the_container_is() {
    let running = Running::new(&["-e", "A=1", "-w", "/tmp", "--cap-drop", "NET_RAW"]);
    let own = |options: &[&str]| running.guest(options, &["report"]).ok().fields();
    let of_container = {
        let mut command = running.env.rbox();
        command.args(["run", "--rm", "--network=none", "-e", "A=1", "-w", "/tmp", "--cap-drop", "NET_RAW", "--rootfs"]);
        let done: Done = command.arg(running.env.rootfs()).args(["/guest", "report"]).output().unwrap().into();
        done.ok().fields()
    };
    let own_report = own(&[]);
    for (key, value) in &of_container {
        // What belongs to one process, or one container.
        let differs = ["pid", "sid", "hostname", "ns.", "processes", "mount"].iter().any(|own| key.starts_with(own));
        assert!(differs || own_report.get(key) == Some(value), "{key}: {value} {:?}", own_report.get(key));
    }
    let env = running.guest(&["-e", "B=2", "-e", "A=3"], &["env"]).ok().stdout;
    assert!(env.lines().any(|line| line == "A=3") && env.lines().any(|line| line == "B=2"), "{env}");
}

#[test]
fn input_comes_if_it_is_wanted() {
    let running = Running::new(&[]);
    for (options, expected) in [(&["-i"][..], "hello\n"), (&[], "")] {
        let mut command = running.env.rbox();
        command.arg("exec").args(options).args(["a", "/guest", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Without -i nobody reads it.
        let _ = child.stdin.take().unwrap().write_all(b"hello\n");
        let done: Done = child.wait_with_output().unwrap().into();
        assert_eq!(done.ok().stdout, expected);
    }
}

#[test]
fn nothing_of_the_host_is_open() {
    let running = Running::new(&[]);
    let listed = running.guest(&[], &["ls", "/proc/self/fd"]).ok().stdout;
    // The last one is that of the listing itself.
    assert_eq!(listed.split_whitespace().count(), 4, "{listed}");
    assert!(
        ["0", "1", "2"].iter().all(|number| listed.split_whitespace().any(|fd| fd.starts_with(number))),
        "{listed}"
    );
}

#[test]
fn whoever_asked_may_go() {
    let running = Running::new(&[]);
    running.guest(&["-d"], &["sleep"]).ok();
    let count = || {
        let all = running.guest(&[], &["ls", "/proc"]).ok().stdout;
        all.split_whitespace().filter(|name| name.trim_end_matches('/').parse::<u32>().is_ok()).count()
    };
    // pid 1, the sleeper, and who lists.
    assert_eq!(count(), 3);
    let mut command = running.env.rbox();
    let mut child = command.args(["exec", "a", "/guest", "sleep"]).stdout(Stdio::piped()).spawn().unwrap();
    eventually("one more", || count() == 4);
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    child.wait().unwrap();
    assert_eq!(count(), 4);
}

#[test]
fn only_in_one_that_runs() {
    let env = Env::new();
    let rbox = |words: &[&str]| -> Done { env.rbox().args(words).output().unwrap().into() };
    rbox(&["exec", "none", "/guest"]).fails(125, "no such container: none");
    let mut command = env.rbox();
    command.args(["create", "--network=none", "--name=a", "--rootfs"]).arg(env.rootfs()).args(["/guest", "exit", "0"]);
    Done::from(command.output().unwrap()).ok();
    rbox(&["exec", "a", "/guest"]).fails(125, "container a is not running");
    rbox(&["rm", "a"]).ok();
}

#[test]
fn many_at_once() {
    let running = Running::new(&[]);
    let start = |number: u32| {
        let mut command = running.env.rbox();
        command.args(["exec", "a", "/guest", "exit", &number.to_string()]).spawn().unwrap()
    };
    let all: Vec<(u32, Child)> = (0..50).map(|number| (number, start(number))).collect();
    for (number, mut child) in all {
        assert_eq!(child.wait().unwrap().code(), Some(number as i32));
    }
}
