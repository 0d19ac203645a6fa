//! The parts of the built-in profile, and which of them apply to a container.

use super::filter::{Action, Arch, Condition, Filter, Rule, Syscall};
use super::tables::Tables;

/// System calls with the same fate.
#[derive(Debug, Clone, Copy)]
pub struct Group<'a> {
    /// The indices of their names in the tables.
    pub(super) indices: &'a [u16],
    /// What happens to them.
    pub action: Action,
    /// If all of these hold.
    pub conditions: &'a [Condition],
    /// For which containers that is so.
    pub(super) gate: Gate,
}

/// For which containers a group applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gate {
    /// The container has all of these capabilities.
    pub with: u64,
    /// And none of these.
    pub without: u64,
    /// And its native architecture is one of these, a bit for each discriminant; 0: any.
    pub arches: u8,
}

impl Gate {
    /// Whether it lets this container in.
    pub const fn opens(&self, caps: u64, native: Arch) -> bool {
        caps & self.with == self.with
            && caps & self.without == 0
            && (self.arches == 0 || self.arches >> native as u8 & 1 == 1)
    }
}

/// The filter that groups make, all of which apply.
pub fn filter<'a>(
    default: Action,
    arches: Vec<Arch>,
    groups: impl Iterator<Item = &'a Group<'a>>,
    tables: &Tables<'a>,
) -> Filter<'a> {
    let mut filter = Filter::new(default, arches);
    for group in groups {
        filter.rules.extend(group.indices.iter().filter_map(|index| tables.name(*index)).map(|name| Rule {
            syscall: Syscall::Name(name),
            action: group.action,
            conditions: group.conditions.to_vec(),
        }));
    }
    filter
}
