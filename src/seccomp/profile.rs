//! The built-in profile: docker's, without user namespaces and foreign architectures. `default.profile` has the text
//! and the reasons.

use super::compile::Error;
use super::filter::{Action, Arch, Filter, Instruction};
use super::syscalls::TABLES;

use super::capability;
pub use super::group::Group;

mod built {
    //! What the build script made of `default.profile`.

    use crate::seccomp::filter::{Action, Condition, Instruction, Op};
    use crate::seccomp::group::{Gate, Group};

    include!(concat!(env!("OUT_DIR"), "/seccomp_profile.rs"));
}

/// The profile compiled for a container with [`capability::DEFAULT`] and the native architecture alone.
pub static DEFAULT_PROGRAM: &[Instruction] = built::DEFAULT_PROGRAM;

/// What the profile says about one container.
#[derive(Debug, Clone)]
pub struct Profile {
    /// For calls that no group decides.
    pub default: Action,
    /// The architectures that are let in, the native one first.
    pub arches: Vec<Arch>,
    /// What is said about single calls. The first group is the largest, all calls that are allowed to everybody.
    pub groups: Vec<&'static Group<'static>>,
}

/// The profile for a container with these capabilities in its bounding set, a bit for each number, on a machine of this
/// architecture, with the others that are to be let in.
pub fn resolve(caps: u64, native: Arch, extra: &[Arch]) -> Profile {
    let mut arches = vec![native];
    for arch in extra {
        if !arches.contains(arch) {
            arches.push(*arch);
        }
    }
    let groups = built::GROUPS.iter().filter(|group| group.gate.opens(caps, native)).collect();
    Profile { default: built::DEFAULT, arches, groups }
}

/// The program for the same, if it was made beforehand: for the default capabilities, for none, and for all sets that
/// the profile does not tell from these.
pub fn prebuilt(caps: u64, native: Arch, extra: &[Arch]) -> Option<&'static [Instruction]> {
    if Some(native) != Arch::NATIVE || extra.iter().any(|arch| *arch != native) {
        return None;
    }
    match caps & built::CAPS_THAT_MATTER {
        caps if caps == capability::DEFAULT & built::CAPS_THAT_MATTER => Some(built::DEFAULT_PROGRAM),
        0 => Some(built::NO_CAPS_PROGRAM),
        _ => None,
    }
}

impl Profile {
    /// The filter that this is.
    pub fn filter(&self) -> Filter<'static> {
        super::group::filter(self.default, self.arches.clone(), self.groups.iter().copied(), &TABLES)
    }

    /// Its program.
    pub fn compile(&self) -> Result<Vec<Instruction>, Error> {
        super::compile(&self.filter()).map(|compiled| compiled.program)
    }
}

impl Group<'static> {
    /// The names of its system calls.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &'static str> + Clone {
        self.indices.iter().map(|index| TABLES.name(*index).unwrap_or_default())
    }
}
