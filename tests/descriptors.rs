//! Descriptors of the caller that a payload gets, and sockets of a service manager.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

use env::{Done, Env, LONG, eventually, program};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::Read;
use std::process::{ChildStdout, Command, Stdio};

/// A world with the files a, b and c.
fn world() -> Env {
    let env = Env::new();
    for name in ["a", "b", "c"] {
        std::fs::write(env.path(name), format!("file {name}\n")).unwrap();
    }
    env
}

/// A shell that has descriptors open and becomes rbox: `$0` is the program.
fn shell(env: &Env, script: &str) -> Command {
    let mut command = env.command("sh");
    command.args(["-c", script]).arg(program("rbox"));
    command
}

fn run(env: &Env, options: &str, verb: &str, opened: &str) -> Done {
    let script = format!("exec \"$0\" run --network=none {options} --rootfs rootfs /guest {verb} {opened}");
    shell(env, &script).output().unwrap().into()
}

#[test]
fn those_that_were_asked_for_and_no_others() {
    let env = world();
    for options in ["", "--init", "--id-mode single"] {
        let options = format!("--rm --preserve-fds 2 {options}");
        let done = run(&env, &options, "report", "3<a 4<b 5<c 7<c").ok();
        assert_eq!(done.field("fds"), "0,1,2,3,4", "{options}");
        let done = run(&env, &options, "descriptor 4", "4<b 3<a 6<c").ok();
        assert_eq!(done.stdout, "file b\n", "{options}");
    }
    assert_eq!(run(&env, "--rm", "report", "3<a 4<b").ok().field("fds"), "0,1,2");
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn in_the_background() {
    let env = world();
    run(&env, "-d --name a --preserve-fds 2", "descriptor 4", "3<a 4<b 5<c").ok();
    let rbox = |words: &[&str]| Done::from(env.rbox().args(words).output().unwrap());
    assert_eq!(rbox(&["wait", "a"]).ok().stdout, "0\n");
    assert_eq!(rbox(&["logs", "a"]).ok().stdout, "file b\n");
    // They were for that one start.
    assert_ne!(rbox(&["start", "-a", "a"]).status, 0);
    rbox(&["rm", "a"]).ok();
    run(&env, "-d --name a --preserve-fds 2", "report", "3<a 4<b 5<c").ok();
    rbox(&["wait", "a"]).ok();
    assert_eq!(rbox(&["logs", "a"]).ok().field("fds"), "0,1,2,3,4");
    rbox(&["rm", "a"]).ok();
}

/// Nobody has the other end of a pipe any more, and nothing was written there.
#[track_caller]
fn ends(mut pipe: ChildStdout, what: &str) {
    let limit = Timespec { tv_sec: LONG.as_secs() as _, tv_nsec: 0 };
    assert_eq!(poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&limit)), Ok(1), "{what}: somebody has it");
    assert_eq!(pipe.read(&mut [0; 16]).unwrap(), 0, "{what}");
}

/// Nobody else keeps what the payload lets go: whoever reads the other end of a pipe sees its end.
#[test]
fn they_are_the_payloads_alone() {
    let env = world();
    for options in ["-d --name a", "-d --init --name a", "--rm --name a", "--rm --init --name a -a stdout"] {
        let script = format!(
            "exec \"$0\" run --network=none {options} --preserve-fds 1 --rootfs rootfs /guest let-go 3 3>&1 >said 2>&1"
        );
        let mut started = shell(&env, &script).stdout(Stdio::piped()).spawn().unwrap();
        ends(started.stdout.take().unwrap(), options);
        let listed: Done = env.rbox().args(["ps", "--format", "{{.State}}"]).output().unwrap().into();
        assert_eq!(listed.ok().stdout, "running\n", "{options}");
        Done::from(env.rbox().args(["rm", "-f", "a"]).output().unwrap()).ok();
        started.wait().unwrap();
    }
    eventually("nothing is left", || env.leftovers().is_empty());
}

#[test]
fn what_is_not_open_is_not_passed_on() {
    let env = world();
    let done = run(&env, "--rm --preserve-fds 3", "exit 0", "3<a 5<c").fails(125, "descriptor 4 is not open");
    done.advises("all from 3 to 5 are wanted");
    run(&env, "--preserve-fds=1 --restart=always", "exit 0", "3<a").fails(125, "--preserve-fds 1: a container that is");
    run(&env, "--preserve-fds=1 --health-on-failure=restart", "exit 0", "3<a")
        .fails(125, "--preserve-fds 1: a container");
    run(&env, "--rm --preserve-fds=-1", "exit 0", "3<a").fails(125, "--preserve-fds -1: a number up to");
    let script = "exec \"$0\" create --preserve-fds 1 --rootfs rootfs /guest exit 0 3<a";
    Done::from(shell(&env, script).output().unwrap()).fails(125, "--preserve-fds: a container is not run");
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn those_of_one_more_process() {
    let env = world();
    run(&env, "-d -i --name a", "cat", "").ok();
    let exec = |options: &str, verb: &str, opened: &str| -> Done {
        let script = format!("exec \"$0\" exec {options} a /guest {verb} {opened}");
        shell(&env, &script).output().unwrap().into()
    };
    assert_eq!(exec("--preserve-fds 2", "report", "3<a 4<b 5<c").ok().field("fds"), "0,1,2,3,4");
    assert_eq!(exec("--preserve-fds 2", "descriptor 4", "3<a 4<b").ok().stdout, "file b\n");
    assert_eq!(exec("-t --preserve-fds 3", "descriptor 5", "3<a 4<b 5<c").ok().stdout.trim_end(), "file c");
    assert!(exec("-t --preserve-fds 1", "report", "3<a 4<b").ok().stdout.contains("fds=0,1,2,3\r\n"));
    // As many as go; bash takes numbers of two digits.
    let opened = (3..63).fold(String::new(), |all, number| all + &format!("exec {number}<b; "));
    let script = format!("{opened} exec \"$0\" exec --preserve-fds 60 a /guest descriptor 62");
    let mut bash = env.command("bash");
    let done: Done = bash.args(["-c", &script]).arg(program("rbox")).output().unwrap().into();
    assert_eq!(done.ok().stdout, "file b\n");
    exec("--preserve-fds 61", "exit 0", "").fails(125, "--preserve-fds 61: not more than 60");
    exec("--preserve-fds 1", "exit 0", "").fails(125, "descriptor 3 is not open");
    // What cannot be executed is told, whoever has the numbers.
    let script = "exec \"$0\" exec --preserve-fds 3 a /no-such-program 3<a 4<b 5<c";
    Done::from(shell(&env, script).output().unwrap()).fails(127, "exec /no-such-program");
    // The process lets go of it, and so has everybody else.
    let script = "exec \"$0\" exec --preserve-fds 1 a /guest let-go 3 3>&1 >said 2>&1";
    let mut started = shell(&env, script).stdout(Stdio::piped()).spawn().unwrap();
    ends(started.stdout.take().unwrap(), "exec");
    Done::from(env.rbox().args(["rm", "-f", "a"]).output().unwrap()).ok();
    started.wait().unwrap();
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn sockets_of_a_service_manager() {
    let env = world();
    let start = |pid: &str, options: &str, verb: &str| -> Done {
        let script = format!(
            "LISTEN_PID={pid} LISTEN_FDS=1 LISTEN_FDNAMES=web exec \"$0\" run --rm --network=none {options} --rootfs \
             rootfs /guest {verb} 3<a 4<b"
        );
        shell(&env, &script).output().unwrap().into()
    };
    for (options, pid) in [("", "1"), ("--init", "2"), ("-e LISTEN_PID=77", "1")] {
        let done = start("$$", options, "env").ok();
        let fields = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"].map(|key| done.field(key));
        assert_eq!(fields, [pid, "1", "web"].map(str::to_owned), "{options}");
        assert_eq!(done.stdout.matches("LISTEN_PID").count(), 1);
        assert_eq!(start("$$", options, "report").ok().field("fds"), "0,1,2,3");
    }
    // They are somebody else's.
    assert!(!start("1", "", "env").ok().stdout.contains("LISTEN_"));
    assert_eq!(start("1", "", "report").ok().field("fds"), "0,1,2");
    start("$$", "--restart=always", "exit 0").fails(125, "conflicting options: --restart and --rm");
    let done = start("$$", "--preserve-fds 2", "report").ok();
    assert_eq!(done.field("fds"), "0,1,2,3,4");
    assert_eq!(done.stderr, "rbox: note: --preserve-fds: what LISTEN_FDS says is not passed on\n");
}
