//! What happens, as others see it.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

use env::{Done, Env};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

fn rbox(env: &Env, words: &[&str]) -> Done {
    env.rbox().args(words).output().unwrap().into()
}

fn run(env: &Env, options: &[&str], verb: &[&str]) -> Done {
    let mut command = env.rbox();
    command.args(["run", "--network=none"]).args(options).arg("--rootfs").arg(env.rootfs());
    command.arg("/guest").args(verb).output().unwrap().into()
}

/// Actions until now, and the values that are asked for.
fn past(env: &Env, format: &str, filters: &[&str]) -> Vec<String> {
    let mut words = vec!["events", "--stream=false", "--format", format];
    words.extend(filters.iter().flat_map(|filter| ["--filter", filter]));
    rbox(env, &words).ok().stdout.lines().map(str::to_owned).collect()
}

#[test]
fn a_life() {
    let env = Env::new();
    run(&env, &["--rm", "--name=b", "-l", "what=this"], &["exit", "3"]);
    let all = past(&env, "{{.Action}} {{.Actor.Attributes.name}}", &[]);
    assert_eq!(all, ["create b", "start b", "die b", "destroy b"]);
    assert_eq!(past(&env, "{{.Actor.Attributes.exitCode}}", &["event=die"]), ["3"]);
    assert_eq!(past(&env, "{{.Action}}", &["label=what=that"]), Vec::<String>::new());
    assert_eq!(past(&env, "{{.Action}}", &["label=what=this"]).len(), 4);
    run(&env, &["-d", "-i", "--name=first"], &["cat"]).ok();
    rbox(&env, &["exec", "first", "/guest", "exit", "5"]);
    rbox(&env, &["rename", "first", "other"]).ok();
    rbox(&env, &["stop", "other"]).ok();
    rbox(&env, &["start", "other"]).ok();
    rbox(&env, &["kill", "other"]).ok();
    rbox(&env, &["rm", "other"]).ok();
    let all = past(&env, "{{.Action}}", &["container=other", "container=first"]);
    let expected = [
        "create",
        "start",
        "exec_create: /guest exit 5",
        "exec_start: /guest exit 5",
        "exec_die",
        "rename",
        "kill",
        "die",
        "stop",
        "start",
        "kill",
        "die",
        "destroy",
    ];
    assert_eq!(all, expected);
    rbox(&env, &["volume", "create", "v"]).ok();
    rbox(&env, &["volume", "rm", "v"]).ok();
    assert_eq!(
        past(&env, "{{.Type}} {{.Action}} {{.Actor.ID}}", &["type=volume"]),
        ["volume create v", "volume destroy v"]
    );
    let line = rbox(&env, &["events", "--stream=false", "--format", "json", "--filter", "event=die"]).ok().stdout;
    let event: Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    assert_eq!((event["status"].as_str(), event["Type"].as_str()), (Some("die"), Some("container")));
    assert!(event["timeNano"].as_i64().unwrap() / 1_000_000_000 == event["time"].as_i64().unwrap());
    rbox(&env, &["events", "--filter", "what=x"]).fails(125, "--filter what=x");
}

#[test]
fn as_it_happens() {
    let env = Env::new();
    run(&env, &["--rm"], &["exit", "0"]).ok();
    let mut command = env.rbox();
    command.args(["events", "--format", "{{.Action}}", "--filter", "type=container"]).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    // It watches when it has opened the directory; what was before is not shown.
    let open = format!("/proc/{}/fd", child.id());
    env::eventually("it watches", || {
        std::fs::read_dir(&open)
            .unwrap()
            .flatten()
            .filter_map(|fd| std::fs::read_link(fd.path()).ok())
            .any(|file| file.to_string_lossy().contains("inotify"))
    });
    for _ in 0..2 {
        run(&env, &["--rm"], &["exit", "0"]).ok();
        for expected in ["create", "start", "die", "destroy"] {
            assert_eq!(said.next().unwrap().unwrap(), expected);
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(rbox(&env, &["events", "--since", "1h", "--until", "1ms"]).ok().stdout.lines().count(), 12);
}

#[test]
fn the_file_ends_somewhere() {
    let env = Env::new();
    let log = env.path("run/rbox/events.log");
    std::fs::write(&log, vec![b'\n'; 1024 * 1024 + 1]).unwrap();
    run(&env, &["--rm"], &["exit", "0"]).ok();
    assert!(std::fs::metadata(&log).unwrap().len() < 4096 && env.path("run/rbox/events.log.1").exists());
    let all = past(&env, "{{.Action}}", &[]);
    assert_eq!(all, ["create", "start", "die", "destroy"]);
}
