//! What /proc says one process has taken (proc(5)).

use crate::engine::text;
use rustix::fs::{Mode, OFlags};
use std::path::Path;

/// From `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stat {
    /// Its parent's number.
    pub parent: i32,
    /// What it has taken of processors, and its children that have ended and were waited for; clock ticks.
    pub ticks: u64,
    /// Its threads.
    pub threads: u64,
    /// When it started, clock ticks since boot.
    pub start: u64,
}

/// `None` if there is no such process.
pub fn stat(pid: i32) -> Option<Stat> {
    parse(&short(pid, "stat")?)
}

fn parse(text: &str) -> Option<Stat> {
    // The name may have anything in it.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    // From here on each counts from the one before; the numbers are those of proc_pid_stat(5).
    let parent = fields.nth(4 - 3)?.parse().ok()?;
    let mut ticks = fields.nth(14 - 5)?.parse::<u64>().ok()?;
    for _ in 15..=17 {
        ticks = ticks.saturating_add(fields.next()?.parse().ok()?);
    }
    let threads = fields.nth(20 - 18)?.parse().ok()?;
    let start = fields.nth(22 - 21)?.parse().ok()?;
    Some(Stat { parent, ticks, threads, start })
}

/// Its memory, bytes: its share of the pages that it has mapped, which the kernel says to whoever may trace it; else all of them.
/// 0 of one that has ended.
pub fn memory(pid: i32) -> u64 {
    let share = short(pid, "smaps_rollup").and_then(|text| kibibytes(&text, "Pss:"));
    share.or_else(|| kibibytes(&text(pid, "status")?, "VmRSS:")).unwrap_or_default()
}

fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// One of its namespaces, as `mnt:[4026531841]`; `None` if that may not be known.
pub fn namespace(pid: i32, kind: &str) -> Option<String> {
    let link = rustix::fs::readlink(format!("/proc/{pid}/ns/{kind}"), Vec::with_capacity(32)).ok()?;
    link.into_string().ok()
}

/// True for one that is the first of a pid namespace below this one.
pub fn is_first_in_own(pid: i32) -> bool {
    let status = text(pid, "status").unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    let numbers: Vec<&str> = numbers.split_ascii_whitespace().collect();
    numbers.len() > 1 && numbers.last() == Some(&"1")
}

/// A file that the kernel writes in one piece of at most so many bytes: one read brings all.
fn short(pid: i32, file: &str) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let open = rustix::fs::open(format!("/proc/{pid}/{file}"), flags, Mode::empty()).ok()?;
    let mut buffer = [0; 2048];
    let length = rustix::io::retry_on_intr(|| rustix::io::read(&open, &mut buffer)).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

fn text(pid: i32, file: &str) -> Option<String> {
    let bytes = text::of_kernel(Path::new(&format!("/proc/{pid}/{file}"))).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        let line = "42 (a) b (c) S 7 42 42 0 -1 4194560 100 0 0 0 1 20 300 4000 20 0 3 0 123456 5000000 250 18446744073709551615\n";
        assert_eq!(parse(line), Some(Stat { parent: 7, ticks: 4321, threads: 3, start: 123_456 }));
        assert_eq!((parse(""), parse("42 (a) S 7 42"), parse("42 (a")), (None, None, None));
    }

    #[test]
    fn memory_of_a_process() {
        let rollup = "00400000-7ffc [rollup]\nRss:  9 kB\nPss:                 123 kB\nPss_Dirty: 1 kB\n";
        assert_eq!(kibibytes(rollup, "Pss:"), Some(123 * 1024));
        assert_eq!((kibibytes("", "Pss:"), kibibytes("Pss: kB\n", "Pss:")), (None, None));
    }

    #[test]
    fn this_one() {
        let pid = std::process::id() as i32;
        let own = stat(pid).unwrap();
        assert_eq!(own.parent, std::os::unix::process::parent_id() as i32);
        assert!(own.threads > 0 && memory(pid) > 0 && !is_first_in_own(pid));
        assert!(namespace(pid, "mnt").unwrap().starts_with("mnt:["));
        assert_eq!((stat(i32::MAX), memory(i32::MAX), namespace(i32::MAX, "mnt")), (None, 0, None));
    }
}
