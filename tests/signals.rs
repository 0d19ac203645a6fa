//! Signals reach the payload, and every end leaves nothing behind.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

use env::{Env, eventually};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};

/// Starts the guest and waits until it says that it is ready.
fn start(env: &Env, options: &[&str], verb: &[&str]) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = env.run_command(options).arg("/guest").args(verb).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (child, output)
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// The root filesystem as mountinfo has it: from the root of the file system that it is on, which may be /tmp itself.
fn shown_root(env: &Env) -> String {
    let rootfs = env.rootfs();
    let parent = rootfs.parent().unwrap().file_name().unwrap();
    format!("{}/rootfs", parent.to_string_lossy())
}

/// Processes that have the private root filesystem of this test mounted.
fn processes(env: &Env) -> Vec<String> {
    let needle = shown_root(env);
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let root = std::fs::read_to_string(entry.path().join("mountinfo")).ok()?;
            let name = entry.file_name().into_string().ok().filter(|name| name.bytes().all(|b| b.is_ascii_digit()))?;
            root.contains(&needle).then_some(name)
        })
        .collect()
}

#[test]
fn a_handled_signal_is_the_payloads() {
    let env = Env::new();
    for number in [1, 2, 3, 10, 12, 15, 28] {
        // SIGWINCH is for rbox's own terminal.
        if number == 28 {
            continue;
        }
        let (mut child, mut output) = start(&env, &[], &["catch", &number.to_string()]);
        signal(&child, Signal::from_named_raw(number).unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, format!("caught={number}\n"));
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn an_unhandled_signal_ends_the_container_as_it_would_end_a_program() {
    let env = Env::new();
    for (signal_to_send, status) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129), (Signal::QUIT, 131)] {
        for options in [&[][..], &["--init"]] {
            let (mut child, _output) = start(&env, options, &["sleep"]);
            signal(&child, signal_to_send);
            assert_eq!(child.wait().unwrap().code(), Some(status), "{signal_to_send:?} {options:?}");
        }
    }
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn a_background_job_of_a_shell_can_be_interrupted() {
    let env = Env::new();
    // A shell without job control leaves SIGINT ignored in what it starts with &.
    let mut child = env
        .command("sh")
        .args(["-c", "\"$@\" & wait $!", "sh"])
        .arg(env::program("rbox"))
        .args(["run", "--rm", "--rootfs"])
        .arg(env.rootfs())
        .args(["/guest", "report"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let ignored = output.lines().map_while(Result::ok).find(|line| line.starts_with("SigIgn")).unwrap();
    // The guest is a Rust program, which ignores SIGPIPE by itself.
    assert_eq!(ignored, "SigIgn=0000000000001000");
    child.wait().unwrap();
}

#[test]
fn time_limit() {
    let env = Env::new();
    let done = env.guest(&["--timeout", "1"], &["sleep"]);
    assert_eq!(done.status, 137);
}

#[test]
fn kill_9_takes_the_container_along_and_the_next_command_cleans_up() {
    let env = Env::new();
    let (mut child, _output) = start(&env, &["--name", "victim"], &["sleep"]);
    assert!(!processes(&env).is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("no process is left", || processes(&env).is_empty());
    assert!(!env.leftovers().is_empty());
    env.guest(&["--name", "victim"], &["exit", "0"]).ok();
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn kill_9_at_any_moment_of_a_start() {
    let env = Env::new();
    let rounds: u32 = if std::env::var_os("RBOX_TEST_LONG").is_some() { 200 } else { 40 };
    // A start takes a few milliseconds: spread the kills over twice the time of this machine's.
    let begin = std::time::Instant::now();
    env.guest(&[], &["exit", "0"]).ok();
    let span = begin.elapsed() * 2;
    for round in 0..rounds {
        let mut child = env.run_command(&[]).args(["/guest", "sleep"]).stdout(Stdio::null()).spawn().unwrap();
        // Not waiting for anything: the moment of the kill is what varies.
        std::thread::sleep(span * round / rounds);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    eventually("no process is left", || processes(&env).is_empty());
    env.guest(&[], &["exit", "0"]).ok();
    assert_eq!(env.leftovers(), Vec::<String>::new());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&shown_root(&env)));
}

#[test]
fn a_terminal_stops_a_start_at_any_moment() {
    let env = Env::new();
    let rounds = 100;
    let begin = std::time::Instant::now();
    env.guest(&[], &["exit", "0"]).ok();
    let span = begin.elapsed();
    let mut stopped = 0;
    for round in 0..rounds {
        let mut command = env.run_command(&[]);
        let mut child = command.args(["/guest", "sleep"]).stdout(Stdio::null()).process_group(0).spawn().unwrap();
        let group = Pid::from_child(&child);
        // Not waiting for anything: the moment is what varies.
        std::thread::sleep(span * round / rounds);
        // What a shell waits for before it reads the next command.
        let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let mut seen = None;
        eventually("it has stopped", || {
            // As Ctrl-Z does. At the moment when a helper is started it goes unheard.
            kill_process_group(group, Signal::TSTP).unwrap();
            seen = waitid(WaitId::Pid(group), options).unwrap();
            seen.is_some()
        });
        stopped += u32::from(seen.is_some_and(|status| status.stopped()));
        kill_process_group(group, Signal::CONT).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(stopped > 0);
    eventually("no process is left", || processes(&env).is_empty());
}

#[test]
fn pidfile() {
    let env = Env::new();
    let path = env.path("pid");
    let (mut child, _output) = start(&env, &["--pidfile", path.to_str().unwrap()], &["sleep"]);
    eventually("the file is there", || path.exists());
    let pid = std::fs::read_to_string(&path).unwrap();
    let root = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(root.starts_with("/guest\0sleep"), "{root:?}");
    signal(&child, Signal::TERM);
    child.wait().unwrap();
    assert!(!path.exists());
}

#[test]
fn a_name_is_taken_once() {
    let env = Env::new();
    let (mut child, _output) = start(&env, &["--name", "one"], &["sleep"]);
    env.guest(&["--name", "one"], &["exit", "0"]).fails(125, "already in use");
    signal(&child, Signal::TERM);
    child.wait().unwrap();
    env.guest(&["--name", "one"], &["exit", "0"]).ok();
}

#[test]
fn another_containers_namespaces_can_be_joined() {
    let env = Env::new();
    let (mut child, _output) = start(&env, &["--name", "first", "--hostname", "shared"], &["sleep"]);
    eventually("it is written down", || {
        !env.guest(&["--pid", "container:first"], &["exit", "0"]).stderr.contains("not running")
    });
    let report = env.guest(&["--pid", "container:first", "--uts", "container:first"], &["report"]).ok();
    assert_eq!(report.field("hostname"), "shared");
    assert_eq!(report.field("uid"), "0");
    assert!(report.field("processes").parse::<u32>().unwrap() >= 2, "{report:?}");
    signal(&child, Signal::TERM);
    child.wait().unwrap();
    env.guest(&["--pid", "container:first"], &["exit", "0"]).fails(125, "first");
}

#[test]
fn an_error_after_the_start_leaves_nothing_running() {
    let env = Env::new();
    let pidfile = env.path("missing/pid");
    env.guest(&["--pidfile", pidfile.to_str().unwrap()], &["sleep"]).fails(125, "--pidfile");
    assert_eq!(processes(&env), Vec::<String>::new());
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn signals_reach_another_user_too() {
    requires!("signals_reach_another_user_too", range);
    let env = Env::new();
    let (mut child, _output) = start(&env, &["-u", "1000"], &["sleep"]);
    signal(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(143));
    // One that waits for its signals as tini does gets them.
    let (mut child, mut output) = start(&env, &["-u", "1000"], &["sigwait", "15"]);
    signal(&child, Signal::TERM);
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "waited=15\n");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
