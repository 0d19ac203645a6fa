//! What /proc says of processes (proc(5)).

use anyhow::Result;
use std::path::{Path, PathBuf};

/// One of them.
#[derive(Debug, Clone, Default)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// Its parent's.
    pub parent: i32,
    /// Its group's.
    pub group: i32,
    /// A letter: `R`, `S`, ….
    pub state: char,
    /// The device number of its terminal; 0 is none.
    pub terminal: u64,
    /// What it has taken of processors, clock ticks.
    pub ticks: u64,
    /// Its niceness.
    pub nice: i32,
    /// When it started, clock ticks since boot.
    pub start: u64,
    /// Its address space, bytes.
    pub size: u64,
    /// The name of its program, at most 15 bytes.
    pub name: String,
    /// Its arguments; a thread of the kernel has none.
    pub words: Vec<String>,
    /// Its effective user.
    pub uid: u32,
    /// Its number in each pid namespace from this one to its own.
    pub numbers: Vec<i32>,
    /// Its pid namespace, if that may be known.
    pub pids: Option<String>,
    /// Its mount namespace, likewise.
    pub mounts: Option<String>,
}

/// All of them. One that ends meanwhile is none.
pub fn all() -> Result<Vec<Process>> {
    let mut all = Vec::new();
    for entry in fs_err::read_dir("/proc")? {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        all.extend(number.and_then(|pid| read(pid, &path)));
    }
    all.sort_by_key(|process| process.pid);
    Ok(all)
}

fn read(pid: i32, dir: &Path) -> Option<Process> {
    let stat = text(&dir.join("stat"))?;
    // The name may have anything in it.
    let (before, after) = stat.rsplit_once(')')?;
    let name = before.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = after.split_whitespace().collect();
    // The third field of proc_pid_stat(5) is the first one here.
    let field = |number: usize| fields.get(number - 3).copied().unwrap_or_default();
    let number = |place: usize| field(place).parse::<u64>().unwrap_or_default();
    let status = text(&dir.join("status"))?;
    let line = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    let words = text(&dir.join("cmdline")).unwrap_or_default();
    let namespace = |kind: &str| {
        let path: Option<PathBuf> = fs_err::read_link(dir.join("ns").join(kind)).ok();
        path.map(|path| path.display().to_string())
    };
    Some(Process {
        pid,
        parent: field(4).parse().ok()?,
        group: field(5).parse().unwrap_or_default(),
        state: field(3).chars().next()?,
        terminal: number(7),
        ticks: number(14) + number(15),
        nice: field(19).parse().unwrap_or_default(),
        start: number(22),
        size: number(23),
        name,
        words: words.split_terminator('\0').map(str::to_owned).collect(),
        uid: line("Uid:").split_whitespace().nth(1)?.parse().ok()?,
        numbers: line("NSpid:").split_whitespace().filter_map(|number| number.parse().ok()).collect(),
        pids: namespace("pid"),
        mounts: namespace("mnt"),
    })
}

fn text(path: &Path) -> Option<String> {
    fs_err::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_one() {
        let pid = std::process::id() as i32;
        let own = all().unwrap().into_iter().find(|process| process.pid == pid).unwrap();
        assert_eq!(own.parent, std::os::unix::process::parent_id() as i32);
        assert_eq!(own.uid, rustix::process::geteuid().as_raw());
        assert_eq!(own.words, std::env::args().collect::<Vec<_>>());
        assert!(own.mounts.is_some_and(|namespace| namespace.starts_with("mnt:[")) && own.size > 0 && own.start > 0);
    }
}
