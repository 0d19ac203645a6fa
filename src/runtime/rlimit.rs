//! Resource limits of the payload (getrlimit(2)).

use crate::error::Advise;
use crate::sys::process;
use anyhow::{Context, Result};
use linux_raw_sys::general as raw;
use oci_spec::runtime::{PosixRlimit, PosixRlimitType};
use rustix::io::Errno;

/// Sets one limit for this process and what comes from it.
pub fn set(limit: &PosixRlimit) -> Result<()> {
    let (resource, name) = resource(limit.typ());
    match process::set_rlimit(resource, limit.soft(), limit.hard(), name) {
        Err(error) if error.errno == Errno::PERM => {
            let most = process::hard_limit(resource)?;
            Err(error).hint(|| format!("without root a hard limit can only go down; yours for {name} is {most}"))
        }
        result => Ok(result?),
    }
    .with_context(|| format!("ulimit {name}"))
}

/// The kernel's number and the name that ulimit options use.
pub fn resource(kind: PosixRlimitType) -> (u32, &'static str) {
    use PosixRlimitType as T;
    match kind {
        T::RlimitCpu => (raw::RLIMIT_CPU, "cpu"),
        T::RlimitFsize => (raw::RLIMIT_FSIZE, "fsize"),
        T::RlimitData => (raw::RLIMIT_DATA, "data"),
        T::RlimitStack => (raw::RLIMIT_STACK, "stack"),
        T::RlimitCore => (raw::RLIMIT_CORE, "core"),
        T::RlimitRss => (raw::RLIMIT_RSS, "rss"),
        T::RlimitNproc => (raw::RLIMIT_NPROC, "nproc"),
        T::RlimitNofile => (raw::RLIMIT_NOFILE, "nofile"),
        T::RlimitMemlock => (raw::RLIMIT_MEMLOCK, "memlock"),
        T::RlimitAs => (raw::RLIMIT_AS, "as"),
        T::RlimitLocks => (raw::RLIMIT_LOCKS, "locks"),
        T::RlimitSigpending => (raw::RLIMIT_SIGPENDING, "sigpending"),
        T::RlimitMsgqueue => (raw::RLIMIT_MSGQUEUE, "msgqueue"),
        T::RlimitNice => (raw::RLIMIT_NICE, "nice"),
        T::RlimitRtprio => (raw::RLIMIT_RTPRIO, "rtprio"),
        T::RlimitRttime => (raw::RLIMIT_RTTIME, "rttime"),
    }
}
