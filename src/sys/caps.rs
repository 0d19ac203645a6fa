//! Capability sets of this process (capabilities(7)).

use super::{Named, Result};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets};

/// Bit n is capability number n.
pub type Mask = u64;

/// The sets that rbox gives to a payload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sets {
    /// What execve can give at most.
    pub bounding: Mask,
    /// What is in force.
    pub effective: Mask,
    /// What can be put in force.
    pub permitted: Mask,
    /// Kept over execve together with the file's. Docker and podman leave it empty since CVE-2022-29162.
    pub inheritable: Mask,
    /// Kept over execve by programs without file capabilities; needs inheritable and permitted.
    pub ambient: Mask,
}

/// Drops from the bounding set all that `keep` does not have. A new user namespace starts with all that the kernel
/// knows, whatever its maker had (user_namespaces(7)).
pub fn limit_bounding(keep: Mask) -> Result<()> {
    for number in (0..64).filter(|number| keep & (1 << number) == 0) {
        match rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            // The first number that this kernel does not know.
            Err(Errno::INVAL) => break,
            result => result.named(|| format!("prctl(CAPBSET_DROP, {number})"))?,
        }
    }
    Ok(())
}

/// Sets the other four. The bounding set must be limited before, while CAP_SETPCAP is still there.
pub fn set(sets: &Sets) -> Result<()> {
    rustix::thread::clear_ambient_capability_set().named(|| "prctl(CAP_AMBIENT_CLEAR_ALL)".to_owned())?;
    let wanted = CapabilitySets {
        effective: CapabilitySet::from_bits_retain(sets.effective),
        permitted: CapabilitySet::from_bits_retain(sets.permitted),
        inheritable: CapabilitySet::from_bits_retain(sets.inheritable),
    };
    rustix::thread::set_capabilities(None, wanted).named(|| format!("capset({:#x})", sets.permitted))?;
    // The kernel takes no other (capabilities(7)); what cannot be granted is no error (runtime-spec config.md).
    let ambient = sets.ambient & sets.permitted & sets.inheritable;
    for number in (0..64).filter(|number| ambient & (1 << number) != 0) {
        rustix::thread::configure_capability_in_ambient_set(CapabilitySet::from_bits_retain(1 << number), true)
            .named(|| format!("prctl(CAP_AMBIENT_RAISE, {number})"))?;
    }
    Ok(())
}

/// Keeps the permitted set when the user id changes from 0 to another (prctl(2), PR_SET_KEEPCAPS).
pub fn keep_over_setuid(keep: bool) -> Result<()> {
    rustix::thread::set_keep_capabilities(keep).named(|| "prctl(KEEPCAPS)".to_owned())
}

/// Makes all that is permitted effective; what a change of the user id took away comes back.
pub fn raise_permitted() -> Result<()> {
    let mut sets = rustix::thread::capabilities(None).named(|| "capget".to_owned())?;
    sets.effective = sets.permitted;
    rustix::thread::set_capabilities(None, sets).named(|| "capset(effective)".to_owned())
}
