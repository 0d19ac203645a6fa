//! The options that say what a container may use.

use super::convert::{each, number, one};
use crate::spec::limits::{self, Limits, RateKind};
use crate::spec::options::Options;
use crate::spec::{namespace, size};
use anyhow::Result;
use clap::Args;

/// What `run`, `create` and `update` have alike.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// Memory limit
    #[arg(short, long, value_name = "SIZE", allow_hyphen_values = true)]
    memory: Option<String>,
    /// Memory that is left to the container when the host is short of it
    #[arg(long, value_name = "SIZE")]
    memory_reservation: Option<String>,
    /// Limit of memory and swap together; -1 is unlimited swap [default: twice the memory]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory_swap: Option<String>,
    /// Limit of processes and threads; -1 is none [default: 2048, where it can be had]
    #[arg(long, value_name = "COUNT", allow_hyphen_values = true)]
    pids_limit: Option<String>,
    /// Number of CPUs
    #[arg(long, value_name = "NUMBER")]
    cpus: Option<String>,
    /// Microseconds of CPU time in each period
    #[arg(long, value_name = "MICROSECONDS", allow_hyphen_values = true)]
    cpu_quota: Option<String>,
    /// That period [default: 100000]
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<String>,
    /// CPU shares where others want the same CPU (relative weight, 1024 is usual)
    #[arg(short, long, value_name = "SHARES")]
    cpu_shares: Option<String>,
    /// CPUs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Block I/O where others want the same disk (relative weight, between 10 and 1000)
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<String>,
    /// Limit the read rate from a device, bytes per second
    #[arg(long, value_name = "DEVICE:RATE")]
    device_read_bps: Vec<String>,
    /// Limit the write rate to a device, bytes per second
    #[arg(long, value_name = "DEVICE:RATE")]
    device_write_bps: Vec<String>,
    /// Limit the read rate from a device, operations per second
    #[arg(long, value_name = "DEVICE:RATE")]
    device_read_iops: Vec<String>,
    /// Limit the write rate to a device, operations per second
    #[arg(long, value_name = "DEVICE:RATE")]
    device_write_iops: Vec<String>,
}

/// What belongs to the making of a container.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Limits")]
pub struct CgroupArgs {
    /// A file of the container's cgroup, as in memory.high=1073741824
    #[arg(long, value_name = "FILE=TEXT")]
    cgroup_conf: Vec<String>,
    /// Where the container's cgroup is: a slice of systemd, or the path of a cgroup
    #[arg(long, value_name = "PARENT")]
    cgroup_parent: Option<String>,
    /// Cgroup namespace to use: private, host, container:NAME, ns:PATH
    #[arg(long, value_name = "MODE")]
    cgroupns: Option<String>,
    /// Whether the container has a cgroup: enabled, disabled, split (below the one that rbox is in) [default: enabled]
    #[arg(long, value_name = "WHETHER")]
    cgroups: Option<String>,
    /// What becomes of limits that cannot be enforced: enforce (nothing runs), best-effort (a warning)
    /// [default: enforce]
    #[arg(long, value_name = "POLICY")]
    limits: Option<String>,
    #[arg(long, hide = true, value_name = "SWAPPINESS", allow_hyphen_values = true)]
    memory_swappiness: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    oom_kill_disable: Option<String>,
    #[arg(long, hide = true, value_name = "SIZE")]
    kernel_memory: Option<String>,
    #[arg(long, hide = true, value_name = "RULE")]
    device_cgroup_rule: Vec<String>,
    #[arg(long, hide = true, value_name = "MICROSECONDS")]
    cpu_rt_period: Option<String>,
    #[arg(long, hide = true, value_name = "MICROSECONDS")]
    cpu_rt_runtime: Option<String>,
    #[arg(long, hide = true, value_name = "DEVICE:WEIGHT")]
    blkio_weight_device: Vec<String>,
}

impl LimitArgs {
    /// Reads them. What was not typed stays as it is.
    pub fn read(&self, limits: &mut Limits) -> Result<()> {
        fn set<T>(place: &mut Option<T>, value: Option<T>) {
            if value.is_some() {
                *place = value;
            }
        }
        let some = |value: i64| Some(value).filter(|value| *value != 0);
        if let Some(memory) = one("--memory", &self.memory, limits::bytes)? {
            limits.memory = some(memory);
        }
        let reservation = |text: &str| Ok(i64::try_from(size::parse(text)?).unwrap_or(i64::MAX));
        if let Some(bytes) = one("--memory-reservation", &self.memory_reservation, reservation)? {
            limits.reservation = some(bytes);
        }
        if let Some(swap) = one("--memory-swap", &self.memory_swap, limits::bytes)? {
            limits.swap = some(swap);
        }
        set(&mut limits.pids, one("--pids-limit", &self.pids_limit, |text| number(text, -1, i64::from(i32::MAX)))?);
        if let Some(cpus) = one("--cpus", &self.cpus, limits::cpus)? {
            limits.cpus = Some(cpus).filter(|cpus| *cpus != 0);
        }
        if let Some(quota) = one("--cpu-quota", &self.cpu_quota, limits::quota)? {
            limits.quota = some(quota);
        }
        if let Some(period) = one("--cpu-period", &self.cpu_period, limits::period)? {
            limits.period = Some(period).filter(|period| *period != 0);
        }
        if let Some(shares) = one("--cpu-shares", &self.cpu_shares, |text| number(text, 0, u64::MAX))? {
            limits.shares = Some(shares).filter(|shares| *shares != 0);
        }
        if let Some(cpus) = one("--cpuset-cpus", &self.cpuset_cpus, limits::set)? {
            limits.cpuset_cpus = cpus;
        }
        if let Some(nodes) = one("--cpuset-mems", &self.cpuset_mems, limits::set)? {
            limits.cpuset_mems = nodes;
        }
        if let Some(weight) = one("--blkio-weight", &self.blkio_weight, limits::blkio_weight)? {
            limits.blkio_weight = Some(weight).filter(|weight| *weight != 0);
        }
        for (option, texts, kind) in [
            ("--device-read-bps", &self.device_read_bps, RateKind::ReadBytes),
            ("--device-write-bps", &self.device_write_bps, RateKind::WriteBytes),
            ("--device-read-iops", &self.device_read_iops, RateKind::Reads),
            ("--device-write-iops", &self.device_write_iops, RateKind::Writes),
        ] {
            for rate in each(option, texts, |text| limits::rate(text, kind))? {
                limits.rates.retain(|other| (&other.path, other.kind) != (&rate.path, rate.kind));
                limits.rates.push(rate);
            }
        }
        limits.check()
    }
}

impl CgroupArgs {
    /// Reads them.
    pub fn read(&self, options: &mut Options) -> Result<()> {
        self.refuse()?;
        options.limits.conf = each("--cgroup-conf", &self.cgroup_conf, limits::conf)?;
        options.limits.best_effort = one("--limits", &self.limits, limits::policy)?.unwrap_or(false);
        options.cgroups = one("--cgroups", &self.cgroups, limits::cgroups)?.unwrap_or_default();
        let parent = self.cgroup_parent.clone().filter(|parent| !parent.is_empty());
        options.cgroup_parent = one("--cgroup-parent", &parent, limits::parent)?;
        options.cgroupns = one("--cgroupns", &self.cgroupns, namespace::uts)?.unwrap_or_default();
        Ok(())
    }

    /// What cgroup v2 does not have. docker's own "nothing" is accepted.
    fn refuse(&self) -> Result<()> {
        let swappiness = self.memory_swappiness.as_deref().filter(|text| !matches!(*text, "-1" | ""));
        let zero = |text: &Option<String>| text.clone().filter(|text| text != "0");
        let all = [
            (
                "--memory-swappiness",
                swappiness.is_some(),
                "cgroup v2 has no such thing: --cgroup-conf memory.swap.max=…",
            ),
            (
                "--oom-kill-disable",
                self.oom_kill_disable.as_deref().is_some_and(|text| text != "false"),
                "cgroup v2 has no such thing: --cgroup-conf memory.high=… slows a container down instead",
            ),
            (
                "--kernel-memory",
                zero(&self.kernel_memory).is_some(),
                "since Linux 5.4 there is no such limit: --memory counts it",
            ),
            (
                "--device-cgroup-rule",
                !self.device_cgroup_rule.is_empty(),
                "needs root on the host; a container has the devices of --device alone",
            ),
            ("--cpu-rt-period", zero(&self.cpu_rt_period).is_some(), "cgroup v2 has no such thing"),
            ("--cpu-rt-runtime", zero(&self.cpu_rt_runtime).is_some(), "cgroup v2 has no such thing"),
            (
                "--blkio-weight-device",
                !self.blkio_weight_device.is_empty(),
                "--cgroup-conf io.weight='MAJOR:MINOR WEIGHT' says the same",
            ),
        ];
        match all.into_iter().find(|(_, is_there, _)| *is_there) {
            Some((option, _, why)) => anyhow::bail!("{option}: {why}"),
            None => Ok(()),
        }
    }
}
