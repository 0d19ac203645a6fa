//! Limits from wherever somebody may start a container: each kind of session is in a cgroup of its own kind.
//!
//! For root of a machine with systemd that is thrown away afterwards (scripts/vm). Containers are those of the user dev. One test
//! after the other: they change the machine.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

use env::{Done, eventually};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard};

/// dev's.
const HOME: &str = "/home/dev/places";

/// The machine, for one test.
struct Machine {
    rbox: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

/// Leaves a test where there is no such machine.
macro_rules! machine {
    ($test:literal) => {
        match Machine::new() {
            Some(machine) => machine,
            None => return env::skip($test, "not root of a virtual machine"),
        }
    };
}

fn root(command: &str) -> Done {
    Command::new("/bin/sh").args(["-c", command]).output().unwrap().into()
}

impl Machine {
    fn new() -> Option<Machine> {
        static TURN: Mutex<()> = Mutex::new(());
        let line = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
        if env::uid() != 0 || !line.contains("rbox.user=root") {
            return None;
        }
        let turn = TURN.lock().unwrap_or_else(|error| error.into_inner());
        let machine = Machine { rbox: env::program("rbox"), _turn: turn };
        let guest = env::program("rbox-guest");
        root(&format!(
            "set -e; mkdir -p {HOME}/rootfs {HOME}/disk /root/.ssh /home/dev/.ssh; cp {} {HOME}/rootfs/guest; \
             [ -e /root/.ssh/id ] || ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id; \
             cp /root/.ssh/id.pub /home/dev/.ssh/authorized_keys; chown -R dev: /home/dev",
            guest.display()
        ))
        .ok();
        Some(machine)
    }

    /// A line for dev's shell that runs the guest with these options.
    fn run(&self, options: &str, verb: &str) -> String {
        let rbox = self.rbox.display();
        format!("{rbox} run --network none {options} --rootfs {HOME}/rootfs /guest {verb}")
    }

    fn rbox(&self, words: &str) -> String {
        format!("{} {words}", self.rbox.display())
    }

    /// Nothing of rbox's is in the hierarchy, nor known to dev's systemd.
    fn is_clean(&self) -> bool {
        let units =
            root("systemctl --user --machine dev@.host list-units --all --plain --no-legend 'rbox-*.scope'").ok();
        let cgroups = root("find /sys/fs/cgroup -type d \\( -name 'rbox-?????????????*' -o -name rbox-supervisor \\) ! -name '*agent*'").ok();
        units.stdout.is_empty() && cgroups.stdout.is_empty()
    }
}

/// The ways to a shell of dev's.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// A session of ssh.
    Ssh,
    /// su, in root's session.
    Su,
    /// Without any session.
    Bare,
    /// A unit of dev's systemd.
    Unit,
    /// One that its cgroup is given to.
    Delegated,
}

impl Way {
    fn run(self, line: &str) -> Done {
        let mut command = match self {
            Way::Ssh => {
                let mut ssh = Command::new("ssh");
                ssh.args(["-q", "-i", "/root/.ssh/id", "-o", "StrictHostKeyChecking=no", "dev@localhost"]);
                ssh
            }
            Way::Su => {
                let mut su = Command::new("su");
                su.args(["dev", "-c"]);
                su
            }
            Way::Bare => {
                let mut bare = Command::new("env");
                bare.args(["-i", "HOME=/home/dev", "PATH=/usr/bin:/bin", "setpriv", "--reuid=dev", "--regid=dev"]);
                bare.args(["--init-groups", "/bin/sh", "-c"]);
                bare
            }
            Way::Unit | Way::Delegated => {
                let mut unit = Command::new("systemd-run");
                unit.args(["-q", "--user", "--machine=dev@.host", "--pipe", "--wait"]);
                unit.args(matches!(self, Way::Delegated).then_some("--property=Delegate=yes"));
                unit.args(["/bin/sh", "-c"]);
                unit
            }
        };
        command.arg(line).current_dir("/tmp").output().unwrap().into()
    }
}

/// A line of cron's, waited for.
fn by_cron(line: &str) -> Done {
    let out = "/tmp/places.cron";
    root(&format!(
        "rm -f {out}*; echo '* * * * * {{ {line}; }} >{out} 2>{out}.err; echo $? >{out}.status' | crontab -u dev -"
    ))
    .ok();
    let status = PathBuf::from(format!("{out}.status"));
    let begin = std::time::Instant::now();
    while !std::fs::read_to_string(&status).is_ok_and(|text| text.ends_with('\n')) {
        assert!(begin.elapsed().as_secs() < 150, "cron does nothing");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    root("crontab -r -u dev").ok();
    let read = |name: &str| std::fs::read_to_string(name).unwrap();
    Done {
        status: read(&format!("{out}.status")).trim().parse().unwrap(),
        stdout: read(out),
        stderr: read(&format!("{out}.err")),
    }
}

#[test]
fn from_every_kind_of_session() {
    let machine = machine!("from_every_kind_of_session");
    let limits = "--rm --pids-limit 10 --memory 64m --cpus 0.5";
    let forks = machine.run(limits, "fork-until-it-fails");
    let hog = machine.run("--name hog --pids-limit 10 --memory 64m --cpus 0.5", "take-memory 300000000");
    let killed = format!("{hog}; {}", machine.rbox("inspect -f '{{.State.ExitCode}} {{.State.OOMKilled}}' hog"));
    let killed = format!("{killed}; {}", machine.rbox("rm hog"));
    for way in [Way::Ssh, Way::Su, Way::Bare, Way::Unit, Way::Delegated] {
        let done = way.run(&forks).ok();
        assert_eq!((done.field("processes").as_str(), done.stderr.as_str()), ("10", ""), "{way:?}");
        assert_eq!(way.run(&killed).ok().stdout, "137 true\nhog\n", "{way:?}");
        eventually("nothing is left", || machine.is_clean());
    }
    let done = by_cron(&forks).ok();
    assert_eq!((done.field("processes").as_str(), done.stderr.as_str()), ("10", ""));
    eventually("nothing is left", || machine.is_clean());
}

#[test]
fn what_root_gives_away_by_hand() {
    let machine = machine!("what_root_gives_away_by_hand");
    // As the hint for hosts without systemd says it.
    let dir = "/sys/fs/cgroup/given";
    root(&format!(
        "mkdir -p {dir}/me; for controller in memory pids cpu; do echo +$controller >/sys/fs/cgroup/cgroup.subtree_control; \
         done; chown dev {dir} {dir}/cgroup.procs {dir}/cgroup.subtree_control {dir}/me {dir}/me/cgroup.procs"
    ))
    .ok();
    let forks = machine.run("--rm --pids-limit 10 --memory 64m --cpus 0.5", "fork-until-it-fails");
    let hog = machine.run("--rm --memory 64m", "take-memory 300000000");
    let there = |line: &str| -> Done {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &format!("echo $$ >{dir}/me/cgroup.procs; exec \"$@\""), "sh", "setpriv", "--reuid=dev"]);
        shell.args(["--regid=dev", "--init-groups", "env", "-i", "HOME=/home/dev", "/bin/sh", "-c", line]);
        shell.current_dir("/tmp").output().unwrap().into()
    };
    assert_eq!(there(&forks).ok().field("processes"), "10");
    assert_eq!(there(&hog).status, 137);
    assert_eq!(root(&format!("find {dir} -mindepth 1 -type d")).ok().stdout, format!("{dir}/me\n"));
    // Nobody is asked for it.
    let path = machine.run("--rm --cgroups split", "read /proc/self/cgroup");
    assert_eq!(there(&path).ok().stdout, "0::/\n");
    root(&format!("rmdir {dir}/me {dir}")).ok();
}

#[test]
fn who_has_no_manager_is_told_so() {
    let machine = machine!("who_has_no_manager_is_told_so");
    root("rm -f /var/lib/systemd/linger/dev; systemctl stop user@1000.service").ok();
    let done = Way::Bare.run(&machine.run("--rm --memory 64m", "echo ran"));
    assert_eq!(done.status, 125, "{done:?}");
    assert!(done.stderr.contains("in which this user may make no others"), "{done:?}");
    assert!(done.stderr.contains("hint: systemd gives cgroups to users who have a session or linger: root can run `loginctl enable-linger dev`"), "{done:?}");
    // Who comes by ssh has one as long as the session lasts.
    let done = Way::Ssh.run(&machine.run("--rm --pids-limit 10", "fork-until-it-fails")).ok();
    assert_eq!(done.field("processes"), "10");
    // With the last session all that is a user's ends.
    Way::Ssh.run(&machine.run("-d --name a --memory 64m", "sleep")).ok();
    let begin = std::time::Instant::now();
    while root("systemctl is-active user@1000.service").status == 0 {
        assert!(begin.elapsed().as_secs() < 60, "it does not end");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let left = "find /sys/fs/cgroup -type d -name 'rbox-?????????????*' ! -name '*agent*'";
    // It may be about to end.
    eventually("nothing is left", || root(left).stdout.is_empty());
    root("loginctl enable-linger dev").ok();
    let state = machine.rbox("inspect -f '{{.State.Status}}' a");
    assert_eq!(Way::Ssh.run(&format!("{state}; {}", machine.rbox("rm a"))).ok().stdout, "exited\na\n");
    assert_eq!(Way::Bare.run(&machine.run("--rm --memory 64m", "echo ran")).ok().stdout, "ran\n");
}

#[test]
fn half_a_processor_within_a_tenth() {
    let machine = machine!("half_a_processor_within_a_tenth");
    let done = Way::Ssh.run(&machine.run("--rm --cpus 0.5", "spin 5000")).ok();
    let had: u64 = done.field("had").parse().unwrap();
    assert!((2250..=2750).contains(&had), "{had} of 5000 ms");
}

/// What became of a limit of one that is run in the background, and whether it is held.
fn held(machine: &Machine, option: &str) -> (bool, String) {
    let run = machine.run(&format!("-d --name held {option}"), "sleep");
    let inspect = machine.rbox("inspect -f '{{json .Limits}}' held");
    let done = Way::Ssh.run(&format!("{run} >/dev/null && {inspect}; {} >/dev/null", machine.rbox("rm -f held"))).ok();
    let all: Value = serde_json::from_str(&done.stdout).unwrap();
    let option = option.split([' ', '=']).next().unwrap();
    let one = all.as_array().unwrap().iter().find(|limit| limit["Option"] == option).unwrap();
    (one["Enforced"].as_bool().unwrap(), one["How"].as_str().unwrap().to_owned())
}

#[test]
fn processors_and_disks_once_they_are_delegated() {
    let machine = machine!("processors_and_disks_once_they_are_delegated");
    let (is_held, how) = held(&machine, "--cpuset-cpus 1");
    assert!(is_held && how.starts_with("sched_setaffinity"), "{how}");
    let processors = machine.run("--rm --cpuset-cpus 1", "processors");
    assert_eq!(Way::Ssh.run(&processors).ok().stdout, "processors=1\n");
    let slowly = "--rm -v /home/dev/places/disk:/disk --device-write-bps /dev/vda:1m";
    let slowly = machine.run(slowly, "write-through /disk/file 3145728");
    let done = Way::Ssh.run(&slowly);
    assert_eq!(done.status, 125, "{done:?}");
    assert!(
        done.stderr.contains("--device-write-bps: cannot be enforced: the controller io is not delegated"),
        "{done:?}"
    );
    // As it says itself.
    assert!(done.stderr.contains("Delegate=cpu cpuset io memory pids"), "{done:?}");
    let file = "/etc/systemd/system/user@.service.d/delegate.conf";
    root(&format!(
        "mkdir -p {}; printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' >{file}; systemctl daemon-reload; \
         systemctl restart user@1000.service",
        Path::new(file).parent().unwrap().display()
    ))
    .ok();
    assert_eq!(held(&machine, "--cpuset-cpus 1"), (true, "cpuset.cpus".to_owned()));
    assert_eq!(Way::Ssh.run(&processors).ok().stdout, "processors=1\n");
    let done = Way::Ssh.run(&slowly).ok();
    let took: u64 = done.field("took").parse().unwrap();
    assert!((2000..10_000).contains(&took), "{took} ms for 3 MiB");
    root(&format!("rm {file}; systemctl daemon-reload; systemctl restart user@1000.service")).ok();
    eventually("nothing is left", || machine.is_clean());
}

#[test]
fn whoever_mounts_it_root_lifts_nothing() {
    let machine = machine!("whoever_mounts_it_root_lifts_nothing");
    let options = "--rm --privileged --memory 64m --pids-limit 20 --tmpfs /tmp";
    let hog = machine.run(options, "lift-limits /tmp/cgroup take-memory 300000000");
    let forks = machine.run(options, "lift-limits /tmp/cgroup fork-until-it-fails");
    let of_host = "--rm --privileged --network host --memory 64m";
    let of_host = format!(
        "{} run {of_host} --rootfs {HOME}/rootfs /guest lift-limits-of-host /sys/fs/cgroup take-memory 300000000",
        machine.rbox.display()
    );
    let check = || {
        let done = Way::Ssh.run(&of_host);
        assert_eq!((done.status, done.field("done"), done.field("own")), (137, "[]".to_owned(), "1".to_owned()));
        let done = Way::Ssh.run(&hog);
        assert_eq!((done.status, done.field("mount").as_str()), (137, "0"), "{done:?}");
        let done = Way::Ssh.run(&forks).ok();
        assert_eq!((done.field("processes").as_str(), done.field("own").as_str()), ("20", "/sub"), "{done:?}");
        done.field("memory.max")
    };
    // The kernel itself keeps it from the files of its own root.
    assert_eq!(check(), libc::EPERM.to_string());
    root("mount --options-mode ignore -o remount,memory_recursiveprot none /sys/fs/cgroup; ! grep nsdelegate /proc/mounts").ok();
    // It does not, and what is outside holds all the same.
    assert_eq!(check(), "0");
    root("mount --options-mode ignore -o remount,nsdelegate,memory_recursiveprot none /sys/fs/cgroup").ok();
}

#[test]
fn nothing_outlives_what_it_is_of() {
    let machine = machine!("nothing_outlives_what_it_is_of");
    let run = machine.run("-d --name a --memory 64m", "sleep");
    // The session ends, and the container does not: its user lingers.
    Way::Ssh.run(&run).ok();
    let state = machine.rbox("inspect -f '{{.State.Status}}' a");
    assert_eq!(Way::Ssh.run(&state).ok().stdout, "running\n");
    let pid = Way::Ssh.run(&machine.rbox("inspect -f '{{.State.Pid}}' a")).ok().stdout;
    let parent = format!("awk '/^PPid/ {{ print $2 }}' /proc/{}/status", pid.trim());
    root(&format!("kill -9 $({parent})")).ok();
    eventually("nothing is left", || machine.is_clean());
    assert_eq!(Way::Ssh.run(&state).ok().stdout, "exited\n");
    Way::Ssh.run(&machine.rbox("start a")).ok();
    // systemd ends it, as with its user's last process.
    root("systemctl --user --machine dev@.host stop 'rbox-*.scope'").ok();
    eventually("nothing is left", || machine.is_clean());
    assert_eq!(Way::Ssh.run(&state).ok().stdout, "exited\n");
    Way::Ssh.run(&machine.rbox("rm a")).ok();
    // Where a subtree is given away by hand, whoever comes next removes what was left.
    let line = machine.run("-d --name b", "sleep");
    let kill = "kill -9 $(sed 's/.*\"supervisor\":{\"pid\":\\([0-9]*\\).*/\\1/' /run/user/1000/rbox/containers/*/process.json)";
    let left = "find /sys/fs/cgroup/system.slice -name 'rbox-?????????????*' ! -name '*agent*' | grep -c rbox";
    let next = machine.run("--rm", "echo");
    let away = "own=/sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup); mkdir $own/me; echo $$ >$own/me/cgroup.procs";
    let unit = format!("{away}; {line} && {kill}; sleep 1; {left}; {next}; {left}; {}", machine.rbox("rm b"));
    let done = root(&format!(
        "systemd-run -q --uid=dev --expand-environment=no --property=Delegate=yes --setenv=HOME=/home/dev --pipe --wait /bin/sh -c '{}'",
        unit.replace('\'', "'\\''")
    ));
    let said: Vec<&str> = done.stdout.lines().skip(1).collect();
    assert_eq!(said, ["1", "", "0", "b"], "{done:?}");
}
