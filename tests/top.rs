//! The processes of a container.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

use env::verbs::{background, rbox};
use env::{Done, Env, eventually};

/// The fields of each line, without the titles.
fn rows(done: &Done) -> Vec<Vec<&str>> {
    done.stdout.lines().skip(1).map(|line| line.split_whitespace().collect()).collect()
}

/// The number of a container's first process.
fn first(env: &Env, name: &str) -> String {
    env::verbs::formatted(env, name, "{{.State.Pid}}")
}

/// An empty directory in place of PATH.
fn without_ps(env: &Env, words: &[&str]) -> Done {
    env.rbox().env("PATH", env.path("home")).args(words).output().unwrap().into()
}

#[test]
fn as_ps_shows_them() {
    let env = Env::new();
    background(&env, &["--name=a"], &["sleep"]);
    background(&env, &["--name=other"], &["sleep"]);
    let pid = first(&env, "a");
    let done = rbox(&env, &["top", "a"]).ok();
    assert!(done.stdout.starts_with("UID                 PID "), "{done:?}");
    assert_eq!(rows(&done).len(), 1);
    assert_eq!((rows(&done)[0][1], &rows(&done)[0][7..]), (pid.as_str(), &["/guest", "sleep"][..]));
    let done = rbox(&env, &["container", "top", "a", "-eo", "pid,comm"]).ok();
    assert_eq!(
        (done.stdout.lines().next().unwrap(), rows(&done)),
        ("PID                 COMMAND", vec![vec![&*pid, "guest"]])
    );
    // As BSD's, and where ps does not take -q.
    assert_eq!(rows(&rbox(&env, &["top", "a", "axf"]).ok()).len(), 1);
    rbox(&env, &["top", "a", "-eo", "comm"]).fails(125, "couldn't find PID field");
    rbox(&env, &["top", "a", "-o", "ppid=PID"]).fails(125, "specifying \"ppid=PID\" is not allowed");
    rbox(&env, &["top", "a", "--no-such-option"]).fails(125, "ps --no-such-option");
    rbox(&env, &["kill", "other"]).ok();
    rbox(&env, &["wait", "other"]).ok();
    rbox(&env, &["top", "other"]).fails(125, "container other is not running");
    rbox(&env, &["top", "nobody"]).fails(125, "no such container: nobody");
    rbox(&env, &["rm", "-f", "-a"]).ok();
}

#[test]
fn without_ps_they_are_read_from_proc() {
    let env = Env::new();
    background(&env, &["--name=a"], &["sleep"]);
    let pid = first(&env, "a");
    let done = without_ps(&env, &["top", "a"]).ok();
    let titles: Vec<&str> = done.stdout.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(titles, ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
    assert_eq!((rows(&done)[0][1], &rows(&done)[0][7..]), (pid.as_str(), &["/guest", "sleep"][..]));
    without_ps(&env, &["top", "a", "aux"]).fails(125, "ps is not installed").advises("args, comm");
    // podman's names of columns.
    let done = without_ps(&env, &["top", "a", "pid", "hpid", "user", "state", "args"]).ok();
    assert_eq!(rows(&done), [["1", &*pid, "root", "S", "/guest", "sleep"]]);
    assert!(done.stdout.starts_with("PID                 HPID                USER"), "{done:?}");
    rbox(&env, &["rm", "-f", "a"]).ok();
}

#[test]
fn all_of_them_and_no_others() {
    let env = Env::new();
    background(&env, &["--name=own"], &["sleep"]);
    background(&env, &["--name=host", "--pid=host"], &["sleep"]);
    let count = |name: &str| rows(&rbox(&env, &["top", name, "hpid"]).ok()).len();
    for name in ["own", "host"] {
        assert_eq!(count(name), 1);
        let mut exec = env.rbox();
        let mut inside = exec.args(["exec", name, "/guest", "sleep"]).spawn().unwrap();
        eventually("the one beside it", || count(name) == 2);
        rbox(&env, &["kill", name]).ok();
        inside.wait().unwrap();
    }
    background(&env, &["--name=reaped", "--init"], &["sleep"]);
    eventually("what the reaper has started", || count("reaped") == 2);
    rbox(&env, &["rm", "-f", "-a"]).ok();
}
