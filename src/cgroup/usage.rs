//! What a cgroup uses, as the kernel counts it (kernel, `Documentation/admin-guide/cgroup-v2.rst`).

use super::group::{Group, key};
use crate::sys::Result;

/// Counted at one moment. What the kernel does not count here is `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Usage {
    /// Time on processors since it was made, microseconds, and of that in the kernel.
    pub cpu: Option<u64>,
    /// Of that in the kernel.
    pub cpu_system: Option<u64>,
    /// How often it had used up its time, of how many periods, and how long it then waited, microseconds.
    pub throttled: Option<[u64; 3]>,
    /// Memory, bytes, without what the kernel could drop at once: pages of files that nobody has used lately.
    pub memory: Option<u64>,
    /// With those.
    pub memory_whole: Option<u64>,
    /// What it may have at most, bytes; none is all of the host's.
    pub memory_limit: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// As many it may have at most.
    pub pids_limit: Option<u64>,
    /// Read from and written to disks, bytes.
    pub io: Option<[u64; 2]>,
    /// How often it had too little memory, and how many processes were killed for that.
    pub oom: Option<[u64; 2]>,
    /// Share of the last ten seconds in which somebody waited for a processor, memory, a disk, percent (PSI).
    pub pressure: [Option<f64>; 3],
}

impl Usage {
    /// Counts.
    pub fn of(group: &Group) -> Result<Usage> {
        let stat = group.read("cpu.stat")?.unwrap_or_default();
        let number = |text: &str, name: &str| key(text, name).and_then(|value| value.trim().parse::<u64>().ok());
        let mut usage = Usage {
            cpu: number(&stat, "usage_usec"),
            cpu_system: number(&stat, "system_usec"),
            throttled: throttled(&stat),
            ..Usage::default()
        };
        if let Some(whole) = one(group, "memory.current")? {
            let inactive = number(&group.read("memory.stat")?.unwrap_or_default(), "inactive_file");
            usage.memory_whole = Some(whole);
            usage.memory = Some(whole.saturating_sub(inactive.unwrap_or(0)));
            usage.memory_limit = one(group, "memory.max")?;
            usage.oom = oom(group)?;
        }
        usage.pids = one(group, "pids.current")?;
        usage.pids_limit = one(group, "pids.max")?;
        usage.io = group.read("io.stat")?.map(|text| io(&text));
        for (at, file) in ["cpu.pressure", "memory.pressure", "io.pressure"].iter().enumerate() {
            usage.pressure[at] = group.read(file)?.and_then(|text| pressure(&text));
        }
        Ok(usage)
    }
}

/// How often a cgroup had too little memory, and how many processes were killed for that.
pub fn oom(group: &Group) -> Result<Option<[u64; 2]>> {
    let events = group.read("memory.events")?;
    let number = |text: &str, name: &str| key(text, name).and_then(|value| value.trim().parse().ok()).unwrap_or(0);
    Ok(events.map(|text| [number(&text, "oom"), number(&text, "oom_kill")]))
}

fn one(group: &Group, file: &str) -> Result<Option<u64>> {
    Ok(group.read(file)?.and_then(|text| text.trim().parse().ok()))
}

fn throttled(stat: &str) -> Option<[u64; 3]> {
    let number = |name: &str| key(stat, name)?.trim().parse().ok();
    Some([number("nr_throttled")?, number("nr_periods")?, number("throttled_usec")?])
}

/// The sum over devices.
fn io(text: &str) -> [u64; 2] {
    let sum = |word: &str| {
        let of_line = |line: &str| {
            let value = line.split(' ').find_map(|part| part.strip_prefix(word)?.strip_prefix('='))?;
            value.parse::<u64>().ok()
        };
        text.lines().filter_map(of_line).sum()
    };
    [sum("rbytes"), sum("wbytes")]
}

fn pressure(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with("some "))?;
    line.split(' ').find_map(|part| part.strip_prefix("avg10="))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_summed() {
        let text =
            "8:0 rbytes=100 wbytes=7 rios=1 wios=1 dbytes=0 dios=0\n259:0 rbytes=20 wbytes=0 rios=1 wios=0\n7:0 \n";
        assert_eq!(io(text), [120, 7]);
    }

    #[test]
    fn lines_of_pressure() {
        let text = "some avg10=1.25 avg60=0.00 avg300=0.00 total=5\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n";
        assert_eq!((pressure(text), pressure("")), (Some(1.25), None));
    }

    #[test]
    fn throttling() {
        let text = "usage_usec 1\nnr_periods 10\nnr_throttled 2\nthrottled_usec 300\n";
        assert_eq!((throttled(text), throttled("usage_usec 1\n")), (Some([2, 10, 300]), None));
    }
}
