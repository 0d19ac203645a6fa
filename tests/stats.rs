//! What containers use.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

use env::pty::Terminal;
use env::verbs::{background, rbox};
use env::{Env, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

const TITLES: &str = "CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT";

/// What is printed once, as JSON, in the order of the lines.
fn counted(env: &Env, words: &[&str]) -> Vec<Value> {
    let done = rbox(env, &[&["stats", "--no-stream", "--format=json"], words].concat()).ok();
    assert_eq!(done.stderr, "");
    done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn field(env: &Env, name: &str, field: &str) -> String {
    counted(env, &["-i0.3", name])[0][field].as_str().unwrap().to_owned()
}

fn percent(text: &str) -> f64 {
    text.strip_suffix('%').unwrap_or_else(|| panic!("{text}: no percentage")).parse().unwrap()
}

/// Waits until a container has its share of the processors, which others may want, too; it never has more than there is.
#[track_caller]
fn is_busy(env: &Env, name: &str) {
    eventually("a busy container", || {
        let share = percent(&field(env, name, "CPUPerc"));
        assert!(share < 150.0, "{share}");
        share > 20.0
    });
}

/// Bytes of docker's `4.5MiB` and `1.2kB`.
fn bytes(text: &str) -> f64 {
    const UNITS: [(&str, f64); 7] = [
        ("B", 1.0),
        ("kB", 1e3),
        ("MB", 1e6),
        ("KiB", 1024.0),
        ("MiB", 1048576.0),
        ("GiB", 1073741824.0),
        ("TiB", 1.1e12),
    ];
    let (number, unit) = text.split_at(text.find(|c: char| c.is_alphabetic()).unwrap());
    let (_, factor) = UNITS.iter().find(|(known, _)| *known == unit).unwrap();
    number.parse::<f64>().unwrap() * factor
}

/// One that goes on, and its lines.
fn streamed(mut command: Command) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

fn stats(env: &Env, interval: &str, words: &[&str]) -> Command {
    let mut command = env.rbox();
    command.args(["stats", "--format={{.Name}}", "--interval", interval]).args(words);
    command
}

fn tell(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn who_is_busy() {
    let env = Env::new();
    let id = background(&env, &["--name=idle"], &["sleep"]);
    background(&env, &["--name=busy"], &["spin"]);
    let all = counted(&env, &[]);
    let [busy, idle] = &all[..] else { panic!("{all:?}") };
    let text = |row: &Value, field: &str| row[field].as_str().unwrap().to_owned();
    assert_eq!((text(busy, "Name"), text(idle, "Name")), ("busy".to_owned(), "idle".to_owned()));
    assert!(percent(&text(busy, "CPUPerc")) > percent(&text(idle, "CPUPerc")), "{all:?}");
    assert!(percent(&text(idle, "CPUPerc")) < 5.0, "{all:?}");
    is_busy(&env, "busy");
    assert_eq!((text(idle, "ID"), text(idle, "Container")), (id[..12].to_owned(), id[..12].to_owned()));
    assert_eq!((text(idle, "PIDs"), text(idle, "NetIO")), ("1".to_owned(), "0B / 0B".to_owned()));
    let memory = text(idle, "MemUsage");
    let (used, limit) = memory.split_once(" / ").unwrap();
    assert!(bytes(used) > 0.0 && bytes(used) < bytes(limit) && percent(&text(idle, "MemPerc")) < 50.0, "{memory}");
    // Where there is a cgroup it knows of disks, and some kernels of pressure; where there is none, nobody does.
    assert!(text(idle, "BlockIO") == "--" || text(idle, "BlockIO").contains(" / "), "{idle}");
    for kind in ["cpu", "memory", "io"] {
        assert!(idle["Pressure"][kind].is_null() || idle["Pressure"][kind].is_number(), "{idle}");
    }
    rbox(&env, &["rm", "-f", "-a"]).ok();
}

#[test]
fn all_processes_count() {
    let env = Env::new();
    background(&env, &["--name=reaped", "--init"], &["spin"]);
    is_busy(&env, "reaped");
    assert_eq!(field(&env, "reaped", "PIDs"), "2");
    rbox(&env, &["rm", "-f", "reaped"]).ok();
    for (name, options) in [("own", &[][..]), ("host", &["--pid=host"])] {
        background(&env, &[&["--name", name], options].concat(), &["sleep"]);
        assert!(percent(&field(&env, name, "CPUPerc")) < 5.0);
        let mut command = env.rbox();
        let (mut inside, mut said) = streamed({
            command.args(["exec", name, "/guest", "spin"]);
            command
        });
        assert_eq!(said.next().unwrap().unwrap(), "ready");
        is_busy(&env, name);
        assert_eq!(field(&env, name, "PIDs"), "2");
        rbox(&env, &["kill", name]).ok();
        inside.wait().unwrap();
    }
    rbox(&env, &["rm", "-f", "-a"]).ok();
}

#[test]
fn whose_network() {
    let env = Env::new();
    let run = |name: &str, network: &[&str]| {
        let mut command = env.rbox();
        command.args(["run", "-d", "--name", name]).args(network).arg("--rootfs").arg(env.rootfs());
        env::Done::from(command.args(["/guest", "sleep"]).output().unwrap()).ok();
    };
    run("host", &["--network=host"]);
    run("own", &[]);
    run("guest", &["--network=container:own"]);
    assert_eq!((field(&env, "host", "NetIO"), field(&env, "guest", "NetIO")), ("--".to_owned(), "--".to_owned()));
    let sent = || {
        let text = field(&env, "own", "NetIO");
        bytes(text.split_once(" / ").unwrap().1)
    };
    // What the container's interface has sent, in the ninth column.
    let seen = || {
        let text = rbox(&env, &["exec", "own", "/guest", "read", "/proc/net/dev"]).ok().stdout;
        let line = text.lines().find_map(|line| line.trim().strip_prefix("eth0:")).unwrap();
        line.split_whitespace().nth(8).unwrap().parse::<f64>().unwrap()
    };
    // An address that nobody has. The datagram waits until somebody carries it.
    rbox(&env, &["exec", "own", "/guest", "tell", "192.0.2.1:9", &"x".repeat(1200)]).ok();
    eventually("what was sent", || sent() > 1200.0);
    // It is counted once, though there is an interface below that one.
    let (least, shown, most) = (seen(), sent(), seen());
    assert!((least * 0.99..=most * 1.01).contains(&shown), "{least} {shown} {most}");
    rbox(&env, &["rm", "-f", "-a"]).ok();
}

#[test]
fn which_of_them() {
    let env = Env::new();
    let first = background(&env, &["--name=first"], &["sleep"]);
    background(&env, &["--name=second"], &["sleep"]);
    background(&env, &["--name=ended"], &["exit", "0"]);
    rbox(&env, &["wait", "ended"]).ok();
    let names = |words: &[&str]| {
        let all = counted(&env, &[&["-i0.05"], words].concat());
        all.iter().map(|row| row["Name"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(&[]), "second first");
    assert_eq!(names(&["-a"]), "ended second first");
    assert_eq!(names(&["-l"]), "ended");
    assert_eq!(names(&["first", "ended", &first[..12]]), "first ended");
    let row = counted(&env, &["--no-trunc", &first[..20]]).remove(0);
    assert_eq!((row["Container"].as_str(), row["ID"].as_str()), (Some(&first[..20]), Some(&*first)));
    // As docker says of one that does not run.
    let line = |words: &[&str]| rbox(&env, &[&["stats", "--no-stream", "-i0.05"], words].concat()).ok().stdout;
    let text = line(&["ended"]);
    let (titles, row) = text.trim_end().split_once('\n').unwrap();
    let words = |line: &str| {
        line.split("   ").filter(|word| !word.is_empty()).map(|word| word.trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        words(titles),
        ["CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"]
    );
    assert_eq!(words(row)[1..], ["ended", "0.00%", "0B / 0B", "0.00%", "0B / 0B", "0B / 0B", "0"]);
    assert_eq!(line(&["--format", "table {{.Container}}\\t{{.PIDs}}", "first"]), "CONTAINER   PIDS\nfirst       1\n");
    rbox(&env, &["container", "stats", "--no-stream", "nobody"]).fails(125, "no such container: nobody");
    rbox(&env, &["stats", "-l", "first"]).fails(125, "--latest: excludes names");
    rbox(&env, &["stats", "-i0"]).fails(125, "--interval 0: at least a millisecond is wanted");
    rbox(&env, &["stats", "-ix"]).fails(125, "--interval x: a number of seconds is wanted");
    rbox(&env, &["stats", "--format", "{{.Nothing}}"]).fails(125, "--format");
    rbox(&env, &["rm", "-f", "-a"]).ok();
    assert!(line(&[]).starts_with("CONTAINER ID   NAME"));
}

#[test]
fn who_comes_and_goes() {
    let env = Env::new();
    background(&env, &["--name=stays"], &["sleep"]);
    let (mut child, mut lines) = streamed(stats(&env, "0.05", &[]));
    let mut until = |what: &str, is_it: &dyn Fn(&str, &str) -> bool| {
        let mut before = lines.next().unwrap().unwrap();
        loop {
            let line = lines.next().unwrap_or_else(|| panic!("no {what}")).unwrap();
            if is_it(&before, &line) {
                return;
            }
            before = line;
        }
    };
    background(&env, &["--name=comes"], &["sleep"]);
    until("newcomer", &|_, line| line == "comes");
    background(&env, &["--rm", "--name=brief"], &["sleep"]);
    until("one of --rm", &|_, line| line == "brief");
    rbox(&env, &["kill", "comes"]).ok();
    rbox(&env, &["kill", "brief"]).ok();
    // One after the other, and nobody between.
    until("end", &|before, line| (before, line) == ("stays", "stays"));
    rbox(&env, &["start", "comes"]).ok();
    until("second start", &|_, line| line == "comes");
    rbox(&env, &["rename", "comes", "other"]).ok();
    until("new name", &|_, line| line == "other");
    tell(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    rbox(&env, &["rm", "-f", "-a"]).ok();
}

#[test]
fn when_it_ends() {
    let env = Env::new();
    background(&env, &["--name=a"], &["sleep"]);
    // With the last of those that were named.
    let (mut child, mut lines) = streamed(stats(&env, "0.05", &["a"]));
    assert_eq!(lines.next().unwrap().unwrap(), "a");
    rbox(&env, &["kill", "a"]).ok();
    rbox(&env, &["rm", "-f", "a"]).ok();
    assert!(lines.all(|line| line.unwrap() == "a"));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // With its reader, also between two times.
    background(&env, &["--name=b"], &["sleep"]);
    for interval in ["0.05", "1"] {
        let (mut child, mut lines) = streamed(stats(&env, interval, &[]));
        assert_eq!(lines.next().unwrap().unwrap(), "b");
        drop(lines);
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    rbox(&env, &["rm", "-f", "-a"]).ok();
}

#[test]
fn on_a_terminal() {
    let env = Env::new();
    background(&env, &["--name=a"], &["sleep"]);
    let mut terminal = Terminal::new();
    let mut command = env.rbox();
    command.args(["stats", "-i0.05"]);
    let mut child = terminal.spawn(command);
    terminal.wait_for(&format!("\x1b[H{TITLES}"));
    // At once, and then with what it takes of processors.
    terminal.wait_for("   a         --        ");
    terminal.wait_for("%");
    terminal.wait_for("\x1b[K\r\n\x1b[J\x1b[H");
    tell(&child, Signal::INT);
    assert_eq!(terminal.end_of(&mut child), Some(0));
    let mut terminal = Terminal::new();
    let mut command = env.rbox();
    command.args(["stats", "-i0.05", "--no-reset"]);
    let mut child = terminal.spawn(command);
    // One table after the other.
    terminal.wait_for("   1\r\nCONTAINER ID");
    assert!(!terminal.seen.contains('\x1b'), "{:?}", terminal.seen);
    tell(&child, Signal::INT);
    assert_eq!(terminal.end_of(&mut child), Some(0));
    rbox(&env, &["rm", "-f", "-a"]).ok();
}
