//! Whoever ends, and however: nothing stays that nobody needs, and the next command works.

use crate::env::{self, Done, Env, eventually};
use crate::together::{address, world};
use crate::{inspected, network, requires};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

/// All processes that there are: number, parent, command line.
fn processes() -> Vec<(i32, i32, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let Some((_, rest)) = stat.rsplit_once(") ") else { continue };
        let mut fields = rest.split(' ');
        // One that has ended and is not collected yet is none.
        if matches!(fields.next(), None | Some("Z" | "X")) {
            continue;
        }
        let parent = fields.next().and_then(|parent| parent.parse().ok()).unwrap();
        found.push((pid, parent, String::from_utf8_lossy(&line).replace('\0', " ")));
    }
    found
}

/// What keeps the networks of a private world: the keeper, the process inside, and all that they have started.
fn kept(env: &Env) -> Vec<(i32, String)> {
    let all = processes();
    let own = env.dir().to_str().unwrap();
    let mut found: Vec<(i32, String)> = Vec::new();
    for (pid, _, line) in all.iter().filter(|(.., line)| line.starts_with("net-networks") && line.contains(own)) {
        found.push((*pid, line.clone()));
    }
    // Children come after their parents or not; as often as there are generations.
    for _ in 0..4 {
        for (pid, parent, line) in &all {
            if found.iter().any(|(known, _)| known == parent) && !found.iter().any(|(known, _)| known == pid) {
                found.push((*pid, line.clone()));
            }
        }
    }
    found
}

/// Numbers of those whose command line has the word; the keeper's before that of the process inside.
fn numbers(kept: &[(i32, String)], word: &str) -> Vec<i32> {
    let mut found: Vec<i32> = kept.iter().filter(|(_, line)| line.contains(word)).map(|(pid, _)| *pid).collect();
    found.sort();
    found
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

fn is_there(pid: i32) -> bool {
    processes().iter().any(|(there, ..)| *there == pid)
}

/// A container that listens, with its standard error.
fn start(env: &Env, options: &[&str]) -> Child {
    let mut command = env.run_command(&[&["-i"], options].concat());
    command.args(["/guest", "listen", "tcp", "80"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    child
}

/// Ends it as it ends by itself: what it said.
fn finish(mut child: Child) -> String {
    drop(child.stdin.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    said
}

/// Somebody on the network works as if nothing had happened.
fn works(env: &Env) {
    let done = env.guest(&["--network=web", "--ip=10.98.5.9"], &["connect", "tcp", "192.0.2.2", "7", "hello"]).ok();
    assert_eq!(done.stderr, "");
}

#[test]
fn with_the_last_container_all_ends() {
    requires!("with_the_last_container_all_ends", networks);
    let env = world(&["web --subnet 10.98.5.0/24"]);
    let (first, second) = (start(&env, &["--network=web"]), start(&env, &["--network=web"]));
    works(&env);
    let all = kept(&env);
    // One for both, and one helper.
    assert_eq!(numbers(&all, "net-networks").len(), 2, "{all:?}");
    assert_eq!(numbers(&all, "net-keeper").len(), 1, "{all:?}");
    assert_eq!(finish(first), "");
    assert_eq!(numbers(&kept(&env), "net-networks").len(), 2);
    assert_eq!(finish(second), "");
    // Not a moment later.
    assert!(all.iter().all(|(pid, _)| !is_there(*pid)), "{:?}", kept(&env));
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn a_container_without_packets_has_no_helper() {
    requires!("a_container_without_packets_has_no_helper", networks);
    let env = world(&["web --subnet 10.98.5.0/24"]);
    let container = start(&env, &["--network=web"]);
    env.guest(&["--network=web"], &["connect", "tcp", &address(&env, "web", "IPv4Address"), "80", "hello"]);
    assert_eq!(numbers(&kept(&env), "net-keeper"), Vec::<i32>::new());
    assert_eq!(finish(container), "");
}

/// Kills the process of this number, counted among those with the word, while a container runs.
fn killed(word: &str, number: usize, ends_all: bool) {
    let env = world(&["web --subnet 10.98.5.0/24"]);
    let container = start(&env, &["--network=web", "--ip=10.98.5.9", "-p", "127.0.0.1::80"]);
    env.guest(&["--network=web"], &["connect", "tcp", "192.0.2.2", "7", "hello"]).ok();
    let all = kept(&env);
    kill(numbers(&all, word)[number]);
    if !ends_all {
        eventually("the address is still the container's", || {
            let done = env.guest(&["--network=web"], &["connect", "tcp", "192.0.2.2", "7", "hello"]);
            done.status == 0
        });
        finish(container);
        return;
    }
    eventually("all ends", || all.iter().all(|(pid, _)| !is_there(*pid)));
    assert_eq!(inspected(&env, "web")["Containers"], json!({}));
    // The network and the address are nobody's; the container goes on.
    works(&env);
    assert_eq!(kept(&env), vec![]);
    let said = finish(container);
    assert!(said.contains("rbox: network: whoever kept this container's networks has ended"), "{word}: {said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    network(&env, &["rm", "web"]).ok();
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn the_keeper_is_killed() {
    requires!("the_keeper_is_killed", networks);
    killed("net-networks", 0, true);
}

#[test]
fn the_process_inside_is_killed() {
    requires!("the_process_inside_is_killed", networks);
    killed("net-networks", 1, true);
}

#[test]
fn the_helper_is_killed() {
    requires!("the_helper_is_killed", networks);
    killed("net-keeper", 0, false);
}

#[test]
fn the_supervisor_is_killed() {
    requires!("the_supervisor_is_killed", networks);
    let env = world(&["web --subnet 10.98.5.0/24"]);
    let other = start(&env, &["--network=web", "--name=other"]);
    let mut container = start(&env, &["--network=web", "--ip=10.98.5.9", "-p", "127.0.0.1:8311:80"]);
    container.kill().unwrap();
    container.wait().unwrap();
    // Its address and its port are free for the next one; the other one is where it was.
    works(&env);
    let next = start(&env, &["--network=web", "--ip=10.98.5.9", "-p", "127.0.0.1:8311:80"]);
    assert_eq!(finish(next), "");
    let all = kept(&env);
    let mut other = other;
    other.kill().unwrap();
    other.wait().unwrap();
    eventually("all ends", || all.iter().all(|(pid, _)| !is_there(*pid)));
    network(&env, &["rm", "web"]).ok();
    works_not(&env);
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

/// The network is gone, which is the error; what killed ones have left goes with it.
fn works_not(env: &Env) {
    let done: Done = env.guest(&["--network=web"], &["exit", "0"]);
    done.fails(125, "network web not found");
}

#[test]
fn killed_at_any_time() {
    requires!("killed_at_any_time", networks);
    let env = world(&["web --subnet 10.98.5.0/24"]);
    // From before there is a keeper until after the container runs.
    for delay in (0..40).map(|step| std::time::Duration::from_millis(step * 15)) {
        let mut command = env.run_command(&["-i", "--network=web", "--ip=10.98.5.9", "-p", "127.0.0.1:8312:80"]);
        command.args(["/guest", "listen", "tcp", "80"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(delay);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    works(&env);
    eventually("all ends", || kept(&env).is_empty());
    network(&env, &["rm", "web"]).ok();
    works_not(&env);
    assert_eq!(env.leftovers(), Vec::<String>::new());
}
