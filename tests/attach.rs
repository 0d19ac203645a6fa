//! Who stays with a container, who comes to it, and who leaves it.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

use env::pty::Terminal;
use env::{Done, Env, eventually};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Ctrl-P, Ctrl-Q.
const LEAVE: &[u8] = b"\x10\x11";

fn command(env: &Env, options: &[&str], verb: &[&str]) -> Command {
    let mut command = env.rbox();
    command.args(["run", "--network=none", "--name=a"]).args(options).arg("--rootfs").arg(env.rootfs());
    command.arg("/guest").args(verb);
    command
}

fn background(env: &Env, options: &[&str], verb: &[&str]) {
    Done::from(command(env, &[&["-d"], options].concat(), verb).output().unwrap()).ok();
}

fn rbox(env: &Env, words: &[&str]) -> Done {
    env.rbox().args(words).output().unwrap().into()
}

fn state(env: &Env) -> String {
    rbox(env, &["ps", "-a", "--format", "{{.State}}"]).ok().stdout
}

/// Removes the container; nothing is left.
fn end(env: &Env) {
    rbox(env, &["rm", "-f", "a"]).ok();
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

/// Somebody who is attached by pipes.
struct Attached {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Attached {
    fn new(env: &Env, options: &[&str]) -> Attached {
        let mut command = env.rbox();
        command.arg("attach").args(options).arg("a").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Attached { input: child.stdin.take(), child, output }
    }

    fn say(&mut self, text: &str) {
        self.input.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[track_caller]
    fn hears(&mut self, text: &str) {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert_eq!(line, text);
    }

    fn status(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

#[test]
fn one_leaves_a_terminal_and_comes_back() {
    let env = Env::new();
    let mut terminal = Terminal::new();
    terminal.size(20, 70);
    let mut child = terminal.spawn(command(&env, &["-i", "-t"], &["copy"]));
    terminal.wait_for("ready\r\n");
    // What looks like it at first is typed all the same.
    terminal.type_in(b"a\x10b\n");
    terminal.wait_for("a\x10b\r\n");
    terminal.type_in(LEAVE);
    assert_eq!(terminal.end_of(&mut child), Some(0));
    assert!(!terminal.is_raw());
    assert_eq!(state(&env), "running\n");
    let mut attach = env.rbox();
    attach.args(["attach", "--detach-keys", "ctrl-x,q", "a"]);
    let mut other = Terminal::new();
    let mut child = other.spawn(attach);
    other.type_in(b"again\n");
    other.wait_for("again\r\nagain\r\n");
    other.type_in(b"\x18q");
    assert_eq!(other.end_of(&mut child), Some(0));
    let mut attach = env.rbox();
    attach.args(["attach", "a"]);
    let mut child = other.spawn(attach);
    other.type_in(b"last\n");
    other.wait_for("last\r\nlast\r\n");
    other.type_in(b"\x04");
    assert_eq!(other.end_of(&mut child), Some(0));
    assert_eq!(state(&env), "exited\n");
    let logged = rbox(&env, &["logs", "a"]).ok().stdout;
    assert!(["ready\r\n", "again\r\n", "last\r\n"].iter().all(|said| logged.contains(said)), "{logged:?}");
    end(&env);
}

#[test]
fn it_outlives_its_terminal() {
    let env = Env::new();
    let mut terminal = Terminal::new();
    let mut child = terminal.spawn(command(&env, &["-i", "-t"], &["copy"]));
    terminal.wait_for("ready\r\n");
    kill_process(Pid::from_child(&child), Signal::HUP).unwrap();
    assert_eq!(terminal.end_of(&mut child), Some(0));
    assert_eq!(state(&env), "running\n");
    // Even whoever is killed takes nothing along.
    let mut attach = env.rbox();
    attach.args(["attach", "a"]);
    let mut child = terminal.spawn(attach);
    terminal.type_in(b"here\n");
    terminal.wait_for("here\r\nhere\r\n");
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    child.wait().unwrap();
    assert_eq!(state(&env), "running\n");
    end(&env);
}

#[test]
fn several_at_once() {
    let env = Env::new();
    background(&env, &["-i"], &["copy"]);
    let mut first = Attached::new(&env, &[]);
    let mut second = Attached::new(&env, &[]);
    first.say("one\n");
    first.hears("one\n");
    // Until the second one is there, what is said is not for it.
    second.say("two\n");
    loop {
        let mut line = String::new();
        second.output.read_line(&mut line).unwrap();
        if line == "two\n" {
            break;
        }
    }
    first.hears("two\n");
    // The end of one's input is not that of the container's.
    drop(second.input.take());
    first.say("three\n");
    first.hears("three\n");
    second.hears("three\n");
    let mut third = Attached::new(&env, &["--no-stdin"]);
    drop(third.input.take());
    // What is said before it is there is not for it.
    let said = first.input.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut said = said;
            // Until it is killed.
            while said.write_all(b"more\n").is_ok() {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        });
        third.output.read_line(&mut String::new()).unwrap();
        rbox(&env, &["kill", "a"]).ok();
        // They read to the end, so that nobody waits for them.
        for attached in [&mut first, &mut second, &mut third] {
            attached.output.read_to_end(&mut Vec::new()).unwrap();
        }
    });
    assert_eq!([&mut first, &mut second, &mut third].map(Attached::status), [Some(137); 3]);
    end(&env);
}

#[test]
fn whoever_does_not_read_holds_nobody_up() {
    let env = Env::new();
    background(&env, &["-i"], &["copy"]);
    // This one never reads.
    let mut deaf = Attached::new(&env, &["--no-stdin"]);
    let mut heard = Attached::new(&env, &[]);
    heard.say("start\n");
    heard.hears("start\n");
    let mut input = heard.input.take().unwrap();
    let line = format!("{}\n", "x".repeat(999));
    let writer = std::thread::spawn(move || {
        for _ in 0..8_000 {
            input.write_all(line.as_bytes()).unwrap();
        }
        input.write_all(b"end\n").unwrap();
        input
    });
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        heard.output.read_to_end(&mut all).unwrap();
        heard.status()
    });
    // All that a pipe, a socket and the supervisor's patience hold is far less than that.
    eventually("the container goes on", || rbox(&env, &["logs", "--tail", "1", "a"]).ok().stdout == "end\n");
    drop(writer.join().unwrap());
    kill_process(Pid::from_child(&deaf.child), Signal::KILL).unwrap();
    deaf.status();
    end(&env);
    assert_eq!(reader.join().unwrap(), Some(137));
}

#[test]
fn what_nobody_reads_holds_nothing_else_up() {
    let env = Env::new();
    // It never reads, and its terminal takes only so much.
    background(&env, &["-it"], &["sleep"]);
    let lines = [b'y'; 4096];
    let mut attach = env.rbox();
    attach.args(["attach", "a"]);
    let mut terminal = Terminal::new();
    let mut child = terminal.spawn(attach);
    eventually("it is raw", || terminal.is_raw());
    // More than the terminal, the window and what waits behind it take.
    for _ in 0..64 {
        terminal.type_in(&lines);
    }
    // Somebody else is heard all the same.
    let mut other = env.rbox();
    let mut other =
        other.args(["attach", "--sig-proxy=false", "--no-stdin", "a"]).stdout(Stdio::null()).spawn().unwrap();
    rbox(&env, &["exec", "a", "/guest", "exit", "0"]).ok();
    terminal.type_in(LEAVE);
    assert_eq!(terminal.end_of(&mut child), Some(0));
    assert_eq!(state(&env), "running\n");
    kill_process(Pid::from_child(&other), Signal::TERM).unwrap();
    assert_eq!(other.wait().unwrap().code(), Some(0));
    // Without a terminal it is a pipe that is full, and a signal gets through.
    end(&env);
    let mut foreground = command(&env, &["-i", "-a", "stdin", "-a", "stdout"], &["sleep"]);
    let mut child = foreground.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let mut input = child.stdin.take().unwrap();
    let written = Arc::new(AtomicUsize::new(0));
    let counted = written.clone();
    let writer = std::thread::spawn(move || {
        while input.write_all(&lines).is_ok() {
            counted.fetch_add(lines.len(), Ordering::Relaxed);
        }
    });
    // Two pipes, and more in between than may be under way.
    eventually("all is full", || written.load(Ordering::Relaxed) >= 200 * 1024);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    writer.join().unwrap();
    end(&env);
}

#[test]
fn a_supervisor_that_hangs_keeps_nobody() {
    let env = Env::new();
    background(&env, &["-i"], &["cat"]);
    let id = rbox(&env, &["inspect", "--format", "{{.Id}}", "a"]).ok().stdout;
    let run = env.path("data/rbox/containers").join(id.trim()).join("process.json");
    let run: serde_json::Value = serde_json::from_slice(&std::fs::read(run).unwrap()).unwrap();
    let supervisor = Pid::from_raw(run["supervisor"]["pid"].as_i64().unwrap() as i32).unwrap();
    kill_process(supervisor, Signal::STOP).unwrap();
    for words in [&["exec", "a", "/guest", "exit", "0"][..], &["attach", "a"]] {
        let mut child = env.rbox().args(words).stdin(Stdio::null()).spawn().unwrap();
        let pid = child.id();
        eventually("it waits for an answer", || {
            let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
            let number = call.split(' ').next().and_then(|number| number.parse().ok());
            matches!(number, Some(libc::SYS_poll | libc::SYS_ppoll))
        });
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(143), "{words:?}");
    }
    end(&env);
}

#[test]
fn whoever_started_it_gets_everything() {
    let env = Env::new();
    // -a takes it apart from rbox's own streams.
    let mut command = command(&env, &["-a", "stdout"], &["count", "300000"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // It waits for a slow one.
    eventually("it runs", || state(&env) == "running\n");
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(text.ends_with("299998\n299999\n") && text.lines().count() == 300_000, "{} bytes", text.len());
    end(&env);
}

#[test]
fn some_streams_only() {
    let env = Env::new();
    let say = ["say", "out:one", "err:two"];
    let done = Done::from(command(&env, &["-a", "stderr"], &say).output().unwrap()).ok();
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("", "two\n"));
    end(&env);
    let done = Done::from(command(&env, &["-a", "STDOUT", "--rm"], &say).output().unwrap()).ok();
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("one\n", ""));
    let done = Done::from(command(&env, &["-a", "stdout", "-d"], &say).output().unwrap());
    done.fails(125, "conflicting options: -a and -d");
    let done = Done::from(command(&env, &["-a", "tty"], &say).output().unwrap());
    done.fails(125, "-a tty: stdin, stdout or stderr is wanted");
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn input_ends_with_that_of_whoever_started_it() {
    let env = Env::new();
    let mut command = command(&env, &["-i", "--sig-proxy=false"], &["cat"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"all of it").unwrap();
    assert_eq!(Done::from(child.wait_with_output().unwrap()).ok().stdout, "all of it");
    end(&env);
}

#[test]
fn what_is_not_typed_has_no_keys() {
    let env = Env::new();
    let mut command = command(&env, &["-i", "-a", "stdin", "-a", "stdout"], &["cat"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // More than may be under way, and all bytes that there are.
    let all: Vec<u8> = (0..1_000_000u32).map(|number| (number.wrapping_mul(number) >> 7) as u8).collect();
    let sent = [LEAVE, &all, LEAVE, &all].concat();
    let (mut input, written) = (child.stdin.take().unwrap(), sent.clone());
    let writer = std::thread::spawn(move || input.write_all(&written).unwrap());
    let mut received = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut received).unwrap();
    writer.join().unwrap();
    assert!(child.wait().unwrap().success());
    assert!(received == sent, "{} of {}", received.len(), sent.len());
    end(&env);
}

#[test]
fn nobody_waits_for_the_end_of_one_in_the_background() {
    let env = Env::new();
    // What the command's output is connected to is closed when the command ends.
    background(&env, &["-t", "--init"], &["sleep"]);
    assert_eq!(state(&env), "running\n");
    end(&env);
}

#[test]
fn signals_are_passed_on_or_not() {
    let env = Env::new();
    for (options, status, left) in [(&["--sig-proxy=false"][..], 0, "running\n"), (&["-a", "stdout"], 143, "exited\n")]
    {
        let mut child = command(&env, options, &["sleep"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(status), "{options:?}");
        assert_eq!(state(&env), left, "{options:?}");
        end(&env);
    }
}

#[test]
fn one_leaves_an_execution() {
    let env = Env::new();
    background(&env, &["-i"], &["copy"]);
    let mut terminal = Terminal::new();
    terminal.size(31, 99);
    let mut exec = env.rbox();
    exec.args(["exec", "-it", "a", "/guest", "winsize"]);
    let mut child = terminal.spawn(exec);
    terminal.wait_for("size=31x99");
    assert_eq!(terminal.end_of(&mut child), Some(0));
    let mut exec = env.rbox();
    exec.args(["exec", "-it", "a", "/guest", "copy"]);
    let mut child = terminal.spawn(exec);
    terminal.wait_for("ready\r\n");
    terminal.type_in(LEAVE);
    assert_eq!(terminal.end_of(&mut child), Some(0));
    let count = || {
        let all = rbox(&env, &["exec", "a", "/guest", "ls", "/proc"]).ok().stdout;
        all.split_whitespace().filter(|name| name.trim_end_matches('/').parse::<u32>().is_ok()).count()
    };
    // pid 1, the one that was left, and who lists.
    assert_eq!(count(), 3);
    end(&env);
}

#[test]
fn only_to_one_that_runs_apart() {
    let env = Env::new();
    rbox(&env, &["attach", "a"]).fails(125, "no such container: a");
    assert_eq!(Done::from(command(&env, &[], &["exit", "3"]).output().unwrap()).status, 3);
    rbox(&env, &["attach", "a"]).fails(125, "container a is not running").advises("rbox start -a a");
    rbox(&env, &["rm", "a"]).ok();
    let mut child =
        command(&env, &["-i", "--rm"], &["cat"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    eventually("it runs", || state(&env) == "running\n");
    rbox(&env, &["attach", "a"]).fails(125, "it runs in the foreground");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    rbox(&env, &["attach", "--detach-keys", "ctrl-", "a"]).fails(125, "no such container: a");
}
