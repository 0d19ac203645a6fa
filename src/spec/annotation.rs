//! `--label` and `--annotation`, and the annotations by which rbox tells its runtime what the Spec has no field for.

use anyhow::{Result, bail};

/// `"1"`: the runtime runs its own reaper as the first process, which starts the program, passes signals on to it and
/// collects orphans (`--init`). Other runtimes know nothing of it and start the program itself.
pub const INIT: &str = "rbox.init";

/// `"1"`: the caller's supplementary groups stay (`--group-add keep-groups`). The name is crun's.
pub const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

/// Which volumes are mounted where: a JSON object of targets and names. Only rbox itself reads it.
pub const VOLUMES: &str = "rbox.volumes";

/// The kernel parameters that nobody asked for, with spaces between them: a container whose kernel refuses them does without.
pub const USUAL_SYSCTLS: &str = "rbox.sysctl.usual";

/// The processors that it may run on, as in cpuset(7): where no cgroup says so, sched_setaffinity(2) does.
pub use crate::runtime::payload::CPUS;

/// The number of the signal that stops the container (image-spec, `conversion.md`).
pub const STOP_SIGNAL: &str = "org.opencontainers.image.stopSignal";

/// Reads `KEY=VALUE` or, for a label, `KEY`.
pub fn parse(text: &str, needs_value: bool) -> Result<(String, String)> {
    let (key, value) = match text.split_once('=') {
        Some(pair) => pair,
        None if needs_value => bail!("not of the form KEY=VALUE"),
        None => (text, ""),
    };
    if key.is_empty() {
        bail!("no key");
    }
    if key.starts_with("rbox.") {
        bail!("keys that start with rbox. are rbox's own");
    }
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(parse("a=b=c", true).expect("a pair"), pair("a", "b=c"));
        assert_eq!(parse("a", false).expect("a key"), pair("a", ""));
        for text in ["", "=b", "rbox.init=1"] {
            assert!(parse(text, false).is_err(), "{text}");
        }
        assert!(parse("a", true).is_err());
    }
}
