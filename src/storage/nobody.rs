//! Tells the files of nobody (65534) from those of ids that are not mapped, which the kernel shows as the same id
//! (user_namespaces(7), "Unmapped user and group IDs").

use crate::userns::idmap::{IdMap, IdMaps, IdRange};

/// The kernel's usual overflow id.
const OVERFLOW: u32 = 65534;

/// How ids that a process sees in a namespace made with [`apart`] are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nobody {
    uid: Reading,
    gid: Reading,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reading {
    /// What ids that are not mapped look like.
    overflow: u32,
    /// What the id that is also the overflow id looks like, if it is mapped.
    stand_in: Option<u32>,
}

/// The same maps with another inner id for what would look like an id that is not mapped.
pub fn apart(maps: &IdMaps) -> (IdMaps, Nobody) {
    let (uid, of_uid) = one(&maps.uid, overflow("/proc/sys/kernel/overflowuid"));
    let (gid, of_gid) = one(&maps.gid, overflow("/proc/sys/kernel/overflowgid"));
    (IdMaps { uid, gid }, Nobody { uid: of_uid, gid: of_gid })
}

impl Nobody {
    /// The owner and the group of the container that two ids stand for; `None` where one is not mapped.
    pub fn ids(&self, uid: u32, gid: u32) -> Option<(u32, u32)> {
        Some((self.uid.id(uid)?, self.gid.id(gid)?))
    }
}

impl Reading {
    fn id(self, seen: u32) -> Option<u32> {
        match self.stand_in {
            _ if seen == self.overflow => None,
            Some(stand_in) if seen == stand_in => Some(self.overflow),
            _ => Some(seen),
        }
    }
}

fn overflow(file: &str) -> u32 {
    fs_err::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(OVERFLOW)
}

fn one(map: &IdMap, overflow: u32) -> (IdMap, Reading) {
    let nothing_to_do = (map.clone(), Reading { overflow, stand_in: None });
    let Some(outside) = map.outside(overflow) else { return nothing_to_do };
    // The first number that no range has; the overflow id itself is in one.
    let mut stand_in = 0;
    for range in map.ranges() {
        if range.inside > stand_in {
            break;
        }
        stand_in = range.inside + range.count;
    }
    let mut ranges = vec![IdRange { inside: stand_in, outside, count: 1 }];
    for range in map.ranges() {
        let end = range.inside + range.count;
        if !(range.inside..end).contains(&overflow) {
            ranges.push(*range);
            continue;
        }
        let before = overflow - range.inside;
        let after = end - overflow - 1;
        let pieces = [
            IdRange { count: before, ..*range },
            IdRange { inside: overflow + 1, outside: range.outside + before + 1, count: after },
        ];
        ranges.extend(pieces.into_iter().filter(|piece| piece.count > 0));
    }
    match IdMap::new(ranges) {
        Ok(map) => (map, Reading { overflow, stand_in: Some(stand_in) }),
        // Too many ranges for the kernel: then whatever looks like nobody's is nobody's.
        Err(_) => (map.clone(), Reading { overflow: u32::MAX, stand_in: None }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(ranges: &[(u32, u32, u32)]) -> IdMap {
        let range = |&(inside, outside, count)| IdRange { inside, outside, count };
        IdMap::new(ranges.iter().map(range).collect()).expect("valid")
    }

    #[test]
    fn nobody_and_the_unmapped_look_different() {
        for (given, made) in [
            (map(&[(0, 1000, 1)]), None),
            (
                map(&[(0, 1000, 1), (1, 100_000, 65536)]),
                Some(map(&[(0, 1000, 1), (1, 100_000, 65533), (65535, 165_534, 2), (65537, 165_533, 1)])),
            ),
            (map(&[(65534, 1000, 1)]), Some(map(&[(0, 1000, 1)]))),
            (map(&[(0, 5, 10), (65534, 100, 2)]), Some(map(&[(0, 5, 10), (10, 100, 1), (65535, 101, 1)]))),
        ] {
            let (map, reading) = one(&given, OVERFLOW);
            assert_eq!(&map, made.as_ref().unwrap_or(&given));
            assert_eq!(map.outside(OVERFLOW), None, "it stands for nothing else");
            assert_eq!(reading.id(OVERFLOW), None);
            // Every id of the host is the same one of the container as before.
            for outside in given.ranges().iter().flat_map(|range| range.outside..range.outside + range.count) {
                let seen = map.inside(outside).expect("mapped");
                assert_eq!(reading.id(seen), given.inside(outside));
            }
        }
    }

    #[test]
    fn with_too_many_ranges_nobody_is_believed() {
        let ranges: Vec<_> = (0..340).map(|number| (number * 1000, number * 1000, 700)).collect();
        let given = map(&ranges);
        assert!(given.outside(OVERFLOW).is_some());
        let (map, reading) = one(&given, OVERFLOW);
        assert_eq!((map, reading.id(OVERFLOW)), (given, Some(OVERFLOW)));
    }
}
