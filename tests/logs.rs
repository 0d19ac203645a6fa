//! What is shown of what containers have said.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

use env::verbs::{background, made, rbox};
use env::{Env, eventually, program};
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Runs the guest to its end, in the background.
fn ended(env: &Env, name: &str, options: &[&str], command: &[&str]) -> String {
    let id = background(env, &[&["--name", name], options].concat(), command);
    rbox(env, &["wait", name]).ok();
    id
}

#[test]
fn of_several_containers() {
    let env = Env::new();
    let a = ended(&env, "a", &[], &["say", "out:one", "err:two"]);
    let b = ended(&env, "b", &[], &["say", "out:three"]);
    let done = rbox(&env, &["logs", "a", "b"]).ok();
    let (a, b) = (&a[..12], &b[..12]);
    assert_eq!((done.stdout, done.stderr), (format!("{a} one\n{b} three\n"), format!("{a} two\n")));
    assert_eq!(rbox(&env, &["logs", "-f", "--names", "b", "a"]).ok().stdout, "b three\na one\n");
    assert_eq!(rbox(&env, &["logs", "--names", "b"]).ok().stdout, "b three\n");
    let done = rbox(&env, &["logs", "--names", "nobody", "b"]).fails(125, "no such container: nobody");
    assert_eq!(done.stdout, "b three\n");
    rbox(&env, &["rm", "-a"]).ok();
}

#[test]
fn one_that_keeps_nothing_says_so() {
    let env = Env::new();
    ended(&env, "a", &["--log-driver=none"], &["say", "out:one"]);
    rbox(&env, &["logs", "a"]).fails(125, "container a: its log driver is none").advises("--log-driver json-file");
    background(&env, &["--name=b", "--rm", "-i", "--log-driver=none"], &["ready-cat"]);
    rbox(&env, &["logs", "b"]).fails(125, "container b: its log driver is none");
    rbox(&env, &["rm", "-f", "-a"]).ok();
    made(&env, "create", &["--log-opt=max-size=0"], &["cat"]).fails(125, "max-size must be a positive number");
}

#[test]
fn an_odd_time_is_passed_over() {
    let env = Env::new();
    let id = ended(&env, "a", &[], &["say", "out:one"]);
    let path = env.path("data/rbox/containers").join(id).join("output.log");
    let mut log = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    log.write_all(b"{\"log\":\"odd\\n\",\"stream\":\"stdout\",\"time\":\"yesterday\"}\n").unwrap();
    for (words, said) in [
        (&["--since", "1h"][..], "one\nodd\n"),
        (&["--since", "-1h"], ""),
        (&["--until", "-1h"], "one\nodd\n"),
        (&["--until", "1h"], ""),
        (&["--since", "1h", "--until", "-1h", "--tail", "1"], "odd\n"),
    ] {
        assert_eq!(rbox(&env, &[&["logs"], words, &["a"]].concat()).ok().stdout, said, "{words:?}");
    }
    rbox(&env, &["rm", "a"]).ok();
}

#[test]
fn until_a_time_that_is_to_come() {
    let env = Env::new();
    background(&env, &["--name=a", "-i"], &["ready-cat"]);
    eventually("it is ready", || rbox(&env, &["logs", "a"]).stdout == "ready\n");
    let start = Instant::now();
    let until = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_millis(700);
    let until = format!("{}.{:09}", until.as_secs(), until.subsec_nanos());
    assert_eq!(rbox(&env, &["logs", "-f", "--until", &until, "a"]).ok().stdout, "ready\n");
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(600) && took < Duration::from_secs(30), "{took:?}");
    assert_eq!(rbox(&env, &["ps", "--format", "{{.Names}}"]).ok().stdout, "a\n");
    rbox(&env, &["rm", "-f", "a"]).ok();
}

#[test]
fn followed_without_inotify() {
    let env = Env::new();
    let signal = libc::SIGUSR1.to_string();
    background(&env, &["--name=a"], &["sigwait", &signal]);
    // A user namespace has a limit of its own (namespaces(7), /proc/sys/user).
    let script = "echo 0 >/proc/sys/user/max_inotify_instances && exec \"$0\" logs -f a";
    let mut command = env.rbox();
    command.args(["unshare", "--id-mode", "single", "sh", "-c", script]).arg(program("rbox"));
    let mut following = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    rbox(&env, &["kill", "-s", "USR1", "a"]).ok();
    assert!(lines.next().unwrap().unwrap().contains(&signal));
    assert!(lines.next().is_none() && following.wait().unwrap().success());
    rbox(&env, &["rm", "-f", "a"]).ok();
}
