//! From `linux.resources` of a Spec to the files of a cgroup (kernel, `Documentation/admin-guide/cgroup-v2.rst`; the conversions are
//! those that runc and crun have agreed on).

use super::group::Group;
use crate::sys::CallError;
use anyhow::{Result, ensure};
use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources};
use rustix::io::Errno;

/// What is to be written, and of what it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The option that says so.
    pub option: &'static str,
    /// Who has the file.
    pub controller: String,
    /// The file and its text; where a kernel lacks the first one, the next.
    pub files: Vec<(String, String)>,
    /// Nobody has asked for it by itself: it goes along with another one, where the kernel has it.
    pub is_beside: bool,
}

impl Setting {
    fn new(option: &'static str, file: &str, text: impl ToString) -> Setting {
        let controller = file.split('.').next().unwrap_or_default().to_owned();
        Setting { option, controller, files: vec![(file.to_owned(), text.to_string())], is_beside: false }
    }

    fn beside(self) -> Setting {
        Setting { is_beside: true, ..self }
    }

    /// What is written where nobody wants it any more: as it is in a new cgroup.
    pub fn undone(&self) -> Setting {
        let usual = |(file, text): &(String, String)| {
            let text = match (file.as_str(), text.split_once(' ')) {
                ("memory.low" | "memory.oom.group", _) => "0".to_owned(),
                ("cpu.max", _) => format!("max {PERIOD}"),
                ("cpu.weight" | "io.bfq.weight", _) => "100".to_owned(),
                ("io.weight", _) => "default 100".to_owned(),
                ("cpuset.cpus" | "cpuset.mems", _) => "\n".to_owned(),
                ("io.max", Some((device, rate))) => {
                    format!("{device} {}=max", rate.split('=').next().unwrap_or_default())
                }
                _ => "max".to_owned(),
            };
            (file.clone(), text)
        };
        Setting { files: self.files.iter().map(usual).collect(), ..self.clone() }
    }

    /// True if both are for the same: the same file, and the same of its lines.
    pub fn is_of_same(&self, other: &Setting) -> bool {
        let place = |setting: &Setting| {
            let (file, text) = setting.files.first().cloned().unwrap_or_default();
            // Such a file has a line for each device, and several words in it.
            let of_device =
                if file == "io.max" { text.split('=').next().unwrap_or_default().to_owned() } else { String::new() };
            (file, of_device)
        };
        place(self) == place(other)
    }

    /// Writes it: the file. `None` if the kernel does not have such a file.
    pub fn write(&self, group: &Group) -> std::result::Result<Option<&str>, CallError> {
        for (file, text) in &self.files {
            match group.write(file, text) {
                Err(error) if error.errno == Errno::NOENT => {}
                done => return done.map(|()| Some(file.as_str())),
            }
        }
        Ok(None)
    }

    /// True if it limits nothing: so it is in a new cgroup, and where there is none.
    pub fn is_nothing(&self) -> bool {
        self.undone().files == self.files
    }
}

/// All of them, in the order in which they are to be written.
pub fn settings(resources: &LinuxResources) -> Result<Vec<Setting>> {
    let mut all = Vec::new();
    if let Some(memory) = resources.memory() {
        of_memory(memory, &mut all)?;
    }
    if let Some(cpu) = resources.cpu() {
        of_cpu(cpu, &mut all);
    }
    if let Some(pids) = resources.pids() {
        all.push(Setting::new("--pids-limit", "pids.max", or_max(pids.limit())));
    }
    if let Some(io) = resources.block_io() {
        of_io(io, &mut all);
    }
    let mut unified: Vec<_> = resources.unified().iter().flatten().collect();
    // As they come they are in no order.
    unified.sort();
    for (file, text) in unified {
        ensure!(is_limit(file), "--cgroup-conf {file}: not a limit of a controller");
        let is_other = |setting: &Setting| setting.is_beside || setting.files.iter().all(|(other, _)| other != file);
        ensure!(all.iter().all(is_other), "--cgroup-conf {file}: another option says so already");
        all.retain(|setting: &Setting| !setting.is_beside || setting.files.iter().all(|(other, _)| other != file));
        ensure!(!text.is_empty(), "--cgroup-conf {file}: nothing to write");
        all.extend(text.split('\n').map(|line| Setting::new("--cgroup-conf", file, line)));
    }
    Ok(all)
}

/// What a user may write: files of controllers. Those of the cgroup itself are rbox's.
fn is_limit(file: &str) -> bool {
    // What is no limit but an order, or a wish to be told.
    if file == "memory.reclaim" || file.ends_with(".pressure") {
        return false;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    file.contains('.') && file.chars().all(plain) && !file.starts_with(['.', '-']) && !file.starts_with("cgroup.")
}

/// -1, and 0 where that is no number to have at most.
fn or_max(value: i64) -> String {
    if value > 0 { value.to_string() } else { "max".to_owned() }
}

fn of_memory(memory: &LinuxMemory, all: &mut Vec<Setting>) -> Result<()> {
    let limit = memory.limit().filter(|limit| *limit != 0);
    if let Some(swap) = memory.swap().filter(|swap| *swap != 0) {
        // Both together there, one without the other here.
        let text = match limit {
            _ if swap < 0 => "max".to_owned(),
            Some(limit) if limit > 0 => {
                ensure!(swap >= limit, "--memory-swap: less than --memory, which it includes");
                (swap - limit).to_string()
            }
            _ => anyhow::bail!("--memory-swap: without --memory nobody knows how much of it is memory"),
        };
        all.push(Setting::new("--memory-swap", "memory.swap.max", text));
    }
    if let Some(limit) = limit {
        all.push(Setting::new("--memory", "memory.max", or_max(limit)));
        // All of it or nothing of it: what is left of a container whose parts were killed does not do what it is for.
        all.push(Setting::new("--memory", "memory.oom.group", u8::from(limit > 0)).beside());
    }
    if let Some(reservation) = memory.reservation().filter(|reservation| *reservation != 0) {
        let text = if reservation < 0 { "0".to_owned() } else { reservation.to_string() };
        all.push(Setting::new("--memory-reservation", "memory.low", text));
    }
    Ok(())
}

/// The kernel's own period, microseconds.
const PERIOD: u64 = 100_000;

fn of_cpu(cpu: &LinuxCpu, all: &mut Vec<Setting>) {
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
        all.push(Setting::new("--cpu-shares", "cpu.weight", weight(shares)));
    }
    let quota = cpu.quota().filter(|quota| *quota != 0);
    let period = cpu.period().filter(|period| *period != 0);
    if quota.is_some() || period.is_some() {
        let text = format!("{} {}", quota.map_or("max".to_owned(), or_max), period.unwrap_or(PERIOD));
        let option = if quota.is_some() { "--cpus" } else { "--cpu-period" };
        all.push(Setting::new(option, "cpu.max", text));
    }
    let named = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if let Some(cpus) = named(cpu.cpus()) {
        all.push(Setting::new("--cpuset-cpus", "cpuset.cpus", cpus));
    }
    if let Some(nodes) = named(cpu.mems()) {
        all.push(Setting::new("--cpuset-mems", "cpuset.mems", nodes));
    }
}

/// From shares, 2 to 262144 with 1024 as usual, to a weight, 1 to 10000 with 100 as usual: a curve through these three points.
pub fn weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            10f64.powf(exponent).ceil() as u64
        }
    }
}

fn of_io(io: &LinuxBlockIo, all: &mut Vec<Setting>) {
    if let Some(weight) = io.weight().filter(|weight| *weight != 0) {
        // Who schedules with BFQ has the same range, 10 to 1000; otherwise it is 1 to 10000.
        let wide = 1 + u64::from(weight.max(10) - 10) * 9999 / 990;
        let mut setting = Setting::new("--blkio-weight", "io.bfq.weight", weight);
        setting.files.push(("io.weight".to_owned(), format!("default {wide}")));
        all.push(setting);
    }
    let rates = [
        ("--device-read-bps", "rbps", io.throttle_read_bps_device()),
        ("--device-write-bps", "wbps", io.throttle_write_bps_device()),
        ("--device-read-iops", "riops", io.throttle_read_iops_device()),
        ("--device-write-iops", "wiops", io.throttle_write_iops_device()),
    ];
    for (option, word, devices) in rates {
        for device in devices.iter().flatten() {
            let rate = if device.rate() == 0 { "max".to_owned() } else { device.rate().to_string() };
            let text = format!("{}:{} {word}={rate}", device.major(), device.minor());
            all.push(Setting::new(option, "io.max", text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(resources: &LinuxResources) -> Vec<String> {
        let texts = |setting: &Setting| {
            setting.files.iter().map(|(file, text)| format!("{file}={text}")).collect::<Vec<_>>().join("|")
        };
        settings(resources).unwrap().iter().map(texts).collect()
    }

    #[test]
    fn weights() {
        let table =
            [(0, 1), (2, 1), (3, 2), (512, 59), (1024, 100), (2048, 174), (262_144, 10_000), (u64::MAX, 10_000)];
        for (shares, expected) in table {
            assert_eq!(weight(shares), expected, "{shares}");
        }
    }

    #[test]
    fn swap_is_without_memory() {
        let with = |limit: i64, swap: i64| {
            let mut memory = LinuxMemory::default();
            memory.set_limit(Some(limit)).set_swap(Some(swap));
            let mut resources = LinuxResources::default();
            resources.set_devices(None).set_memory(Some(memory));
            resources
        };
        let group = "memory.oom.group=1".to_owned();
        assert_eq!(texts(&with(64, 128)), ["memory.swap.max=64", "memory.max=64", &group]);
        assert_eq!(texts(&with(64, 64)), ["memory.swap.max=0", "memory.max=64", &group]);
        assert_eq!(texts(&with(64, -1)), ["memory.swap.max=max", "memory.max=64", &group]);
        assert!(settings(&with(64, 63)).is_err() && settings(&with(0, 63)).is_err());
    }

    #[test]
    fn undone() {
        let of = |file: &str, text: &str| Setting::new("", file, text).undone().files[0].1.clone();
        assert_eq!(of("memory.max", "5"), "max");
        assert_eq!(of("cpu.max", "5 6"), "max 100000");
        assert_eq!(of("io.max", "8:0 rbps=5"), "8:0 rbps=max");
        let same = |a: &str, b: &str| Setting::new("", "io.max", a).is_of_same(&Setting::new("", "io.max", b));
        assert!(
            same("8:0 rbps=5", "8:0 rbps=6") && !same("8:0 rbps=5", "8:0 wbps=5") && !same("8:0 rbps=5", "8:1 rbps=5")
        );
    }

    #[test]
    fn files_of_a_cgroup_itself_are_not_for_users() {
        for file in ["cgroup.procs", "cgroup.kill", "../memory.max", "memory", "memory.max/x", "-x.y", ""] {
            assert!(!is_limit(file), "{file}");
        }
        assert!(is_limit("memory.high") && is_limit("hugetlb.2MB.max") && is_limit("io.bfq.weight"));
    }

    #[test]
    fn cpus_and_devices() {
        let mut cpu = LinuxCpu::default();
        cpu.set_quota(Some(50_000)).set_shares(Some(1024)).set_cpus(Some("0-1".to_owned()));
        let device = oci_spec::runtime::LinuxThrottleDeviceBuilder::default().major(8).minor(0).rate(1024u64);
        let device = device.build().unwrap();
        let mut io = LinuxBlockIo::default();
        io.set_weight(Some(500)).set_throttle_read_bps_device(Some(vec![device]));
        let mut resources = LinuxResources::default();
        resources.set_devices(None).set_cpu(Some(cpu)).set_block_io(Some(io));
        let expected = [
            "cpu.weight=100",
            "cpu.max=50000 100000",
            "cpuset.cpus=0-1",
            "io.bfq.weight=500|io.weight=default 4950",
            "io.max=8:0 rbps=1024",
        ];
        assert_eq!(texts(&resources), expected);
    }
}
