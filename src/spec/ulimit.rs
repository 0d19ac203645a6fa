//! `--ulimit NAME=SOFT[:HARD]` (docker/go-units, `ulimit.go`), with the names of getrlimit(2).

use super::options::Ulimit;
use anyhow::{Context, Result, bail};
use oci_spec::runtime::{PosixRlimit, PosixRlimitBuilder, PosixRlimitType};

/// The kernel's 16 limits.
const NAMES: [(&str, PosixRlimitType); 16] = [
    ("as", PosixRlimitType::RlimitAs),
    ("core", PosixRlimitType::RlimitCore),
    ("cpu", PosixRlimitType::RlimitCpu),
    ("data", PosixRlimitType::RlimitData),
    ("fsize", PosixRlimitType::RlimitFsize),
    ("locks", PosixRlimitType::RlimitLocks),
    ("memlock", PosixRlimitType::RlimitMemlock),
    ("msgqueue", PosixRlimitType::RlimitMsgqueue),
    ("nice", PosixRlimitType::RlimitNice),
    ("nofile", PosixRlimitType::RlimitNofile),
    ("nproc", PosixRlimitType::RlimitNproc),
    ("rss", PosixRlimitType::RlimitRss),
    ("rtprio", PosixRlimitType::RlimitRtprio),
    ("rttime", PosixRlimitType::RlimitRttime),
    ("sigpending", PosixRlimitType::RlimitSigpending),
    ("stack", PosixRlimitType::RlimitStack),
];

/// Reads one `--ulimit`. -1 and `unlimited` are no limit; without a hard limit it is the soft one.
pub fn parse(text: &str) -> Result<Ulimit> {
    let Some((name, values)) = text.split_once('=') else { bail!("not of the form NAME=SOFT[:HARD]") };
    let lower = name.to_ascii_lowercase();
    let name = lower.strip_prefix("rlimit_").unwrap_or(&lower);
    kind(name)?;
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let (soft, hard) = (value(soft)?, value(hard)?);
    if soft > hard {
        bail!("the soft limit must be less than or equal to the hard limit");
    }
    Ok(Ulimit { name: name.to_owned(), soft, hard })
}

/// The Spec's form of the limits; the last one of a name counts.
pub fn rlimits(ulimits: &[Ulimit]) -> Result<Vec<PosixRlimit>> {
    let mut limits: Vec<PosixRlimit> = Vec::new();
    for ulimit in ulimits {
        let typ = kind(&ulimit.name).with_context(|| format!("--ulimit {}", ulimit.name))?;
        limits.retain(|known| known.typ() != typ);
        limits.push(rlimit(typ, ulimit.soft, ulimit.hard)?);
    }
    Ok(limits)
}

/// One limit in that form.
pub fn rlimit(kind: PosixRlimitType, soft: u64, hard: u64) -> Result<PosixRlimit> {
    Ok(PosixRlimitBuilder::default().typ(kind).soft(soft).hard(hard).build()?)
}

fn kind(name: &str) -> Result<PosixRlimitType> {
    match NAMES.iter().find(|(known, _)| *known == name) {
        Some((_, kind)) => Ok(*kind),
        None => bail!("{name}: no such limit: {}", NAMES.map(|(name, _)| name).join(", ")),
    }
}

fn value(text: &str) -> Result<u64> {
    match text {
        "-1" | "unlimited" => Ok(u64::MAX),
        _ if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok().context("not a number"),
        _ => bail!("not a number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (text, name, soft, hard) in [
            ("nofile=1024:2048", "nofile", 1024, 2048),
            ("nofile=1024", "nofile", 1024, 1024),
            ("NPROC=-1", "nproc", u64::MAX, u64::MAX),
            ("RLIMIT_CORE=0:unlimited", "core", 0, u64::MAX),
        ] {
            assert_eq!(parse(text).expect(text), Ulimit { name: name.to_owned(), soft, hard });
        }
    }

    #[test]
    fn what_is_refused() {
        for (text, message) in [
            ("nofile", "not of the form NAME=SOFT[:HARD]"),
            ("nofile=x", "not a number"),
            ("nofile=", "not a number"),
            ("nofile=1:", "not a number"),
            ("nofile=+1", "not a number"),
            ("nofile=-2", "not a number"),
            ("nofile=99999999999999999999", "not a number"),
            ("nofile=2:1", "the soft limit must be less than or equal to the hard limit"),
            ("nofile=-1:1", "the soft limit must be less than or equal to the hard limit"),
        ] {
            assert_eq!(parse(text).expect_err(text).to_string(), message, "{text}");
        }
        assert!(parse("files=1").expect_err("no limit").to_string().starts_with("files: no such limit: as, core,"));
    }

    #[test]
    fn the_last_one_counts() {
        let given: Vec<_> = ["core=1", "nofile=2", "core=3"].iter().map(|text| parse(text).expect(text)).collect();
        let limits = rlimits(&given).expect("known");
        assert_eq!(
            limits.iter().map(|limit| (limit.typ(), limit.soft())).collect::<Vec<_>>(),
            [(PosixRlimitType::RlimitNofile, 2), (PosixRlimitType::RlimitCore, 3)]
        );
    }
}
