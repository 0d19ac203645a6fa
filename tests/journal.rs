//! Containers whose output goes to systemd's journal: the real one, of a mount namespace where the test is root.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

use env::{Done, Env, program};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Where distributions have it.
const JOURNALD: [&str; 2] = ["/usr/lib/systemd/systemd-journald", "/lib/systemd/systemd-journald"];

/// The journal's program, if the machine has all that is needed for one of the test's own.
fn journald() -> Option<&'static str> {
    let is_there = |name: &&str| Path::new(name).exists();
    let unshares = Command::new("unshare").args(["-rm", "true"]).output().is_ok_and(|done| done.status.success());
    let reads = Command::new("journalctl").arg("--version").output().is_ok_and(|done| done.status.success());
    JOURNALD.into_iter().find(is_there).filter(|_| unshares && reads)
}

/// A shell that is root of namespaces of its own, with /run and /var/log as they are after a boot: `$rbox` is the program, `run` a
/// container of the guest, `journal` begins one.
fn shell(env: &Env, script: &str) -> Done {
    let begin = format!(
        "set -e
         mount -t tmpfs tmpfs /run
         mount -t tmpfs tmpfs /var/log
         run() {{ options=$1; shift; \"$rbox\" run --network none $options --rootfs rootfs /guest \"$@\"; }}
         journal() {{
             mkdir -p /run/systemd/journal /run/log/journal
             {} >journald 2>&1 &
             until [ -S /run/systemd/journal/socket ]; do sleep 0.01; done
         }}
         fields() {{ journalctl -q -o json --all CONTAINER_NAME=$1; }}
         {script}",
        journald().unwrap()
    );
    let mut command = env.command("unshare");
    command.args(["-r", "-m", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &begin]);
    command.env("rbox", program("rbox")).output().unwrap().into()
}

fn entries(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

macro_rules! requires_journal {
    ($test:expr) => {
        requires!($test, journald().is_some(), "no systemd-journald, journalctl or unshare")
    };
}

#[test]
fn what_is_written_there() {
    requires_journal!("what_is_written_there");
    let env = Env::new();
    let script = "journal
        run '-d --name a --log-driver journald' say out:hello err:oh out: >id
        $rbox wait a >status
        until fields a | grep -q '\"MESSAGE\":\"oh\"'; do sleep 0.01; done
        until [ $(fields a | wc -l) = 3 ]; do sleep 0.01; done
        fields a";
    let done = shell(&env, script).ok();
    let id = std::fs::read_to_string(env.path("id")).unwrap();
    let id = id.trim();
    let all = entries(&done.stdout);
    for entry in &all {
        for (name, value) in [
            ("CONTAINER_ID", &id[..12]),
            ("CONTAINER_ID_FULL", id),
            ("CONTAINER_TAG", &id[..12]),
            ("_TRANSPORT", "journal"),
        ] {
            assert_eq!(entry[name], value, "{entry}");
        }
        assert_eq!(entry["SYSLOG_IDENTIFIER"], &id[..12]);
        assert!(entry.get("IMAGE_NAME").is_none() && entry.get("CONTAINER_PARTIAL_MESSAGE").is_none());
    }
    let mut said: Vec<_> = all.iter().map(|entry| (entry["MESSAGE"].as_str(), entry["PRIORITY"].as_str())).collect();
    said.sort();
    assert_eq!(said, [(Some(""), Some("6")), (Some("hello"), Some("6")), (Some("oh"), Some("3"))]);
}

#[test]
fn long_lines_and_tags() {
    requires_journal!("long_lines_and_tags");
    let env = Env::new();
    let long = "x".repeat(40_000);
    std::fs::write(env.rootfs().join("long"), long.clone() + "\nno end\u{1}").unwrap();
    let script = "journal
        run '-d --name a --log-driver journald --log-opt tag=it/{{.Name}}' read /long
        $rbox wait a
        until [ $(fields a | wc -l) = 4 ]; do sleep 0.01; done
        fields a
        $rbox logs a >logged";
    let all =
        entries(&shell(&env, script).ok().stdout.lines().skip(2).map(|line| format!("{line}\n")).collect::<String>());
    let partial: Vec<bool> = all.iter().map(|entry| entry.get("CONTAINER_PARTIAL_MESSAGE").is_some()).collect();
    assert_eq!(partial, [true, true, false, true]);
    assert_eq!(all[0]["MESSAGE"].as_str().unwrap().len(), 16 * 1024);
    assert!(all.iter().all(|entry| entry["CONTAINER_TAG"] == "it/a" && entry["SYSLOG_IDENTIFIER"] == "it/a"));
    assert_eq!(std::fs::read_to_string(env.path("logged")).unwrap(), long + "\nno end\u{1}");
}

#[test]
fn what_is_read_from_there() {
    requires_journal!("what_is_read_from_there");
    let env = Env::new();
    let script = "journal
        run '-d --name a --log-driver journald' count 3000 >id
        $rbox logs -f a >followed
        $rbox logs -f a >again
        $rbox logs --tail 2 a >tail
        $rbox logs --tail 0 a >none
        $rbox logs --since 1h a >since
        $rbox logs --until 1h a >until
        $rbox logs -f --until 1h a >until-followed
        $rbox logs -t --tail 1 a >times
        $rbox rm a
        run '-d --rm -i --name b --log-driver journald' ready-cat
        until [ -n \"$($rbox logs b)\" ]; do sleep 0.01; done
        $rbox logs -f --tail 0 b >later &
        until [ -n \"$(cat /proc/$!/task/$!/children 2>/dev/null)\" ]; do sleep 0.01; done
        $rbox rm -f b
        wait $!
        run '-d --name c --log-driver journald' say out:one err:two
        $rbox wait c
        until [ $(fields c | wc -l) = 2 ]; do sleep 0.01; done
        $rbox logs c >out 2>err
        PATH=/nowhere $rbox logs c >refused 2>&1 || echo status $? >>refused";
    shell(&env, script).ok();
    let read = |name: &str| std::fs::read_to_string(env.path(name)).unwrap();
    let all: String = (0..3000).map(|number| format!("{number}\n")).collect();
    for name in ["followed", "again", "since"] {
        assert_eq!(read(name), all, "{name}");
    }
    assert_eq!((read("tail").as_str(), read("none").as_str(), read("later").as_str()), ("2998\n2999\n", "", ""));
    assert_eq!((read("until").as_str(), read("until-followed").as_str()), ("", ""));
    let (time, text) = read("times").trim_end().split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert!(text == "2999" && time.ends_with('Z') && time.len() > 20, "{time}");
    assert_eq!((read("out").as_str(), read("err").as_str()), ("one\n", "two\n"));
    let refused = read("refused");
    assert!(refused.starts_with("rbox: journalctl: not found") && refused.contains("\nhint: "), "{refused}");
    assert!(refused.ends_with("status 125\n"), "{refused}");
}

/// A journal that takes nothing holds nobody up, and what was lost is told.
#[test]
fn a_journal_that_does_not_listen() {
    requires_journal!("a_journal_that_does_not_listen");
    let env = Env::new();
    let script = "journal
        kill -STOP $!
        run '-d --name a --log-driver journald' count 20000
        $rbox wait a
        kill -CONT $!
        run '-d -i --name b --log-driver journald' ready-cat
        kill $!; wait $! || true
        rm /run/systemd/journal/socket
        journal
        $rbox stop b
        $rbox start b
        until $rbox logs b | grep -q ready; do sleep 0.01; done";
    let done = shell(&env, script).ok();
    assert!(done.stdout.contains("\n0\n"), "{done:?}");
}

#[test]
fn without_a_journal() {
    requires_journal!("without_a_journal");
    let env = Env::new();
    let script = "set +e
        run '-d --log-driver journald' exit 0; echo $?
        run '--rm --log-driver journald' say out:hello; echo $?
        run '-d --log-driver journald --log-opt max-size=1k' exit 0; echo $?
        run '-d --log-driver journald --log-opt tag={{.What}}' exit 0; echo $?";
    let done = shell(&env, script).ok();
    assert_eq!(done.stdout, "125\nhello\n0\n125\n125\n");
    let errors: Vec<&str> = done.stderr.lines().collect();
    assert!(errors[0].starts_with("rbox: --log-driver journald: connect(/run/systemd/journal/socket)"), "{errors:?}");
    assert!(errors[1].starts_with("hint: ") && errors[2].contains("--log-opt max-size=1k"), "{errors:?}");
    assert!(errors[3].contains("{{.What}}"), "{errors:?}");
    assert_eq!(env.leftovers(), Vec::<String>::new());
}
