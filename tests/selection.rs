//! Which containers verbs are for, and containers that take others' places.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

use env::{Done, Env, eventually};
use std::process::Stdio;

fn made(env: &Env, verb: &str, options: &[&str], command: &[&str]) -> Done {
    let mut words = env.rbox();
    words.arg(verb).args(["--network", "none"]).args(options).arg("--rootfs").arg(env.rootfs());
    words.arg("/guest").args(command).output().unwrap().into()
}

fn rbox(env: &Env, words: &[&str]) -> Done {
    env.rbox().args(words).output().unwrap().into()
}

fn listed(env: &Env) -> String {
    let mut lines: Vec<String> =
        rbox(env, &["ps", "-a", "--format", "{{.Names}} {{.State}}"]).ok().stdout.lines().map(str::to_owned).collect();
    lines.sort();
    lines.join(", ")
}

#[test]
fn the_last_one_some_and_all() {
    let env = Env::new();
    made(&env, "create", &["--name", "a", "-i", "-l", "kind=one"], &["cat"]).ok();
    made(&env, "create", &["--name", "b", "-i", "--cidfile", "id"], &["cat"]).ok();
    rbox(&env, &["start", "--latest"]).ok();
    assert_eq!(listed(&env), "a created, b running");
    rbox(&env, &["exec", "-l", "/guest", "exit", "0"]).ok();
    rbox(&env, &["kill", "-l", "b"]).fails(125, "--latest: excludes names");
    rbox(&env, &["exec", "-l"]).fails(125, "");
    rbox(&env, &["start", "--filter", "label=kind=one"]).ok();
    assert_eq!(listed(&env), "a running, b running");
    rbox(&env, &["stop", "-l"]).ok();
    rbox(&env, &["start", "--all"]).ok();
    rbox(&env, &["kill", "--filter", "name=a"]).ok();
    assert_eq!(listed(&env), "a exited, b running");
    rbox(&env, &["rm", "-f", "--cidfile", "id"]).ok();
    assert_eq!(listed(&env), "a exited");
    rbox(&env, &["rm", "--filter", "status=running"]).ok();
    rbox(&env, &["rm", "--filter", "status=exited"]).ok();
    assert_eq!(listed(&env), "");
    rbox(&env, &["rm", "-l"]).fails(125, "--latest: there is no container");
}

#[test]
fn one_takes_the_place_of_another() {
    let env = Env::new();
    made(&env, "run", &["-d", "-i", "--name", "a", "--replace"], &["cat"]).ok();
    let first = rbox(&env, &["ps", "-q"]).ok().stdout;
    made(&env, "run", &["-d", "--name", "a"], &["exit", "0"]).fails(125, "\"a\" is already in use");
    // What cannot be is refused before anything goes.
    made(&env, "run", &["-d", "--name", "a", "--replace", "--device", "/no"], &["exit", "0"])
        .fails(125, "--device /no");
    assert_eq!(rbox(&env, &["ps", "-q"]).ok().stdout, first);
    made(&env, "run", &["-d", "-i", "--name", "a", "--replace"], &["cat"]).ok();
    let second = rbox(&env, &["ps", "-q"]).ok().stdout;
    assert!(second != first && second.lines().count() == 1, "{first} {second}");
    made(&env, "create", &["--name", "a", "--replace"], &["cat"]).ok();
    assert_eq!(listed(&env), "a created");
    made(&env, "run", &["--replace"], &["cat"]).fails(125, "--replace: without --name");
    rbox(&env, &["rm", "a"]).ok();
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn a_name_counts_before_the_beginning_of_an_id() {
    let env = Env::new();
    let id = made(&env, "create", &["--name", "a"], &["cat"]).ok().stdout;
    let beginning = &id[..12];
    made(&env, "run", &["-d", "-i", "--rm", "--name", beginning], &["cat"]).ok();
    rbox(&env, &["exec", beginning, "/guest", "exit", "0"]).ok();
    rbox(&env, &["rm", "-f", beginning]).ok();
    assert_eq!(listed(&env), "a created");
    rbox(&env, &["rm", beginning]).ok();
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn one_that_is_to_run_once() {
    let env = Env::new();
    made(&env, "create", &["--rm", "--name", "a"], &["exit", "4"]).ok();
    assert_eq!(listed(&env), "a created");
    assert_eq!(rbox(&env, &["start", "-a", "a"]).status, 4);
    assert_eq!(env.leftovers(), Vec::<String>::new());
    made(&env, "create", &["--rm", "--name", "a", "-i"], &["cat"]).ok();
    rbox(&env, &["start", "a"]).ok();
    let waiting = env.rbox().args(["wait", "a"]).stdout(Stdio::piped()).spawn().unwrap();
    let open = format!("/proc/{}/fd", waiting.id());
    eventually("it waits", || {
        let files = std::fs::read_dir(&open).unwrap().flatten().filter_map(|file| std::fs::read_link(file.path()).ok());
        files.into_iter().any(|file| file.to_string_lossy().contains("pidfd"))
    });
    rbox(&env, &["kill", "a"]).ok();
    assert_eq!(Done::from(waiting.wait_with_output().unwrap()).ok().stdout, "137\n");
    eventually("it is gone", || env.leftovers().is_empty());
}

#[test]
fn what_one_may_wait_for() {
    let env = Env::new();
    made(&env, "create", &["--name", "a", "-i"], &["cat"]).ok();
    let waiting = |condition: &str| {
        let mut command = env.rbox();
        command.args(["wait", "--interval=2ms", "--condition", condition, "a"]).stdout(Stdio::piped()).spawn().unwrap()
    };
    let ends = |child: std::process::Child| Done::from(child.wait_with_output().unwrap()).ok().stdout;
    assert_eq!(ends(waiting("created")), "-1\n");
    let runs = waiting("running");
    rbox(&env, &["start", "a"]).ok();
    assert_eq!(ends(runs), "-1\n");
    let stopped = waiting("stopped");
    rbox(&env, &["kill", "a"]).ok();
    assert_eq!(ends(stopped), "137\n");
    let removed = waiting("removed");
    rbox(&env, &["rm", "a"]).ok();
    // It may have come too late for even its name.
    let removed = removed.wait_with_output().unwrap();
    assert!(removed.stdout == b"-1\n" || removed.status.code() == Some(125));
    rbox(&env, &["wait", "--condition", "asleep", "a"]).fails(125, "--condition: asleep");
}
