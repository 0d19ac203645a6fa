//! Containers that are started again by themselves, and who ends that.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

use env::{Done, Env, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn run(env: &Env, options: &[&str], verb: &[&str]) -> Done {
    let mut command = env.rbox();
    command.args(["run", "--network=none", "--name=a"]).args(options).arg("--rootfs").arg(env.rootfs());
    command.arg("/guest").args(verb).output().unwrap().into()
}

fn rbox(env: &Env, words: &[&str]) -> Done {
    env.rbox().args(words).output().unwrap().into()
}

fn inspected(env: &Env) -> Value {
    let all: Value = serde_json::from_str(&rbox(env, &["inspect", "a"]).ok().stdout).unwrap();
    all[0].clone()
}

fn status(env: &Env) -> String {
    inspected(env)["State"]["Status"].as_str().unwrap().to_owned()
}

fn count(env: &Env) -> u64 {
    inspected(env)["RestartCount"].as_u64().unwrap()
}

fn pid(env: &Env) -> Option<Pid> {
    Pid::from_raw(inspected(env)["State"]["Pid"].as_i64().unwrap() as i32)
}

fn end(env: &Env) {
    rbox(env, &["rm", "-f", "a"]).ok();
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

/// Both maps are whole, whoever starts the container and stays with it. No other container is there to lend a user namespace.
#[test]
fn the_ids_are_there_however_it_starts() {
    requires!("the_ids_are_there_however_it_starts", range);
    let env = Env::new();
    let all = |what: &str, text: &str| {
        for map in ["uid_map", "gid_map"] {
            let line =
                text.lines().rev().find(|line| line.starts_with(map)).unwrap_or_else(|| panic!("{what}: {text}"));
            assert_eq!(line.split(", ").count(), 6, "{what}: {line}");
        }
    };
    for options in [&[][..], &["--rm"], &["-t"], &["-i"], &["--init"], &["--restart=on-failure"]] {
        all(&format!("{options:?}"), &run(&env, options, &["report"]).ok().stdout.replace('\r', ""));
        if options != ["--rm"] {
            all(&format!("start after {options:?}"), &rbox(&env, &["start", "-a", "a"]).ok().stdout.replace('\r', ""));
            rbox(&env, &["rm", "-f", "a"]).ok();
        }
    }
    let health = ["--health-cmd=exit 0", "--health-on-failure=restart"];
    all("health", &run(&env, &health, &["report"]).ok().stdout);
    rbox(&env, &["rm", "-f", "a"]).ok();
    run(&env, &["-d"], &["report"]).ok();
    rbox(&env, &["wait", "a"]).ok();
    all("background", &rbox(&env, &["logs", "a"]).ok().stdout);
    rbox(&env, &["rm", "-f", "a"]).ok();
    let mut create = env.rbox();
    create.args(["create", "--network=none", "--name=a", "--rootfs"]).arg(env.rootfs()).args(["/guest", "report"]);
    Done::from(create.output().unwrap()).ok();
    all("create and start", &rbox(&env, &["start", "-a", "a"]).ok().stdout);
    end(&env);
}

#[test]
fn so_many_times() {
    let env = Env::new();
    run(&env, &["-d", "--restart=on-failure:2"], &["say-and-exit", "hello", "7"]).ok();
    // Its end is the last one.
    assert_eq!(rbox(&env, &["wait", "a"]).ok().stdout, "7\n");
    assert_eq!((status(&env).as_str(), count(&env)), ("exited", 2));
    assert_eq!(rbox(&env, &["logs", "a"]).ok().stdout, "hello\n".repeat(3));
    // Whoever starts it begins anew.
    rbox(&env, &["start", "a"]).ok();
    rbox(&env, &["wait", "a"]).ok();
    assert_eq!((rbox(&env, &["logs", "a"]).ok().stdout.lines().count(), count(&env)), (6, 2));
    end(&env);
    run(&env, &["-d", "--restart=on-failure"], &["say-and-exit", "hello", "0"]).ok();
    assert_eq!(rbox(&env, &["wait", "a"]).ok().stdout, "0\n");
    assert_eq!((status(&env).as_str(), count(&env)), ("exited", 0));
    end(&env);
}

#[test]
fn until_somebody_stops_it() {
    let env = Env::new();
    run(&env, &["-d", "--restart=always"], &["exit", "0"]).ok();
    eventually("it waits long enough to be seen", || count(&env) > 2 && status(&env) == "restarting");
    let listed = rbox(&env, &["ps", "--format", "{{.State}} {{.Status}}"]).ok().stdout;
    assert!(listed.starts_with("restarting Restarting (0)"), "{listed}");
    rbox(&env, &["exec", "a", "/guest", "exit", "0"]).fails(125, "container a is not running");
    rbox(&env, &["rm", "a"]).fails(125, "container a: is running");
    rbox(&env, &["stop", "a"]).ok();
    assert_eq!(status(&env), "exited");
    rbox(&env, &["start", "a"]).ok();
    eventually("it waits again", || count(&env) > 2 && status(&env) == "restarting");
    rbox(&env, &["kill", "a"]).ok();
    assert_eq!(status(&env), "exited");
    // It goes on only when it is asked to.
    let last = inspected(&env)["State"]["StartedAt"].clone();
    rbox(&env, &["start", "a"]).ok();
    eventually("it goes on", || count(&env) > 1);
    assert_ne!(inspected(&env)["State"]["StartedAt"], last);
    end(&env);
}

#[test]
fn what_is_killed_from_outside_comes_back() {
    let env = Env::new();
    run(&env, &["-d", "-i", "--restart=unless-stopped"], &["cat"]).ok();
    let first = pid(&env).unwrap();
    kill_process(first, Signal::KILL).unwrap();
    eventually("another one", || pid(&env).is_some_and(|pid| pid != first));
    // It can be used as before.
    rbox(&env, &["exec", "a", "/guest", "exit", "0"]).ok();
    // rbox's own kill is for good.
    rbox(&env, &["kill", "a"]).ok();
    assert_eq!(status(&env), "exited");
    rbox(&env, &["start", "a"]).ok();
    // A signal that it need not end of is no wish for its end.
    rbox(&env, &["kill", "-s", "HUP", "a"]).ok();
    rbox(&env, &["stop", "-t", "0", "a"]).ok();
    assert_eq!(status(&env), "exited");
    end(&env);
}

#[test]
fn whoever_waits_in_the_foreground_sees_one_end() {
    let env = Env::new();
    let done = run(&env, &["--restart=always"], &["say-and-exit", "hello", "3"]);
    assert_eq!((done.status, done.stdout.as_str()), (3, "hello\n"));
    eventually("it goes on", || count(&env) > 0);
    end(&env);
    run(&env, &["--rm", "--restart=always"], &["exit", "0"]).fails(125, "conflicting options: --restart and --rm");
    run(&env, &["--restart=always:2"], &["exit", "0"]).fails(125, "--restart always:2");
}

#[test]
fn the_supervisor_that_is_killed_starts_nothing() {
    let env = Env::new();
    run(&env, &["-d", "--restart=always"], &["exit", "1"]).ok();
    eventually("it waits", || count(&env) > 3 && status(&env) == "restarting");
    kill_process(supervisor(&env), Signal::KILL).unwrap();
    eventually("it has ended", || status(&env) == "exited");
    rbox(&env, &["start", "a"]).ok();
    // Even one that hears nothing is removed, with its container.
    eventually("it runs anew", || count(&env) > 0);
    end(&env);
}

#[test]
fn a_policy_that_is_changed_counts_at_once() {
    let env = Env::new();
    run(&env, &["-d", "-i"], &["cat"]).ok();
    rbox(&env, &["update", "--restart=always", "a"]).ok();
    assert_eq!(inspected(&env)["HostConfig"]["RestartPolicy"]["Name"], "always");
    let first = |env: &Env| inspected(env)["State"]["Pid"].as_i64().unwrap() as i32;
    let pid = first(&env);
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    eventually("it runs again", || inspected(&env)["State"]["Status"] == "running" && ![0, pid].contains(&first(&env)));
    rbox(&env, &["update", "--restart=sometimes", "a"]).fails(125, "--restart sometimes");
    rbox(&env, &["update", "--restart=no", "a"]).ok();
    kill_process(Pid::from_raw(first(&env)).unwrap(), Signal::KILL).unwrap();
    eventually("its end", || inspected(&env)["State"]["Status"] == "exited");
    rbox(&env, &["rm", "a"]).ok();
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn a_supervisor_that_was_stopped_is_no_obstacle() {
    let env = Env::new();
    run(&env, &["-d", "-i"], &["cat"]).ok();
    kill_process(supervisor(&env), Signal::STOP).unwrap();
    end(&env);
}

fn supervisor(env: &Env) -> Pid {
    let id = inspected(env)["Id"].as_str().unwrap().to_owned();
    let run = std::fs::read_to_string(env.path("data/rbox/containers").join(id).join("process.json")).unwrap();
    let run: Value = serde_json::from_str(&run).unwrap();
    Pid::from_raw(run["supervisor"]["pid"].as_i64().unwrap() as i32).unwrap()
}

fn locks(env: &Env) -> Vec<String> {
    let all = std::fs::read_dir(env.path("run/rbox/locks")).unwrap();
    all.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn one_that_waits_hears_that_it_is_to_end() {
    let env = Env::new();
    run(&env, &["-d", "--restart=always"], &["exit", "1"]).ok();
    eventually("it waits", || count(&env) > 5 && status(&env) == "restarting");
    kill_process(supervisor(&env), Signal::TERM).unwrap();
    eventually("it has ended", || status(&env) == "exited");
    // The last that it does, after its end can be seen.
    eventually("its lock is gone", || locks(&env).is_empty());
    rbox(&env, &["rm", "a"]).ok();
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn one_that_cannot_start_just_now_is_held_all_the_same() {
    let env = Env::new();
    let there = env.path("volume");
    std::fs::create_dir(&there).unwrap();
    let volume = format!("--mount=type=bind,src={},dst=/mnt", there.display());
    run(&env, &["-d", "--restart=always", &volume], &["exit", "1"]).ok();
    std::fs::remove_dir(&there).unwrap();
    let failed = || !inspected(&env)["State"]["Error"].as_str().unwrap().is_empty();
    eventually("it cannot start", || failed() && status(&env) == "restarting");
    let id = inspected(&env)["Id"].as_str().unwrap().to_owned();
    eventually("between two attempts", || locks(&env) == [id.as_str()]);
    std::fs::create_dir(&there).unwrap();
    eventually("it starts again", || !failed());
    end(&env);
}

#[test]
fn a_starter_who_does_not_read_is_waited_for_no_longer_than_a_moment() {
    let env = Env::new();
    let mut command = env.rbox();
    command.args(["run", "--network=none", "--name=a", "--restart=always", "--rootfs"]).arg(env.rootfs());
    let mut child = command.args(["/guest", "count", "300000"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    eventually("it runs", || rbox(&env, &["ps", "-q"]).stdout.lines().count() == 1);
    rbox(&env, &["stop", "-t", "0", "a"]).ok();
    assert_eq!(status(&env), "exited");
    drop(child.stdout.take());
    child.wait().unwrap();
    end(&env);
}

#[test]
fn several_start_it_at_once() {
    let env = Env::new();
    run(&env, &["-d", "-i"], &["cat"]).ok();
    for _ in 0..10 {
        rbox(&env, &["stop", "-t", "0", "a"]).ok();
        let start = || env.rbox().args(["start", "a"]).stdout(std::process::Stdio::null()).spawn().unwrap();
        let mut all: Vec<_> = std::iter::repeat_with(start).take(6).collect();
        assert!(all.iter_mut().all(|start| start.wait().unwrap().success()));
        assert_eq!(status(&env), "running");
    }
    end(&env);
}

#[test]
fn starts_and_stops_at_once() {
    let env = Env::new();
    run(&env, &["-d", "-i", "--restart=always"], &["cat"]).ok();
    for round in 0..20 {
        let mut start = env.rbox().args(["start", "a"]).stdout(std::process::Stdio::null()).spawn().unwrap();
        let stopped = rbox(&env, &[if round % 2 == 0 { "stop" } else { "kill" }, "a"]);
        assert!(stopped.status == 0 || stopped.stderr.contains("is not running"), "{stopped:?}");
        assert!(start.wait().unwrap().success());
    }
    rbox(&env, &["start", "a"]).ok();
    rbox(&env, &["stop", "a"]).ok();
    assert_eq!(status(&env), "exited");
    end(&env);
}
