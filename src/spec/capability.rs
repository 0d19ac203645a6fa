//! The capabilities of a container, from the options.

use super::options::Options;
use crate::runtime::capability::KINDS;
use crate::seccomp::capability::{DEFAULT, EVERY, NAMES, number};
use anyhow::{Result, bail};
use oci_spec::runtime::{Capabilities, LinuxCapabilities};

/// Stands for every capability in `--cap-add` and `--cap-drop`.
pub const ALL: &str = "ALL";

/// Reads a name of `--cap-add` or `--cap-drop` in any case, with or without `CAP_`, or `ALL`.
pub fn parse(text: &str) -> Result<String> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if name != ALL && number(name).is_none() {
        bail!("unknown capability");
    }
    Ok(name.to_owned())
}

/// The name without `CAP_` of a number.
fn name(number: u32) -> Option<&'static str> {
    NAMES.get(number as usize).copied()
}

/// The capabilities that the options come to, a bit for each number.
///
/// docker's rules (moby, `daemon/pkg/oci/caps/utils.go`): an addition beats a removal; after `--cap-drop ALL` only the
/// additions are left; after `--cap-add ALL` only the removals are missing. Unlike docker, `--privileged` counts as
/// `--cap-add ALL`, so that removals beside it are not lost.
pub fn wanted(options: &Options, bounding: u64) -> Result<u64> {
    let has_all = |names: &[String]| names.iter().any(|name| name == ALL);
    let dropped = bits("--cap-drop", &options.cap_drop)?;
    let added = bits("--cap-add", &options.cap_add)?;
    let missing = added & !bounding;
    if let Some(name) = (0..64).find(|number| missing >> number & 1 == 1).and_then(name) {
        bail!("--cap-add {name}: the bounding set of this session lacks it, so no container can have it");
    }
    let start = match (options.privileged || has_all(&options.cap_add), has_all(&options.cap_drop)) {
        (true, true) if !has_all(&options.cap_add) => 0,
        (true, _) => EVERY,
        (false, true) => 0,
        (false, false) => DEFAULT,
    };
    Ok((start & !dropped | added) & bounding)
}

fn bits(option: &str, names: &[impl AsRef<str>]) -> Result<u64> {
    let mut bits = 0;
    for name in names.iter().map(AsRef::as_ref).filter(|name| *name != ALL) {
        let Some(number) = number(name) else { bail!("{option} {name}: unknown capability") };
        bits |= 1 << number;
    }
    Ok(bits)
}

/// The sets of the first process.
///
/// What execve(2) gives root is all there is; nobody else gets more than the bound, as in docker. The inheritable and
/// ambient sets are empty: with inheritable capabilities a program with file capabilities gains them for any user
/// (CVE-2022-29162).
pub fn sets(bits: u64, uid: u32) -> LinuxCapabilities {
    let all: Capabilities =
        KINDS.iter().enumerate().filter(|(n, _)| bits >> n & 1 == 1).map(|(_, capability)| *capability).collect();
    let active = if uid == 0 { all.clone() } else { Capabilities::new() };
    let mut sets = LinuxCapabilities::default();
    sets.set_effective(Some(active.clone()))
        .set_permitted(Some(active))
        .set_bounding(Some(all))
        .set_inheritable(Some(Capabilities::new()))
        .set_ambient(Some(Capabilities::new()));
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(bits: u64) -> Vec<&'static str> {
        (0..41).filter(|n| bits >> n & 1 == 1).filter_map(name).collect()
    }

    fn want(add: &[&str], drop: &[&str], privileged: bool, bounding: u64) -> Result<u64> {
        let list = |names: &[&str]| names.iter().map(|n| parse(n).expect("known")).collect();
        let options = Options { cap_add: list(add), cap_drop: list(drop), privileged, ..Options::default() };
        wanted(&options, bounding)
    }

    #[test]
    fn numbers_are_the_kernels() {
        for (name, number) in [("CHOWN", 0), ("SYS_ADMIN", 21), ("SETFCAP", 31), ("CHECKPOINT_RESTORE", 40)] {
            assert_eq!((super::number(name), super::name(number)), (Some(number), Some(name)));
        }
        assert!(NAMES.iter().zip(KINDS).all(|(name, capability)| capability.to_string() == *name));
        assert_eq!(name(41), None);
    }

    #[test]
    fn names_in_any_form() {
        for text in ["net_admin", "CAP_NET_ADMIN", "cap_Net_Admin"] {
            assert_eq!(parse(text).expect("known"), "NET_ADMIN");
        }
        assert_eq!(parse("all").expect("known"), ALL);
        assert_eq!(parse("NET").expect_err("unknown").to_string(), "unknown capability");
        assert!(parse("CAP_CAP_CHOWN").is_err());
    }

    #[test]
    fn additions_and_removals() {
        let defaults = want(&[], &[], false, EVERY).expect("defaults");
        assert_eq!((defaults, names(defaults).len()), (0xa804_25fb, 14));
        assert_eq!(want(&[], &["all"], false, EVERY).expect("none"), 0);
        assert_eq!(names(want(&["kill"], &["all"], false, EVERY).expect("one")), ["KILL"]);
        assert_eq!(want(&["all"], &["kill"], false, EVERY).expect("most"), EVERY & !(1 << 5));
        assert_eq!(want(&["all"], &["all"], false, EVERY).expect("every"), EVERY);
        assert_eq!(want(&["kill"], &["kill"], false, EVERY).expect("addition wins"), defaults);
        assert_eq!(want(&[], &[], true, EVERY).expect("every"), EVERY);
        assert_eq!(want(&[], &["kill"], true, EVERY).expect("most"), EVERY & !(1 << 5));
        assert_eq!(names(want(&["kill"], &["all"], true, EVERY).expect("one")), ["KILL"]);
    }

    #[test]
    fn the_bound_takes_silently_what_nobody_named() {
        let bound = EVERY & !(1 << 27);
        assert_eq!(want(&[], &[], true, bound).expect("the rest"), bound);
        assert!(!names(want(&[], &[], false, bound).expect("the rest")).contains(&"MKNOD"));
        let error = want(&["mknod"], &[], false, bound).expect_err("out of bounds").to_string();
        assert_eq!(error, "--cap-add MKNOD: the bounding set of this session lacks it, so no container can have it");
    }

    #[test]
    fn only_root_has_active_ones() {
        let root = sets(1 << 5, 0);
        let user = sets(1 << 5, 1000);
        let count = |set: &Option<Capabilities>| set.as_ref().map_or(99, Capabilities::len);
        assert_eq!([count(root.effective()), count(root.permitted()), count(root.bounding())], [1, 1, 1]);
        assert_eq!([count(user.effective()), count(user.permitted()), count(user.bounding())], [0, 0, 1]);
        assert_eq!([count(root.inheritable()), count(root.ambient())], [0, 0]);
    }
}
