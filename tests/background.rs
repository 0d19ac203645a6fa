//! Containers in the background: what becomes of them, what is known of them, what they have said.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

use env::{Done, Env, eventually, program};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// Words of a command for a container without a network.
fn made(env: &Env, verb: &str, options: &[&str], command: &[&str]) -> Done {
    let mut words = env.rbox();
    words.arg(verb).args(["--network", "none"]).args(options).arg("--rootfs").arg(env.rootfs());
    words.arg("/guest").args(command).output().unwrap().into()
}

/// Runs the guest in the background; the container's id.
fn background(env: &Env, options: &[&str], command: &[&str]) -> String {
    let done = made(env, "run", &[&["-d"], options].concat(), command).ok();
    assert_eq!(done.stderr, "");
    let id = done.stdout.trim_end().to_owned();
    assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    id
}

fn rbox(env: &Env, words: &[&str]) -> Done {
    env.rbox().args(words).output().unwrap().into()
}

/// Names and states, the newest first.
fn listed(env: &Env, options: &[&str]) -> String {
    rbox(env, &[&["ps", "--format", "{{.Names}} {{.State}}"], options].concat()).ok().stdout
}

fn inspected(env: &Env, name: &str) -> Value {
    let all: Value = serde_json::from_str(&rbox(env, &["inspect", name]).ok().stdout).unwrap();
    all[0].clone()
}

fn logged(env: &Env, name: &str) -> String {
    let done = rbox(env, &["logs", name]).ok();
    done.stdout + &done.stderr
}

/// The pipes of its log are its user's, who may open them again; the supervisor has its own end all the same.
#[test]
fn one_of_another_user() {
    requires!("one_of_another_user", env::has_range(), "no subordinate id range");
    let env = Env::new();
    for options in [&["-d"][..], &["-d", "-t"], &["-d", "-i"], &["--restart=on-failure"], &["-t"]] {
        let options = [&["--name", "a", "-u", "7:8"], options].concat();
        made(&env, "run", &options, &["report"]).ok();
        assert_eq!(rbox(&env, &["wait", "a"]).ok().stdout, "0\n");
        let said = logged(&env, "a").replace('\r', "");
        let has = |field: &str| said.lines().any(|line| line == field);
        assert!(has("uid=7") && has("gid=8"), "{options:?}: {said}");
        rbox(&env, &["rm", "a"]).ok();
    }
    made(&env, "run", &["-d", "--name=a", "-u", "7:8"], &["write", "/dev/stdout", "text\n"]).ok();
    rbox(&env, &["wait", "a"]).ok();
    assert_eq!(logged(&env, "a"), "text\nok\n");
    rbox(&env, &["rm", "a"]).ok();
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn one_user_namespace_is_around_all() {
    requires!("one_user_namespace_is_around_all", env::has_range(), "no subordinate id range");
    let env = Env::new();
    let maps = |options: &[&str]| env.guest(options, &["report"]).ok().field("uid_map");
    let own = env::uid().to_string();
    let alone = format!("[\"0\", \"{own}\", \"1\", ");
    let among = "[\"0\", \"0\", \"1\", ";
    assert!(maps(&[]).starts_with(&alone));
    background(&env, &["--name", "a", "-i"], &["cat"]);
    // Root there is root of the one around, and somebody else stays who that is on the host.
    assert!(maps(&[]).starts_with(among), "{}", maps(&[]));
    let dir = env.path("volume");
    std::fs::create_dir(&dir).unwrap();
    env::set_mode(&dir, 0o777);
    let volume = format!("{}:/mnt", dir.display());
    env.guest(&["-v", &volume, "--user", "7:8"], &["write", "/mnt/file", "text"]).ok();
    let metadata = std::fs::metadata(dir.join("file")).unwrap();
    let owners = (std::os::unix::fs::MetadataExt::uid(&metadata), std::os::unix::fs::MetadataExt::gid(&metadata));
    assert_eq!(owners, (env::first_subid("/etc/subuid") + 6, env::first_subid("/etc/subgid") + 7));
    let kept = env.guest(&["--userns", "keep-id"], &["report"]).ok();
    assert_eq!(kept.field("uid"), own);
    // It is there as long as one of those in it.
    background(&env, &["--name", "b", "-i"], &["cat"]);
    rbox(&env, &["exec", "b", "/guest", "exit", "0"]).ok();
    rbox(&env, &["rm", "-f", "a"]).ok();
    assert!(maps(&[]).starts_with(&alone));
    background(&env, &["--name", "c", "-i"], &["cat"]);
    assert!(maps(&["--network", "none"]).starts_with(among));
    // What is written down may be anything.
    for text in ["{", "{\"of\":{\"pid\":1,\"start\":0},\"boot\":null,\"ids\":{\"uid\":[],\"gid\":[]}}"] {
        std::fs::write(env.path("run/rbox/around.json"), text).unwrap();
        assert!(maps(&[]).starts_with(&alone));
    }
    rbox(&env, &["rm", "-f", "b", "c"]).ok();
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn a_life() {
    let env = Env::new();
    let id = background(&env, &["--name", "a"], &["ready-cat"]);
    // Without -i there is nothing to read.
    eventually("its end", || listed(&env, &["-a"]) == "a exited\n");
    assert_eq!((logged(&env, "a").as_str(), inspected(&env, "a")["Id"].as_str()), ("ready\n", Some(id.as_str())));
    rbox(&env, &["rm", "a"]).ok();
    background(&env, &["--name", "other", "-i"], &["ready-cat"]);
    assert_eq!(listed(&env, &[]), "other running\n");
    let state = inspected(&env, "other")["State"].clone();
    assert_eq!((state["Status"].as_str(), state["Running"].as_bool()), (Some("running"), Some(true)));
    rbox(&env, &["rm", "other"]).fails(125, "container other: is running");
    // The guest does not catch the signal: it is not waited for.
    let stopped = rbox(&env, &["stop", "-t", "60", "other"]).ok();
    assert_eq!(stopped.stdout, "other\n");
    assert_eq!((listed(&env, &[]).as_str(), listed(&env, &["-a"]).as_str()), ("", "other exited\n"));
    assert_eq!(rbox(&env, &["wait", "other"]).ok().stdout, "137\n");
    // Its log goes on.
    rbox(&env, &["start", "other"]).ok();
    rbox(&env, &["start", "other"]).ok();
    assert_eq!(listed(&env, &[]), "other running\n");
    rbox(&env, &["restart", "other"]).ok();
    eventually("all three", || logged(&env, "other") == "ready\n".repeat(3));
    rbox(&env, &["rename", "other", "third"]).ok();
    rbox(&env, &["kill", "other"]).fails(125, "no such container: other");
    assert_eq!(rbox(&env, &["kill", "-s", "9", "third"]).ok().stdout, "third\n");
    eventually("its end", || listed(&env, &["-a"]) == "third exited\n");
    rbox(&env, &["kill", "third"]).fails(125, "container third is not running");
    rbox(&env, &["rm", "-f", "-a"]).ok();
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn what_is_made_is_started_later() {
    let env = Env::new();
    let id = made(&env, "create", &["--name", "later", "-e", "WHAT=this"], &["env"]).ok().stdout;
    assert_eq!(listed(&env, &["-a"]), "later created\n");
    rbox(&env, &["run", "--rm", "--network=none", "--name=later", "--rootfs", "rootfs", "/guest"])
        .fails(125, "\"later\" is already in use by container");
    let done = rbox(&env, &["start", "-a", "later"]).ok();
    assert!(done.stdout.lines().any(|line| line == "WHAT=this"), "{done:?}");
    assert_eq!(listed(&env, &["-a"]), "later exited\n");
    // In the background it goes to the log, of which there was none.
    rbox(&env, &["logs", "later"]).fails(125, "container later has no log");
    rbox(&env, &["start", &id[..12]]).ok();
    assert_eq!(rbox(&env, &["wait", "later"]).ok().stdout, "0\n");
    assert!(logged(&env, "later").contains("WHAT=this\n"));
    rbox(&env, &["rm", "later"]).ok();
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn what_it_has_changed_is_there_when_it_starts_again() {
    let env = Env::new();
    let mut command = env.rbox();
    command.args(["create", "--network=none", "--name=a", "--rootfs"]).arg(format!("{}:O", env.rootfs().display()));
    let done: Done = command.args(["/guest", "write-and-read", "/tmp/file"]).output().unwrap().into();
    done.ok();
    for _ in 0..2 {
        assert_eq!(rbox(&env, &["start", "-a", "a"]).ok().stdout, "written\nkept\n");
    }
    assert!(!env.rootfs().join("tmp/file").exists());
    assert!(rbox(&env, &["diff", "a"]).ok().stdout.contains("A /tmp/file\n"));
    rbox(&env, &["rm", "a"]).ok();
}

#[test]
fn one_of_rm_is_gone_and_its_status_is_known_all_the_same() {
    let env = Env::new();
    background(&env, &["--rm", "--name", "a", "-i"], &["cat"]);
    let mut waiting = env.rbox().args(["wait", "a"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(waiting.stdout.take().unwrap());
    let open = format!("/proc/{}/fd", waiting.id());
    let waits = || {
        let files = std::fs::read_dir(&open).unwrap().flatten().filter_map(|file| std::fs::read_link(file.path()).ok());
        files.into_iter().any(|file| file.to_string_lossy().contains("pidfd"))
    };
    eventually("it waits", waits);
    rbox(&env, &["kill", "--signal", "KILL", "a"]).ok();
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "137\n");
    assert!(waiting.wait().unwrap().success());
    background(&env, &["--rm"], &["exit", "7"]);
    eventually("nothing is left", || env.leftovers().is_empty());
}

#[test]
fn what_does_not_start_is_told_to_whoever_starts_it() {
    let env = Env::new();
    let mut command = env.rbox();
    command.args(["run", "-d", "--network=none", "--rootfs"]).arg(env.rootfs());
    let done: Done = command.arg("/no-such-program").output().unwrap().into();
    done.fails(127, "exec /no-such-program");
    let mut command = env.rbox();
    command.args(["run", "-d", "--network=none", "--rootfs"]).arg(env.rootfs());
    let done: Done = command.arg("/etc/passwd").output().unwrap().into();
    done.fails(126, "exec /etc/passwd");
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn both_streams() {
    let env = Env::new();
    background(&env, &["--name", "a"], &["say", "out:one", "err:two", "out:three"]);
    assert_eq!(rbox(&env, &["wait", "a"]).ok().stdout, "0\n");
    let done = rbox(&env, &["logs", "a"]).ok();
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("one\nthree\n", "two\n"));
    let last = rbox(&env, &["logs", "--tail", "1", "a"]).ok();
    assert!(["three\n", "two\n"].contains(&(last.stdout + &last.stderr).as_str()));
    let with_times = rbox(&env, &["logs", "-t", "a"]).ok().stdout;
    for (line, text) in with_times.lines().zip(["one", "three"]) {
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.len() > 20 && time.ends_with('Z') && rest == text, "{line}");
    }
    assert_eq!(rbox(&env, &["logs", "--since", "1h", "--tail", "all", "a"]).ok().stdout, "one\nthree\n");
    assert_eq!(rbox(&env, &["logs", "--until", "1h", "a"]).ok().stdout, "");
    rbox(&env, &["rm", "a"]).ok();
}

#[test]
fn a_log_that_is_followed_ends_with_the_container() {
    let env = Env::new();
    for driver in ["json-file", "k8s-file"] {
        background(&env, &["--name", "a", "--log-driver", driver], &["count", "2000"]);
        let done = rbox(&env, &["logs", "-f", "a"]).ok();
        let expected: String = (0..2000).map(|number| format!("{number}\n")).collect();
        assert_eq!((done.stdout, done.stderr.as_str()), (expected, ""), "{driver}");
        rbox(&env, &["rm", "-f", "a"]).ok();
    }
}

#[test]
fn a_log_has_so_many_files() {
    let env = Env::new();
    let options = ["--name", "a", "--log-opt", "max-size=10k", "--log-opt", "max-file=2"];
    let id = background(&env, &options, &["count", "20000"]);
    rbox(&env, &["wait", "a"]).ok();
    let dir = env.path("data/rbox/containers").join(id);
    let mut sizes: Vec<(String, u64)> = std::fs::read_dir(dir)
        .unwrap()
        .flatten()
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len()))
        .filter(|(name, _)| name.starts_with("output.log"))
        .collect();
    sizes.sort();
    assert_eq!(sizes.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["output.log", "output.log.1"]);
    // One read of a pipe goes into one file, whatever its size.
    assert!(sizes.iter().all(|(_, size)| *size < 10 * 1024 + 3 * 64 * 1024 * 5), "{sizes:?}");
    assert!(rbox(&env, &["logs", "a"]).ok().stdout.ends_with("19998\n19999\n"));
    rbox(&env, &["rm", "a"]).ok();
    for (driver, has) in [("none", false), ("json-file", true)] {
        background(&env, &["--name", "a", "--log-driver", driver], &["count", "1"]);
        rbox(&env, &["wait", "a"]).ok();
        assert_eq!(rbox(&env, &["logs", "a"]).status == 0, has, "{driver}");
        rbox(&env, &["rm", "a"]).ok();
    }
}

#[test]
fn a_supervisor_that_is_killed_takes_its_container_along() {
    let env = Env::new();
    let id = background(&env, &["--name", "a", "-i"], &["cat"]);
    let own = std::fs::read_to_string(env.path("run/rbox/containers").join(&id).join("process.json")).unwrap();
    let own: Value = serde_json::from_str(&own).unwrap();
    let pid = own["pid"].as_i64().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap().parse().unwrap();
    kill_process(Pid::from_raw(parent).unwrap(), Signal::KILL).unwrap();
    eventually("it has ended", || listed(&env, &["-a"]) == "a exited\n");
    assert_eq!(inspected(&env, "a")["State"]["ExitCode"], 137);
    // It can go on.
    rbox(&env, &["start", "a"]).ok();
    assert_eq!(listed(&env, &[]), "a running\n");
    rbox(&env, &["rm", "-f", "a"]).ok();
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn it_has_ended_when_that_is_written_down() {
    let env = Env::new();
    let id = background(&env, &["--name", "a", "-i"], &["ready-cat"]);
    let own = std::fs::read_to_string(env.path("run/rbox/containers").join(&id).join("process.json")).unwrap();
    let own: Value = serde_json::from_str(&own).unwrap();
    let process = |own: &Value| Pid::from_raw(own["pid"].as_i64().unwrap() as i32).unwrap();
    eventually("it says that it is ready", || logged(&env, "a") == "ready\n");
    kill_process(process(&own["supervisor"]), Signal::STOP).unwrap();
    kill_process(process(&own), Signal::KILL).unwrap();
    eventually("its first process is gone", || inspected(&env, "a")["State"]["Pid"] == 0);
    // Nobody knows how yet.
    let state = inspected(&env, "a")["State"].clone();
    assert_eq!((state["Status"].as_str(), state["ExitCode"].as_i64()), (Some("running"), Some(0)));
    assert_eq!(listed(&env, &[]), "a running\n");
    rbox(&env, &["kill", "a"]).fails(125, "container a is not running");
    kill_process(process(&own["supervisor"]), Signal::CONT).unwrap();
    eventually("it has ended", || listed(&env, &["-a"]) == "a exited\n");
    assert_eq!(
        (inspected(&env, "a")["State"]["ExitCode"].as_i64(), logged(&env, "a").as_str()),
        (Some(137), "ready\n")
    );
    rbox(&env, &["rm", "a"]).ok();
}

#[test]
fn it_outlives_whoever_has_started_it() {
    let env = Env::new();
    // A session of its own, whose leader ends, and a pipe that must end with it.
    let script = "\"$0\" run -d -i --name a --network none --rootfs rootfs /guest cat | cat";
    let mut command = env.command("setsid");
    command.args(["-w", "sh", "-c", script]).arg(program("rbox"));
    let done = Done::from(command.output().unwrap()).ok();
    assert_eq!(done.stdout.len(), 65);
    assert_eq!(listed(&env, &[]), "a running\n");
    rbox(&env, &["rm", "-f", "a"]).ok();
}

#[test]
fn names_that_nobody_gave() {
    let env = Env::new();
    for _ in 0..3 {
        background(&env, &["-i"], &["cat"]);
    }
    let names = rbox(&env, &["ps", "--format", "{{.Names}}"]).ok().stdout;
    assert_eq!(names.lines().filter(|name| name.contains('_')).count(), 3, "{names}");
    let first = names.lines().next().unwrap();
    assert_eq!(listed(&env, &["--filter", &format!("name={first}")]), format!("{first} running\n"));
    assert_eq!(listed(&env, &["-n", "2"]).lines().count(), 2);
    assert_eq!(listed(&env, &["-l"]), format!("{first} running\n"));
    assert_eq!(rbox(&env, &["ps", "-q", "--no-trunc"]).ok().stdout.lines().map(str::len).max(), Some(64));
    rbox(&env, &["stop", "-a"]).ok();
    assert_eq!(listed(&env, &[]), "");
    assert_eq!(listed(&env, &["-a", "--filter", "exited=137"]).lines().count(), 3);
    rbox(&env, &["ps", "--filter", "status=odd"]).fails(125, "--filter status=odd");
    rbox(&env, &["rm", "-a"]).ok();
}
