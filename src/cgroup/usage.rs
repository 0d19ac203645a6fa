//! What a cgroup uses, as the kernel counts it (kernel, `Documentation/admin-guide/cgroup-v2.rst`).

use super::group::{Group, key};
use crate::sys::{Named, Result};
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Longer than any of its files, but for that of many devices.
const LONG: usize = 8192;

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

/// The files of a cgroup in which the kernel counts. They stay open: a look costs one call for each.
#[derive(Debug)]
pub struct Counters {
    group: Group,
    /// Those that were there.
    open: Vec<(&'static str, OwnedFd)>,
    /// Files with descriptors from this one on are closed again: others need some, too.
    most: i32,
    text: Vec<u8>,
}

impl Counters {
    /// Of this cgroup. `most`: as many descriptors the process may have open for that.
    pub fn of(group: Group, most: i32) -> Counters {
        Counters { group, open: Vec::new(), most, text: vec![0; LONG] }
    }

    /// Counts.
    pub fn usage(&mut self) -> Result<Usage> {
        let mut usage = Usage::default();
        if let Some(stat) = self.read("cpu.stat")? {
            usage.cpu = number(stat, "usage_usec");
            usage.cpu_system = number(stat, "system_usec");
            usage.throttled = throttled(stat);
        }
        if let Some(whole) = self.one("memory.current")? {
            let inactive = self.read("memory.stat")?.and_then(|stat| number(stat, "inactive_file"));
            usage.memory_whole = Some(whole);
            usage.memory = Some(whole.saturating_sub(inactive.unwrap_or(0)));
            usage.memory_limit = self.one("memory.max")?;
            usage.oom = self.read("memory.events")?.map(killed);
        }
        usage.pids = self.one("pids.current")?;
        usage.pids_limit = self.one("pids.max")?;
        usage.io = self.read("io.stat")?.map(io);
        for (at, file) in ["cpu.pressure", "memory.pressure", "io.pressure"].into_iter().enumerate() {
            usage.pressure[at] = self.read(file)?.and_then(pressure);
        }
        Ok(usage)
    }

    fn one(&mut self, file: &'static str) -> Result<Option<u64>> {
        Ok(self.read(file)?.and_then(|text| text.trim().parse().ok()))
    }

    /// What one of them says now; `None` if the kernel does not have it.
    fn read(&mut self, file: &'static str) -> Result<Option<&str>> {
        let at = self.open.iter().position(|(name, _)| *name == file).unwrap_or(self.open.len());
        let is_new = at == self.open.len();
        if is_new {
            match self.group.open_file(file) {
                Ok(open) => self.open.push((file, open)),
                Err(error) if matches!(error.errno, Errno::NOENT | Errno::NODEV) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let read = self.whole(at);
        if read.is_err() || self.open[at].1.as_raw_fd() >= self.most {
            self.open.swap_remove(at);
        }
        match read {
            // One that was taken away and made again, as with its controller, is another one.
            Err(Errno::NODEV) if !is_new => self.read(file),
            Ok(length) => Ok(Some(std::str::from_utf8(&self.text[..length]).unwrap_or_default())),
            // Its directory was removed meanwhile, or pressure is not measured (psi=0).
            Err(Errno::NODEV | Errno::OPNOTSUPP) => Ok(None),
            Err(errno) => Err(errno).named(|| format!("read({}/{file})", self.group.path().display())),
        }
    }

    /// Reads one of them from its beginning: the kernel writes it anew each time. How long it is.
    fn whole(&mut self, at: usize) -> rustix::io::Result<usize> {
        let mut length = 0;
        loop {
            if length == self.text.len() {
                self.text.resize(2 * length, 0);
            }
            let rest = &mut self.text[length..];
            let room = rest.len();
            match rustix::io::retry_on_intr(|| rustix::io::pread(&self.open[at].1, &mut rest[..], length as u64))? {
                0 => return Ok(length),
                // Each of these files is one piece, which the kernel cuts only where there is no room for it (seq_file).
                read if read < room => return Ok(length + read),
                read => length += read,
            }
        }
    }
}

fn number(text: &str, name: &str) -> Option<u64> {
    key(text, name)?.trim().parse().ok()
}

/// How many processes of a cgroup the kernel has killed for want of memory, to be waited for.
#[derive(Debug)]
pub struct Killings(OwnedFd);

impl Killings {
    /// Of this cgroup; `None` where the kernel counts none.
    pub fn watch(group: &Group) -> Option<Killings> {
        group.open_file("memory.events").ok().map(Killings)
    }

    /// How many by now. Before this is asked for the first time, and when something has changed since then, the file is ready
    /// with POLLPRI: the kernel takes note of what this descriptor has read, and of no other (kernel, `fs/kernfs/file.c`).
    pub fn count(&self) -> Result<u64> {
        let mut text = [0; 512];
        let length = rustix::io::retry_on_intr(|| rustix::io::pread(&self.0, &mut text, 0))
            .named(|| "read(memory.events)".to_owned())?;
        Ok(killed(std::str::from_utf8(&text[..length]).unwrap_or_default())[1])
    }
}

impl AsFd for Killings {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn killed(events: &str) -> [u64; 2] {
    ["oom", "oom_kill"].map(|name| number(events, name).unwrap_or(0))
}

fn throttled(stat: &str) -> Option<[u64; 3]> {
    Some([number(stat, "nr_throttled")?, number(stat, "nr_periods")?, number(stat, "throttled_usec")?])
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
    fn files_that_stay_open_are_read_anew() {
        let dir = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| fs_err::write(dir.path().join(file), text).unwrap();
        let counters = |most| Counters::of(Group::open(dir.path()).unwrap(), most);
        let (mut kept, mut closed) = (counters(i32::MAX), counters(0));
        write("memory.current", "1000\n");
        let long = format!("{}inactive_file 100\n", "other 1\n".repeat(2 * LONG));
        write("memory.stat", &long);
        for (pids, io) in [("1\n", None), ("23\n", Some("8:0 rbytes=5 wbytes=6\n"))] {
            write("pids.current", pids);
            io.iter().for_each(|io| write("io.stat", io));
            let usage = kept.usage().unwrap();
            assert_eq!(usage, closed.usage().unwrap());
            assert_eq!((usage.memory, usage.pids), (Some(900), pids.trim().parse().ok()));
            assert_eq!((usage.io, usage.cpu), (io.map(|_| [5, 6]), None));
        }
        let mut open: Vec<&str> = kept.open.iter().map(|(name, _)| *name).collect();
        open.sort_unstable();
        assert_eq!(open, ["io.stat", "memory.current", "memory.stat", "pids.current"]);
        assert!(closed.open.is_empty());
    }

    #[test]
    fn throttling() {
        let text = "usage_usec 1\nnr_periods 10\nnr_throttled 2\nthrottled_usec 300\n";
        assert_eq!((throttled(text), throttled("usage_usec 1\n")), (Some([2, 10, 300]), None));
    }
}
