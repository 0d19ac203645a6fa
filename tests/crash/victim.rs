//! A process that is killed, and what is left of it.

use crate::env::{Done, LONG};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Numbers by chance, the same for the same seed.
pub struct Chance(u64);

impl Chance {
    /// Says its seed, which `RBOX_TEST_SEED` gives again.
    pub fn new() -> Chance {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let given = std::env::var("RBOX_TEST_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or(now.as_nanos() as u64 | 1);
        eprintln!("RBOX_TEST_SEED={seed}");
        Chance(seed)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % limit.max(1)
    }
}

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// rbox alone.
    Rbox,
    /// One of its workers.
    Worker,
    /// All of its processes at once, as when a terminal or a CI job ends.
    All,
}

impl Whom {
    pub fn by(chance: &mut Chance) -> Whom {
        match chance.below(4) {
            0 => Whom::Worker,
            1 => Whom::All,
            _ => Whom::Rbox,
        }
    }
}

/// A process in a group of its own.
pub struct Victim {
    child: Child,
    /// What is in the arguments of all processes that belong to it.
    mark: String,
}

impl Victim {
    pub fn start(mut command: Command, mark: &str) -> Victim {
        let child = command.process_group(0).spawn().expect("rbox starts");
        Victim { child, mark: mark.to_owned() }
    }

    fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Kills after this time. A worker is waited for, until there is one or rbox ends.
    pub fn kill(&mut self, whom: Whom, after: Duration) {
        std::thread::sleep(after);
        match whom {
            Whom::Rbox => send(self.pid()),
            Whom::All => send(-self.pid()),
            Whom::Worker => loop {
                if let Some(worker) = self.workers().first() {
                    return send(*worker);
                }
                if self.child.try_wait().expect("a child").is_some() {
                    return;
                }
            },
        }
    }

    /// Kills rbox when its first worker is there.
    pub fn kill_while_it_works(&mut self) {
        let start = Instant::now();
        while self.workers().is_empty() {
            assert!(start.elapsed() < LONG && self.child.try_wait().expect("a child").is_none(), "no worker");
        }
        send(self.pid());
        self.child.wait().expect("a child");
    }

    /// Its end, which must come.
    #[track_caller]
    pub fn end(mut self) -> Done {
        let start = Instant::now();
        while self.child.try_wait().expect("a child").is_none() {
            if start.elapsed() > LONG {
                send(-self.pid());
                panic!("rbox goes on after its worker is gone: {:?}", self.processes());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.child.wait_with_output().expect("a child").into()
    }

    /// Its workers, each with the copy of it in the sandbox.
    fn workers(&self) -> Vec<i32> {
        processes(&self.mark, self.pid())
            .into_iter()
            .filter(|(_, line)| line.contains("storage-worker"))
            .map(|(pid, _)| pid)
            .collect()
    }

    fn processes(&self) -> Vec<(i32, String)> {
        processes(&self.mark, self.pid())
    }

    pub fn group(&self) -> i32 {
        self.pid()
    }
}

fn send(pid: i32) {
    let (number, group) = (rustix::process::Pid::from_raw(pid.abs()).expect("a number"), pid < 0);
    let signal = rustix::process::Signal::KILL;
    // It may have ended.
    let _ = if group {
        rustix::process::kill_process_group(number, signal)
    } else {
        rustix::process::kill_process(number, signal)
    };
}

/// All processes of a group, and those with a mark in their arguments: number and arguments. Those that have ended and
/// that nobody has collected yet do not count.
pub fn processes(mark: &str, group: i32) -> Vec<(i32, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let fields: Vec<&str> =
            stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let [state, _, of, ..] = fields.as_slice() else { continue };
        if !matches!(*state, "Z" | "X") && (*of == group.to_string() || line.contains(mark)) {
            found.push((pid, line));
        }
    }
    found
}

/// Asserts that nothing of a killed process goes on for longer than the kernel takes to end it.
#[track_caller]
pub fn is_gone(mark: &str, group: i32) {
    const AT_ONCE: Duration = Duration::from_secs(3);
    let start = Instant::now();
    loop {
        let left = processes(mark, group);
        if left.is_empty() {
            return;
        }
        assert!(start.elapsed() < AT_ONCE, "still there after {AT_ONCE:?}: {left:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
