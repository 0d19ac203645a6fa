//! kill -9 of any process of rbox at any moment of a container's life: what the next command says is true, and `rm -f` leaves
//! nothing. Also a runtime directory that is lost, as with a reboot.
//!
//! `RBOX_TEST_LONG=1` kills 500 times; `RBOX_TEST_SEED=N` repeats the moments of a run that failed.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

#[allow(dead_code)]
#[path = "crash/victim.rs"]
mod victim;

use env::{Done, Env, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use victim::Chance;

/// Commands that only look answer within this time, even on a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(1);

fn rbox(env: &Env, words: &[&str]) -> Done {
    env.rbox().args(words).output().unwrap().into()
}

/// What a command says, which must come soon.
fn soon(env: &Env, words: &[&str]) -> Done {
    let start = Instant::now();
    let done = rbox(env, words);
    assert!(start.elapsed() < SOON, "{words:?} took {:?}", start.elapsed());
    done
}

/// Processes of the test: rbox's and those of its containers, by the private directory in their environment or arguments.
fn processes(env: &Env) -> Vec<(i32, String)> {
    let own = env.dir().as_os_str().as_encoded_bytes();
    let has = |file: PathBuf| std::fs::read(file).is_ok_and(|text| text.windows(own.len()).any(|part| part == own));
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let path = entry.path();
        let is_rbox = std::fs::read_link(path.join("exe")).is_ok_and(|exe| exe == env::program("rbox"));
        if pid != std::process::id() as i32 && (has(path.join("environ")) || has(path.join("cmdline"))) && is_rbox {
            let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
            all.push((pid, String::from_utf8_lossy(&line).replace('\0', " ")));
        }
    }
    all
}

fn kill(pid: i32) {
    // It may have ended.
    let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::KILL));
}

/// The container's own directory on disk, if it has one.
fn dirs(env: &Env) -> Vec<PathBuf> {
    let all = std::fs::read_dir(env.path("data/rbox/containers"));
    all.into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn first_process(dir: &Path) -> Option<i32> {
    run_of(dir)?["pid"].as_i64().map(|pid| pid as i32)
}

fn supervisor(dir: &Path) -> Option<i32> {
    run_of(dir)?["supervisor"]["pid"].as_i64().map(|pid| pid as i32)
}

fn run_of(dir: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(dir.join("process.json")).ok()?).ok()
}

/// True for a process that has not ended.
fn lives(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z') && !line.contains('X'))
}

fn state(env: &Env) -> Option<String> {
    let done = soon(env, &["inspect", "--type=container", "-f", "{{.State.Status}}", "a"]);
    (done.status == 0).then(|| done.stdout.trim_end().to_owned())
}

/// What is said of the container is true.
fn is_true(env: &Env) {
    let listed = soon(env, &["ps", "-a", "--format", "{{.Names}} {{.State}}"]).ok().stdout;
    let Some(said) = state(env) else {
        assert!(!listed.starts_with("a "), "{listed}");
        return;
    };
    let pid = dirs(env).first().and_then(|dir| first_process(dir));
    match said.as_str() {
        // Whoever was killed a moment ago takes it along a moment later.
        "running" => eventually("it can be used, or has ended", || {
            soon(env, &["exec", "a", "/guest", "exit", "7"]).status == 7 || state(env).as_deref() != Some("running")
        }),
        "restarting" | "created" | "exited" => {
            // Nobody of it is left, or will be in a moment.
            if let Some(pid) = pid.filter(|_| said == "exited") {
                eventually("its first process has ended", || !lives(pid) || state(env).as_deref() != Some("exited"));
            }
        }
        other => panic!("{other}"),
    }
}

fn spawn(env: &Env, words: &[&str]) -> Child {
    env.rbox().args(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// For so long, or to its end.
fn let_it_run(child: &mut Child, micros: u64) {
    let end = Instant::now() + Duration::from_micros(micros);
    while Instant::now() < end && child.try_wait().unwrap().is_none() {
        std::hint::spin_loop();
    }
}

#[test]
fn whoever_is_killed_whenever() {
    let env = Env::new();
    let mut chance = Chance::new();
    let rounds = if std::env::var_os("RBOX_TEST_LONG").is_some() { 500 } else { 40 };
    let rootfs = env.rootfs().display().to_string();
    let run = [
        "run",
        "-d",
        "-i",
        "--network=none",
        "--name=a",
        "--restart=on-failure:2",
        "--rootfs",
        &rootfs,
        "/guest",
        "cat",
    ];
    for round in 0..rounds {
        if state(&env).is_none() {
            rbox(&env, &run).ok();
        }
        let words: &[&str] = match chance.below(8) {
            0 => &["start", "a"],
            1 => &["exec", "a", "/guest", "exit", "0"],
            2 => &["exec", "-d", "a", "/guest", "sleep"],
            3 => &["stop", "-t", "0", "a"],
            4 => &["kill", "a"],
            5 => &["restart", "-t", "0", "a"],
            6 => &["rm", "-f", "a"],
            _ => &run,
        };
        let mut child = spawn(&env, words);
        let most = if chance.below(2) == 0 { 30_000 } else { 8_000 };
        let micros = chance.below(most);
        let_it_run(&mut child, micros);
        let mut all = processes(&env);
        all.retain(|(pid, _)| lives(*pid));
        let victim = (!all.is_empty()).then(|| all.swap_remove(chance.below(all.len() as u64) as usize));
        if let Some((pid, _)) = &victim {
            kill(*pid);
        }
        let told = format!("round {round}: {words:?} after {micros} µs, killed {victim:?}");
        eprintln!("{told}");
        let start = Instant::now();
        while child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < Duration::from_secs(15), "{told}: does not end");
            std::thread::sleep(Duration::from_millis(1));
        }
        is_true(&env);
    }
    if state(&env).is_some() {
        soon(&env, &["rm", "-f", "a"]).ok();
    }
    // One more: whoever comes next cleans up after those who died.
    Done::from(env.run_command(&["--network=none"]).args(["/guest", "exit", "0"]).output().unwrap()).ok();
    let mut left = env.leftovers();
    // Upper layers of nobody go with the next one that needs a place.
    left.retain(|path| !path.contains("data/rbox/scratch"));
    assert_eq!(left, Vec::<String>::new());
    eventually("no process is left", || processes(&env).iter().all(|(pid, _)| !lives(*pid)));
}

/// Whoever is killed while he removes a container leaves it whole, or what the next command clears away.
#[test]
fn half_a_removal() {
    let env = Env::new();
    let mut chance = Chance::new();
    let rounds = if std::env::var_os("RBOX_TEST_LONG").is_some() { 300 } else { 30 };
    let rootfs = env.rootfs().display().to_string();
    let create = ["create", "--network=none", "--name=a", "--rootfs", &rootfs, "/guest", "exit", "0"];
    let mut halves = 0;
    for round in 0..rounds {
        if state(&env).is_none() {
            rbox(&env, &create).ok();
        }
        let mut child = spawn(&env, &["rm", "a"]);
        let micros = chance.below(6_000);
        let_it_run(&mut child, micros);
        let ended = child.try_wait().unwrap().is_some();
        kill(child.id() as i32);
        child.wait().unwrap();
        let is_there = state(&env).is_some();
        halves += u32::from(!ended && !is_there);
        Done::from(env.run_command(&["--network=none"]).args(["/guest", "exit", "0"]).output().unwrap()).ok();
        let mut left = env.leftovers();
        left.retain(|path| !path.contains("data/rbox/scratch"));
        assert!(left.is_empty() || is_there, "round {round}, after {micros} µs: {left:?}");
    }
    eprintln!("{halves} of {rounds} were killed between the first step and the last");
    rbox(&env, &["rm", "-f", "a"]);
}

#[test]
fn a_runtime_directory_that_is_lost() {
    let env = Env::new();
    let run = |name: &str, options: &[&str]| {
        let mut command = env.rbox();
        command
            .args(["run", "-d", "-i", "--network=none", "--name", name])
            .args(options)
            .arg("--rootfs")
            .arg(env.rootfs());
        Done::from(command.args(["/guest", "cat"]).output().unwrap()).ok();
    };
    let lose = || {
        std::fs::remove_dir_all(env.path("run/rbox")).unwrap();
        std::fs::create_dir(env.path("run/rbox")).unwrap();
        env::set_mode(&env.path("run/rbox"), 0o700);
        std::fs::write(env.path(env::SAID), "").unwrap();
    };
    let listed = || {
        let mut lines: Vec<String> = soon(&env, &["ps", "-a", "--format", "{{.Names}} {{.State}}"])
            .ok()
            .stdout
            .lines()
            .map(str::to_owned)
            .collect();
        lines.sort();
        lines.join(", ")
    };
    // It is lost while they run: what is on disk says what they do.
    run("a", &[]);
    run("b", &["--restart=always"]);
    lose();
    assert_eq!(listed(), "a running, b running");
    soon(&env, &["stop", "a"]).ok();
    soon(&env, &["rm", "-f", "b"]).ok();
    assert_eq!(listed(), "a exited");
    soon(&env, &["start", "a"]).ok();
    assert_eq!(listed(), "a running");
    // With a reboot all processes end, too.
    run("once", &["--rm"]);
    for (pid, _) in processes(&env) {
        kill(pid);
    }
    eventually("all have ended", || processes(&env).iter().all(|(pid, _)| !lives(*pid)));
    lose();
    assert_eq!(listed(), "a exited");
    assert_eq!(soon(&env, &["wait", "a"]).ok().stdout, "137\n");
    soon(&env, &["start", "a"]).ok();
    assert_eq!(soon(&env, &["exec", "a", "/guest", "exit", "7"]).status, 7);
    soon(&env, &["rm", "-f", "a"]).ok();
    let mut left = env.leftovers();
    left.retain(|path| !path.contains("data/rbox/scratch"));
    assert_eq!(left, Vec::<String>::new());
}

/// One more process of a container whose joiner is killed, or whoever has asked for it, at any moment: the container ends as
/// always.
#[test]
fn an_exec_on_its_way() {
    let env = Env::new();
    let mut chance = Chance::new();
    let rounds = if std::env::var_os("RBOX_TEST_LONG").is_some() { 60 } else { 4 };
    let rootfs = env.rootfs().display().to_string();
    let run =
        ["run", "-d", "-i", "--network=none", "--name=a", "--restart=always", "--rootfs", &rootfs, "/guest", "cat"];
    for round in 0..rounds {
        rbox(&env, &run).ok();
        let supervisor = dirs(&env).first().and_then(|dir| supervisor(dir)).unwrap();
        for _ in 0..20 {
            let mut child = spawn(&env, &["exec", "a", "/guest", "exit", "0"]);
            let end = Instant::now() + Duration::from_micros(chance.below(6_000));
            let of_client = chance.below(3) == 0;
            while child.try_wait().unwrap().is_none() {
                let joiner = children(supervisor).into_iter().find(|pid| is_joiner(*pid));
                if Instant::now() < end && (of_client || joiner.is_none()) {
                    continue;
                }
                if let Some(joiner) = joiner.filter(|_| !of_client) {
                    std::thread::sleep(Duration::from_micros(chance.below(1_500)));
                    kill(joiner);
                }
                kill(child.id() as i32);
            }
        }
        soon(&env, &["kill", "a"]).ok();
        let first = dirs(&env).first().and_then(|dir| first_process(dir)).unwrap();
        eventually(&format!("round {round}: the first process {first} ends"), || !lives(first));
        soon(&env, &["rm", "-f", "a"]).ok();
    }
    eventually("no process is left", || processes(&env).iter().all(|(pid, _)| !lives(*pid)));
}

fn children(pid: i32) -> Vec<i32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn is_joiner(pid: i32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"exec-joiner"))
}
