//! `--memory`, `--cpus`, `--pids-limit` and the like: what a container may use. Pure.

use super::size;
use crate::cgroup::list;
use anyhow::{Context, Result, bail, ensure};
use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources, LinuxThrottleDevice, LinuxThrottleDeviceBuilder,
};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// podman's number of processes for a container that nobody has said anything of.
pub const PIDS: i64 = 2048;
/// docker's least memory, bytes: with less nothing starts.
const LEAST_MEMORY: u64 = 6 << 20;
/// Billionths of a processor.
pub const NANO: u64 = 1_000_000_000;
/// The kernel's period of `cpu.max` if nothing is said, microseconds.
pub const PERIOD: u64 = 100_000;

/// What was asked for. `None` is that nothing was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// `--memory`, bytes; negative is no limit.
    pub memory: Option<i64>,
    /// `--memory-reservation`, bytes.
    pub reservation: Option<i64>,
    /// `--memory-swap`, memory and swap together, bytes; negative is no limit.
    pub swap: Option<i64>,
    /// `--pids-limit`; 0 and less is no limit.
    pub pids: Option<i64>,
    /// `--cpus`, billionths.
    pub cpus: Option<u64>,
    /// `--cpu-quota`, microseconds of each period; negative is no limit.
    pub quota: Option<i64>,
    /// `--cpu-period`, microseconds.
    pub period: Option<u64>,
    /// `--cpu-shares`, 1024 is usual.
    pub shares: Option<u64>,
    /// `--cpuset-cpus`, as typed.
    pub cpuset_cpus: Option<String>,
    /// `--cpuset-mems`, as typed.
    pub cpuset_mems: Option<String>,
    /// `--blkio-weight`, 10 to 1000; 0 is none.
    pub blkio_weight: Option<u16>,
    /// `--device-read-bps` and its three relatives.
    pub rates: Vec<Rate>,
    /// `--cgroup-conf FILE=TEXT`.
    pub conf: Vec<(String, String)>,
    /// `--limits best-effort`: what cannot be enforced is told and the container runs.
    pub best_effort: bool,
}

/// How fast a container may use a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Absolute path on the host.
    pub path: String,
    /// What is counted.
    pub kind: RateKind,
    /// So many in a second; 0 is no limit.
    pub rate: u64,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RateKind {
    /// Bytes that are read.
    ReadBytes,
    /// Bytes that are written.
    WriteBytes,
    /// Times that it is read.
    Reads,
    /// Times that it is written.
    Writes,
}

impl RateKind {
    /// The option that is of this kind.
    pub fn option(self) -> &'static str {
        match self {
            RateKind::ReadBytes => "--device-read-bps",
            RateKind::WriteBytes => "--device-write-bps",
            RateKind::Reads => "--device-read-iops",
            RateKind::Writes => "--device-write-iops",
        }
    }
}

/// `--cgroups`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cgroups {
    /// One of its own, if there is a reason and it can be had.
    #[default]
    Enabled,
    /// None.
    Disabled,
    /// One below where rbox is, or none: never one that systemd is asked for.
    Split,
}

impl Limits {
    /// True if somebody has asked for any.
    pub fn is_asked(&self) -> bool {
        let none = Limits { best_effort: self.best_effort, ..Limits::default() };
        // No limit of processes is what a container without a cgroup has.
        *self != none && !(self.pids.is_some_and(|pids| pids <= 0) && Limits { pids: None, ..self.clone() } == none)
    }

    /// docker's checks of what was said together (moby, `daemon/daemon_unix.go`, `verifyPlatformContainerResources`).
    pub fn check(&self) -> Result<()> {
        let memory = self.memory.filter(|memory| *memory > 0);
        if let Some(memory) = memory {
            ensure!(memory as u64 >= LEAST_MEMORY, "--memory: minimum memory limit allowed is 6MB");
        }
        if let Some((memory, reservation)) = memory.zip(self.reservation) {
            let is_less = memory >= reservation;
            ensure!(
                is_less,
                "--memory-reservation: minimum memory limit can not be less than memory reservation limit"
            );
        }
        if let Some(swap) = self.swap.filter(|swap| *swap > 0) {
            let memory = memory.context("--memory-swap: you should always set the memory limit when using it")?;
            ensure!(swap >= memory, "--memory-swap: minimum memoryswap limit should be larger than memory limit");
        }
        if self.cpus.is_some() && (self.quota.is_some() || self.period.is_some()) {
            bail!("conflicting options: --cpus and --cpu-quota or --cpu-period");
        }
        Ok(())
    }

    /// Memory and swap together, bytes, as in docker: twice the memory if nothing was said.
    pub fn memory_and_swap(&self) -> Option<i64> {
        let twice = || self.memory.map(|memory| if memory > 0 { memory.saturating_mul(2) } else { -1 });
        self.swap.filter(|swap| *swap != 0).or_else(twice)
    }

    /// True if a file of the cgroup is named.
    pub fn has_conf(&self, file: &str) -> bool {
        self.conf.iter().any(|(name, _)| name == file)
    }

    /// Microseconds of processor time in each period, and the period, if there is a limit.
    pub fn quota_and_period(&self) -> (Option<i64>, Option<u64>) {
        match self.cpus {
            Some(cpus) => (Some((cpus / (NANO / PERIOD)) as i64), Some(PERIOD)),
            None => (self.quota, self.period),
        }
    }

    /// As a Spec says it. `rates`: the devices of those, major and minor numbers.
    pub fn resources(&self, rates: &[(i64, i64)]) -> LinuxResources {
        let mut all = LinuxResources::default();
        all.set_devices(None);
        if self.memory.is_some() || self.reservation.is_some() || self.swap.is_some() {
            let mut memory = LinuxMemory::default();
            let swap = self.memory_and_swap().filter(|_| !self.has_conf("memory.swap.max"));
            memory.set_limit(self.memory).set_reservation(self.reservation).set_swap(swap);
            all.set_memory(Some(memory));
        }
        let (quota, period) = self.quota_and_period();
        let mut cpu = LinuxCpu::default();
        cpu.set_quota(quota).set_period(period).set_shares(self.shares);
        cpu.set_cpus(self.cpuset_cpus.clone()).set_mems(self.cpuset_mems.clone());
        all.set_cpu(Some(cpu).filter(|cpu| *cpu != LinuxCpu::default()));
        if let Some(limit) = self.pids {
            let mut pids = LinuxPids::default();
            pids.set_limit(limit);
            all.set_pids(Some(pids));
        }
        all.set_block_io(self.block_io(rates));
        let conf: HashMap<String, String> =
            self.conf.iter().fold(HashMap::new(), |mut all: HashMap<String, String>, (file, text)| {
                // Files such as io.max take a line for each device.
                all.entry(file.clone()).and_modify(|lines| *lines = format!("{lines}\n{text}")).or_insert(text.clone());
                all
            });
        all.set_unified(Some(conf).filter(|conf| !conf.is_empty()));
        all
    }

    fn block_io(&self, rates: &[(i64, i64)]) -> Option<LinuxBlockIo> {
        let mut io = LinuxBlockIo::default();
        io.set_weight(self.blkio_weight);
        let of = |kind: RateKind| -> Option<LinuxThrottleDevices> {
            let chosen = self.rates.iter().zip(rates).filter(|(rate, _)| rate.kind == kind);
            let devices: Vec<_> = chosen
                .filter_map(|(rate, (major, minor))| {
                    let device = LinuxThrottleDeviceBuilder::default().major(*major).minor(*minor).rate(rate.rate);
                    device.build().ok()
                })
                .collect();
            (!devices.is_empty()).then_some(devices)
        };
        io.set_throttle_read_bps_device(of(RateKind::ReadBytes));
        io.set_throttle_write_bps_device(of(RateKind::WriteBytes));
        io.set_throttle_read_iops_device(of(RateKind::Reads));
        io.set_throttle_write_iops_device(of(RateKind::Writes));
        Some(io).filter(|io| *io != LinuxBlockIo::default())
    }
}

type LinuxThrottleDevices = Vec<LinuxThrottleDevice>;

/// Reads `--memory`: a size, -1 for no limit, 0 for nothing said.
pub fn bytes(text: &str) -> Result<i64> {
    if text == "-1" {
        return Ok(-1);
    }
    Ok(i64::try_from(size::parse(text)?).unwrap_or(i64::MAX))
}

/// Reads `--cpus`: a decimal number, billionths.
pub fn cpus(text: &str) -> Result<u64> {
    let is_number = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    ensure!(
        is_number && text != "." && !part.contains('.') && part.len() <= 9,
        "not a number of processors such as 1.5"
    );
    let digits = |text: &str| if text.is_empty() { Ok(0) } else { text.parse::<u64>() };
    let billionths = digits(&format!("{part:0<9}"))?;
    let nano = digits(whole).ok().and_then(|whole| whole.checked_mul(NANO)?.checked_add(billionths));
    // The kernel's quota is less than 2^44 nanoseconds (Linux, `kernel/sched/core.c`, `max_cfs_runtime`).
    let nano = nano.filter(|nano| *nano <= 100_000 * NANO).context("more processors than anybody has")?;
    ensure!(nano == 0 || nano >= NANO / 100, "range of CPUs is from 0.01 on");
    Ok(nano)
}

/// Reads `--cpu-period`, microseconds; 0 is nothing said.
pub fn period(text: &str) -> Result<u64> {
    match text.parse() {
        Ok(period @ (0 | 1000..=1_000_000)) => Ok(period),
        _ => bail!("CPU cfs period cannot be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"),
    }
}

/// Reads `--cpu-quota`, microseconds; -1 is no limit, 0 nothing said.
pub fn quota(text: &str) -> Result<i64> {
    match text.parse() {
        Ok(quota @ (-1 | 0 | 1000..)) => Ok(quota),
        _ => bail!("CPU cfs quota cannot be less than 1ms (i.e. 1000)"),
    }
}

/// Reads `--blkio-weight`; 0 is nothing said.
pub fn blkio_weight(text: &str) -> Result<u16> {
    match text.parse() {
        Ok(weight @ (0 | 10..=1000)) => Ok(weight),
        _ => bail!("range of blkio weight is from 10 to 1000"),
    }
}

/// Reads `DEVICE:RATE`; a rate of bytes has units.
pub fn rate(text: &str, kind: RateKind) -> Result<Rate> {
    let (path, rate) = text.rsplit_once(':').context("DEVICE:RATE is wanted")?;
    ensure!(path.starts_with('/'), "{path}: not an absolute path");
    let rate = match kind {
        RateKind::ReadBytes | RateKind::WriteBytes => size::parse(rate)?,
        RateKind::Reads | RateKind::Writes => rate.parse().ok().context("not a number")?,
    };
    Ok(Rate { path: path.to_owned(), kind, rate })
}

/// Reads `FILE=TEXT`.
pub fn conf(text: &str) -> Result<(String, String)> {
    let (file, text) = text.split_once('=').context("FILE=TEXT is wanted, such as memory.high=1073741824")?;
    ensure!(!text.contains(['\n', '\0']), "one line is wanted");
    Ok((file.to_owned(), text.to_owned()))
}

/// Reads `--limits`: true for best effort.
pub fn policy(text: &str) -> Result<bool> {
    match text {
        "enforce" => Ok(false),
        "best-effort" => Ok(true),
        _ => bail!("enforce or best-effort is wanted"),
    }
}

/// Reads `--cgroups`.
pub fn cgroups(text: &str) -> Result<Cgroups> {
    match text {
        "enabled" => Ok(Cgroups::Enabled),
        "disabled" => Ok(Cgroups::Disabled),
        "split" => Ok(Cgroups::Split),
        "no-conmon" => bail!("rbox has a supervisor in a cgroup of its own in any case"),
        _ => bail!("enabled, disabled or split is wanted"),
    }
}

/// Checks `--cgroup-parent`: the name of a slice, or the path of a cgroup.
pub fn parent(text: &str) -> Result<String> {
    let is_slice = text.ends_with(".slice") && !text.contains('/') && text.len() > ".slice".len();
    let is_path = text.starts_with('/') && !text.split('/').any(|part| part == "..");
    ensure!(is_slice || is_path, "NAME.slice or an absolute path of a cgroup is wanted");
    Ok(text.to_owned())
}

/// Checks `--cpuset-cpus` and `--cpuset-mems`; an empty one is nothing said.
pub fn set(text: &str) -> Result<Option<String>> {
    if text.is_empty() {
        return Ok(None);
    }
    list::read(text)?;
    Ok(Some(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_processors() {
        let table = [("1", NANO), ("0.5", NANO / 2), (".5", NANO / 2), ("1.", NANO), ("0", 0), ("0.01", NANO / 100)];
        for (text, expected) in table {
            assert_eq!(cpus(text).unwrap(), expected, "{text}");
        }
        for text in ["", "x", "-1", "0.001", "1.0000000001", "1e3", "1.5.5", "99999999999999999999", "+1"] {
            assert!(cpus(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_goes_together() {
        let ok = Limits { memory: Some(64 << 20), swap: Some(-1), ..Limits::default() };
        ok.check().unwrap();
        assert_eq!(ok.memory_and_swap(), Some(-1));
        assert_eq!(Limits { swap: None, ..ok.clone() }.memory_and_swap(), Some(128 << 20));
        for wrong in [
            Limits { memory: Some(1 << 20), ..Limits::default() },
            Limits { swap: Some(1 << 20), ..Limits::default() },
            Limits { swap: Some(1 << 20), ..ok.clone() },
            Limits { reservation: Some(65 << 20), ..ok },
            Limits { cpus: Some(NANO), period: Some(PERIOD), ..Limits::default() },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn no_limit_of_processes_is_nothing_to_ask_for() {
        let asked = |pids| Limits { pids, best_effort: true, ..Limits::default() }.is_asked();
        assert_eq!([None, Some(-1), Some(0), Some(5)].map(asked), [false, false, false, true]);
    }

    #[test]
    fn half_a_processor() {
        let limits = Limits { cpus: Some(NANO / 2), ..Limits::default() };
        assert_eq!(limits.quota_and_period(), (Some(50_000), Some(100_000)));
        let json = serde_json::to_value(limits.resources(&[])).unwrap();
        assert_eq!(json, serde_json::json!({ "cpu": { "quota": 50_000, "period": 100_000 } }));
    }

    #[test]
    fn words() {
        assert_eq!(rate("/dev/sda:1mb", RateKind::ReadBytes).unwrap().rate, 1 << 20);
        for text in ["/dev/sda", "sda:1", "/dev/sda:1x"] {
            assert!(rate(text, RateKind::WriteBytes).is_err(), "{text}");
        }
        assert!(rate("/dev/sda:1m", RateKind::Reads).is_err());
        for text in ["a", "/a/../b", ".slice", "a/b.slice", ""] {
            assert!(parent(text).is_err(), "{text}");
        }
        assert!(parent("a.slice").is_ok() && parent("/a/b").is_ok());
    }
}
