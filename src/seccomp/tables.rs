//! System call tables: from a name to its number on each architecture and back.
//!
//! There are no pointers in them, only one text and indices: nothing for a loader to relocate. A name has an index (in
//! the order of names) that all architectures share, so a filter for three of them looks a name up once.

use super::filter::Arch;

/// The number of a call that an architecture does not have.
pub const NONE: u32 = u32::MAX;

/// The tables of all architectures.
#[derive(Debug, Clone, Copy)]
pub struct Tables<'a> {
    /// All names in order, one after the other.
    pub text: &'a str,
    /// Where each name begins in `text`; then, as the last, where `text` ends.
    pub starts: &'a [u16],
    /// For each [`Arch`] the number of each name, or [`u32::MAX`].
    pub numbers: [&'a [u32]; Arch::ALL.len()],
    /// For each [`Arch`] the indices of the names that it has, in the order of their numbers.
    pub by_number: [&'a [u16]; Arch::ALL.len()],
    /// For each [`Arch`] the newest call's number. Those of the special ranges are not meant: arm's private calls and
    /// x32's own.
    pub newest: [u32; Arch::ALL.len()],
}

impl<'a> Tables<'a> {
    /// The name at an index.
    pub fn name(&self, index: u16) -> Option<&'a str> {
        let index = usize::from(index);
        let range = usize::from(*self.starts.get(index)?)..usize::from(*self.starts.get(index + 1)?);
        self.text.get(range)
    }

    /// The index of a name.
    pub fn index(&self, name: &str) -> Option<u16> {
        let (mut low, mut high) = (0, self.starts.len().saturating_sub(1));
        while low < high {
            let middle = low.midpoint(high);
            let index = u16::try_from(middle).ok()?;
            match self.name(index)?.cmp(name) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(index),
            }
        }
        None
    }

    /// The number of the name at an index, x32's with its bit.
    pub fn number(&self, arch: Arch, index: u16) -> Option<u32> {
        self.numbers[arch as usize].get(usize::from(index)).copied().filter(|number| *number != NONE)
    }

    /// The index of the name that has a number.
    pub fn index_of_number(&self, arch: Arch, number: u32) -> Option<u16> {
        let indices = self.by_number[arch as usize];
        let found = indices.binary_search_by_key(&Some(number), |index| self.number(arch, *index)).ok()?;
        indices.get(found).copied()
    }

    /// All numbers above the newest that are calls nevertheless, in order.
    pub fn special(&self, arch: Arch) -> impl Iterator<Item = u32> {
        let numbers = self.by_number[arch as usize].iter().rev().filter_map(move |index| self.number(arch, *index));
        let special: Vec<u32> = numbers.take_while(|number| *number > self.newest[arch as usize]).collect();
        special.into_iter().rev()
    }
}
