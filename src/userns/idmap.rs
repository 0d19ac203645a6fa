//! Arithmetic of id maps, as user_namespaces(7) defines them. No I/O.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// The kernel takes this many lines in uid_map (4.15 and later).
pub const MAX_RANGES: usize = 340;

/// `count` ids from `inside` on stand for the host's ids from `outside` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// First id in the container.
    pub inside: u32,
    /// First id on the host.
    pub outside: u32,
    /// How many, at least 1.
    pub count: u32,
}

/// The map of user or group ids of one namespace, sorted by the inner id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap(Vec<IdRange>);

impl IdMap {
    /// Sorts the ranges and checks what the kernel would refuse with a bare EINVAL: overlaps on either side, empty
    /// ranges, ends beyond 2^32 - 2 (the id 2^32 - 1 means "none"), more than 340 lines.
    pub fn new(mut ranges: Vec<IdRange>) -> Result<IdMap> {
        if ranges.is_empty() {
            bail!("id map: no ids");
        }
        if ranges.len() > MAX_RANGES {
            bail!("id map: {} ranges, the kernel takes {MAX_RANGES}", ranges.len());
        }
        for range in &ranges {
            let last = |first: u32| u64::from(first) + u64::from(range.count);
            if range.count == 0 || last(range.inside).max(last(range.outside)) > u64::from(u32::MAX) {
                bail!("id map: range {range} is empty or ends beyond the last id");
            }
        }
        let overlap = |first: fn(&IdRange) -> u32, ranges: &[IdRange]| {
            ranges
                .windows(2)
                .find(|pair| first(&pair[0]) + pair[0].count > first(&pair[1]))
                .map(|pair| (pair[0], pair[1]))
        };
        ranges.sort_by_key(|range| range.outside);
        let outside = overlap(|range| range.outside, &ranges);
        ranges.sort_by_key(|range| range.inside);
        if let Some((a, b)) = outside.or_else(|| overlap(|range| range.inside, &ranges)) {
            bail!("id map: ranges {a} and {b} overlap");
        }
        Ok(IdMap(ranges))
    }

    /// One id only, as a process may map by itself.
    pub fn single(inside: u32, outside: u32) -> IdMap {
        IdMap(vec![IdRange { inside, outside, count: 1 }])
    }

    /// The ranges, sorted by the inner id.
    pub fn ranges(&self) -> &[IdRange] {
        &self.0
    }

    /// The host's id for an inner one.
    pub fn outside(&self, inside: u32) -> Option<u32> {
        self.0
            .iter()
            .find(|range| inside >= range.inside && inside - range.inside < range.count)
            .map(|range| range.outside + (inside - range.inside))
    }

    /// The inner id for one of the host.
    pub fn inside(&self, outside: u32) -> Option<u32> {
        self.0
            .iter()
            .find(|range| outside >= range.outside && outside - range.outside < range.count)
            .map(|range| range.inside + (outside - range.outside))
    }

    /// The same ids as a namespace inside another one calls them, which has `parent`: extent by extent, since one may not span
    /// two of the parent's (user_namespaces(7)).
    ///
    /// # Errors
    /// An id is not the parent's.
    pub fn within(&self, parent: &IdMap) -> Result<IdMap> {
        let mut ranges = Vec::new();
        for range in &self.0 {
            let mut done = 0;
            while done < range.count {
                let outside = range.outside + done;
                let of_parent =
                    parent.0.iter().find(|there| outside >= there.outside && outside - there.outside < there.count);
                let Some(there) = of_parent else {
                    bail!("id map: {outside} is not in the user namespace around: {parent}")
                };
                let skipped = outside - there.outside;
                let count = (range.count - done).min(there.count - skipped);
                ranges.push(IdRange { inside: range.inside + done, outside: there.inside + skipped, count });
                done += count;
            }
        }
        IdMap::new(ranges)
    }

    /// True if nobody but `id` of the host is mapped: such a map the process may write by itself.
    pub fn is_only(&self, id: u32) -> bool {
        matches!(self.0.as_slice(), [range] if range.count == 1 && range.outside == id)
    }
}

impl std::fmt::Display for IdRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.inside, self.outside, self.count)
    }
}

impl std::fmt::Display for IdMap {
    /// As people read it: `0-65536` or `0, 1000-1005`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut spans: Vec<(u32, u32)> = Vec::new();
        for range in &self.0 {
            let end = range.inside + (range.count - 1);
            match spans.last_mut() {
                Some(last) if last.1 + 1 == range.inside => last.1 = end,
                _ => spans.push((range.inside, end)),
            }
        }
        for (n, (first, last)) in spans.iter().enumerate() {
            let comma = if n > 0 { ", " } else { "" };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

/// The two maps of one user namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMaps {
    /// User ids.
    pub uid: IdMap,
    /// Group ids.
    pub gid: IdMap,
}

impl IdMaps {
    /// Both [`IdMap::within`] those of the namespace around.
    pub fn within(&self, parent: &IdMaps) -> Result<IdMaps> {
        Ok(IdMaps { uid: self.uid.within(&parent.uid)?, gid: self.gid.within(&parent.gid)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(ranges: &[(u32, u32, u32)]) -> IdMap {
        let all = ranges.iter().map(|&(inside, outside, count)| IdRange { inside, outside, count });
        IdMap::new(all.collect()).unwrap()
    }

    #[test]
    fn a_map_inside_another_namespace() {
        let usual = map(&[(0, 1001, 1), (1, 100_000, 65_536)]);
        assert_eq!(usual.within(&usual).unwrap(), map(&[(0, 0, 1), (1, 1, 65_536)]));
        // keep-id
        let kept = map(&[(0, 100_000, 1001), (1001, 1001, 1), (1002, 101_001, 64_535)]);
        assert_eq!(kept.within(&usual).unwrap(), map(&[(0, 1, 1001), (1001, 0, 1), (1002, 1002, 64_535)]));
        // nomap
        assert_eq!(map(&[(0, 100_000, 65_536)]).within(&usual).unwrap(), map(&[(0, 1, 65_536)]));
        assert_eq!(IdMap::single(0, 1001).within(&usual).unwrap(), IdMap::single(0, 0));
        assert_eq!(IdMap::single(7, 1001).within(&IdMap::single(0, 1001)).unwrap(), IdMap::single(7, 0));
        assert!(usual.within(&IdMap::single(0, 1001)).is_err());
        // Neighbours on the host are not always neighbours there.
        let split = map(&[(0, 10, 5), (100, 15, 5)]);
        assert_eq!(map(&[(0, 12, 6)]).within(&split).unwrap(), map(&[(0, 2, 3), (3, 100, 3)]));
    }
}
