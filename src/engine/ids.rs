//! Which ids a container gets: the caller's wish, laid over what the host allows.

use crate::error::{Advise, Failure};
use crate::paths;
use crate::spec::options::{IdMapRequest, IdMode, Options, Userns};
use crate::userns::idmap::{IdMap, IdMaps, IdRange, MAX_RANGES};
use crate::userns::subid::{self, SubIds, SubRange};
use anyhow::{Context, Result, anyhow, bail};

/// The caller as the host knows it.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
}

impl Caller {
    /// The caller of this process.
    pub fn this() -> Caller {
        Caller { uid: crate::sys::ids::uid(), gid: crate::sys::ids::gid() }
    }
}

/// The maps for a container, and why they have no range if one would have been taken.
#[derive(Debug)]
pub struct Ids {
    /// Both maps.
    pub maps: IdMaps,
    /// What is missing for a range.
    pub missing: Option<anyhow::Error>,
}

/// Finds them.
pub fn ids(options: &Options, caller: Caller) -> Result<Ids> {
    let (subids, missing) = match options.id_mode {
        IdMode::Single => (SubIds::default(), None),
        IdMode::Range => (require_range(caller)?, None),
        // Whatever is missing, the caller's own id always works.
        IdMode::Auto => match require_range(caller) {
            Ok(subids) => (subids, None),
            Err(error) => (SubIds::default(), Some(error)),
        },
    };
    let subids = SubIds { uid: usable(&subids.uid, caller.uid), gid: usable(&subids.gid, caller.gid) };
    match plan(options, caller, &subids) {
        Ok(maps) => Ok(Ids { maps, missing }),
        // What was asked for may need the range that is not there.
        Err(error) => Err(error).maybe_hint(|| {
            missing.map(|error| format!("there are no subordinate ids to use: {}", Failure::from(&error).message))
        }),
    }
}

/// The ranges as the kernel takes them: none twice, none with the caller's own id, no more than fit, none beyond the
/// last id. Files that administrators write have all of that.
fn usable(ranges: &[SubRange], own: u32) -> Vec<SubRange> {
    let mut sorted: Vec<(u64, u64)> =
        ranges.iter().map(|range| (range.start.into(), u64::from(range.start) + u64::from(range.count))).collect();
    // In the file's order as long as they do not overlap.
    let mut found: Vec<(u64, u64)> = Vec::new();
    for (start, end) in sorted.drain(..) {
        let mut pieces = vec![(start, end.min(u64::from(u32::MAX)))];
        let taken = found.iter().copied().chain([(own.into(), u64::from(own) + 1)]);
        for (from, to) in taken {
            pieces = pieces
                .into_iter()
                .flat_map(|(start, end)| [(start, end.min(from)), (start.max(to), end)])
                .filter(|(start, end)| start < end)
                .collect();
        }
        found.extend(pieces);
    }
    // Inner ids end where outer ones do; the caller's own id is one of them and one line of the map.
    let mut left = u64::from(u32::MAX) - 1;
    let mut usable = Vec::new();
    for (start, end) in found.into_iter().take(MAX_RANGES - 1) {
        let count = (end - start).min(left);
        left -= count;
        if count > 0 {
            usable.push(SubRange { start: start as u32, count: count as u32 });
        }
    }
    usable
}

fn require_range(caller: Caller) -> Result<SubIds> {
    let subids = subid::find(caller.uid)?;
    if subids.is_empty() {
        let missing = if subids.uid.is_empty() { "/etc/subuid" } else { "/etc/subgid" };
        return Err(anyhow!("no subordinate ids for user {} in {missing}", caller.uid)).hint(|| {
            "root can give some: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER;\n\
             --id-mode single works without, with one user in the container"
                .to_owned()
        });
    }
    if caller.uid == 0 {
        return Ok(subids);
    }
    for name in ["newuidmap", "newgidmap"] {
        if paths::program(name).is_none() {
            return Err(anyhow!("{name}: not found in PATH")).hint(|| {
                "it is in the package uidmap (Debian, Ubuntu) or shadow-utils (Fedora);\n\
                 --id-mode single works without, with one user in the container"
                    .to_owned()
            });
        }
    }
    if rustix::thread::no_new_privs().unwrap_or(false) {
        return Err(anyhow!("this process runs with no_new_privs, so newuidmap has no effect"))
            .hint(|| "lift it (systemd: NoNewPrivileges=no), or run with --id-mode single".to_owned());
    }
    Ok(subids)
}

/// The pure part.
fn plan(options: &Options, caller: Caller, subids: &SubIds) -> Result<IdMaps> {
    if !options.uidmap.is_empty() || !options.gidmap.is_empty() {
        let either = |first: &'_ [IdMapRequest], second: &'_ [IdMapRequest]| {
            if first.is_empty() { second.to_vec() } else { first.to_vec() }
        };
        let uid = either(&options.uidmap, &options.gidmap);
        let gid = either(&options.gidmap, &options.uidmap);
        return Ok(IdMaps {
            uid: requested(&uid, &own_ids(caller.uid, &subids.uid)?).context("--uidmap")?,
            gid: requested(&gid, &own_ids(caller.gid, &subids.gid)?).context("--gidmap")?,
        });
    }
    let both = |make: &dyn Fn(u32, &[SubRange]) -> Result<IdMap>| -> Result<IdMaps> {
        Ok(IdMaps { uid: make(caller.uid, &subids.uid)?, gid: make(caller.gid, &subids.gid)? })
    };
    match &options.userns {
        Userns::Private => both(&own_ids),
        Userns::KeepId { uid, gid, size } => Ok(IdMaps {
            uid: keep_id(caller.uid, uid.unwrap_or(caller.uid), *size, &subids.uid).context("--userns keep-id")?,
            gid: keep_id(caller.gid, gid.unwrap_or(caller.gid), *size, &subids.gid).context("--userns keep-id")?,
        }),
        Userns::NoMap => {
            if subids.is_empty() {
                return Err(anyhow!("--userns nomap: needs subordinate ids"))
                    .hint(|| "--id-mode range says what is missing".to_owned());
            }
            both(&|_, ranges| lay_out(0, ranges))
        }
        Userns::Auto { .. } => bail!("--userns auto: not there yet; nomap keeps your own id out of the container"),
        Userns::Container(_) | Userns::Path(_) => {
            bail!("--userns: joins another user namespace, which has its own ids")
        }
    }
}

/// 0 is the caller, the subordinate ids follow: docker's and podman's rootless default.
fn own_ids(id: u32, ranges: &[SubRange]) -> Result<IdMap> {
    let own = [SubRange { start: id, count: 1 }];
    lay_out(0, &[&own, ranges].concat())
}

/// Consecutive inner ids for ranges of the host.
fn lay_out(first: u32, ranges: &[SubRange]) -> Result<IdMap> {
    let mut inside = first;
    let mut out = Vec::new();
    for range in ranges {
        let Some(next) = inside.checked_add(range.count) else { break };
        out.push(IdRange { inside, outside: range.start, count: range.count });
        inside = next;
    }
    IdMap::new(out)
}

/// The caller's id stands for `as_id` inside; subordinate ids fill the numbers below and above.
fn keep_id(id: u32, as_id: u32, size: Option<u32>, ranges: &[SubRange]) -> Result<IdMap> {
    if ranges.is_empty() {
        return Ok(IdMap::single(as_id, id));
    }
    let available = ranges.iter().fold(0u32, |sum, range| sum.saturating_add(range.count));
    let wanted = size.unwrap_or(available.saturating_add(1));
    let mut out = vec![IdRange { inside: as_id, outside: id, count: 1 }];
    let mut inside = 0;
    for range in ranges {
        let mut rest = *range;
        while rest.count > 0 && inside < wanted {
            if inside == as_id {
                inside += 1;
                continue;
            }
            let until = if inside < as_id { as_id } else { wanted };
            let count = rest.count.min(until.min(wanted) - inside);
            if count == 0 {
                break;
            }
            out.push(IdRange { inside, outside: rest.start, count });
            inside += count;
            rest = SubRange { start: rest.start + count, count: rest.count - count };
        }
    }
    IdMap::new(out)
}

/// `--uidmap`: ids as the caller numbers them in its own map, or the host's with `@`. Those of the host are checked by
/// newuidmap.
fn requested(wanted: &[IdMapRequest], own: &IdMap) -> Result<IdMap> {
    let mut out = Vec::new();
    for request in wanted {
        if request.host {
            out.push(IdRange { inside: request.inside, outside: request.from, count: request.count });
            continue;
        }
        let (mut inside, mut from, mut left) = (request.inside, request.from, request.count);
        while left > 0 {
            let Some(range) = own.ranges().iter().find(|r| from >= r.inside && from - r.inside < r.count) else {
                return Err(anyhow!("{}:{}:{}: id {from} is not yours", request.inside, request.from, request.count))
                    .hint(|| format!("the ids to choose from are {own}: 0 is you, then the subordinate ids"));
            };
            let skipped = from - range.inside;
            let count = left.min(range.count - skipped);
            out.push(IdRange { inside, outside: range.outside + skipped, count });
            let next = |id: u32| id.checked_add(count).context("ids end beyond 2^32");
            (inside, from, left) = (next(inside)?, next(from)?, left - count);
        }
    }
    IdMap::new(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLER: Caller = Caller { uid: 1001, gid: 1002 };

    #[test]
    fn odd_ranges_are_used_as_far_as_they_can_be() {
        let range = |start, count| SubRange { start, count };
        for (given, used) in [
            (vec![range(100, 10), range(100, 10)], vec![range(100, 10)]),
            (vec![range(100, 10), range(105, 10)], vec![range(100, 10), range(110, 5)]),
            (vec![range(1000, 10)], vec![range(1000, 1), range(1002, 8)]),
            (vec![range(100_000, u32::MAX)], vec![range(100_000, u32::MAX - 100_000)]),
            (vec![range(1001, 1)], vec![]),
        ] {
            assert_eq!(usable(&given, 1001), used, "{given:?}");
        }
        let many: Vec<SubRange> = (0..1000).map(|number| range(10_000 + 10 * number, 5)).collect();
        assert_eq!(usable(&many, 1001).len(), MAX_RANGES - 1);
    }

    fn subids() -> SubIds {
        let range = |start| vec![SubRange { start, count: 65536 }];
        SubIds { uid: range(100000), gid: range(200000) }
    }

    type Ranges = Vec<(u32, u32, u32)>;

    fn ranges(map: &IdMap) -> Ranges {
        map.ranges().iter().map(|range| (range.inside, range.outside, range.count)).collect()
    }

    fn planned(options: &Options) -> (Ranges, Ranges) {
        let maps = plan(options, CALLER, &subids()).expect("a plan");
        (ranges(&maps.uid), ranges(&maps.gid))
    }

    #[test]
    fn the_caller_is_root_and_the_range_follows() {
        let (uid, gid) = planned(&Options::default());
        assert_eq!(uid, [(0, 1001, 1), (1, 100000, 65536)]);
        assert_eq!(gid, [(0, 1002, 1), (1, 200000, 65536)]);
        let single = plan(&Options::default(), CALLER, &SubIds::default()).expect("a plan");
        assert_eq!(ranges(&single.uid), [(0, 1001, 1)]);
        assert_eq!(ranges(&single.gid), [(0, 1002, 1)]);
    }

    #[test]
    fn keep_id_fills_below_and_above() {
        let keep = |uid, size| Options { userns: Userns::KeepId { uid, gid: Some(0), size }, ..Options::default() };
        let (uid, gid) = planned(&keep(None, None));
        assert_eq!(uid, [(0, 100000, 1001), (1001, 1001, 1), (1002, 101001, 64535)]);
        assert_eq!(gid, [(0, 1002, 1), (1, 200000, 65536)]);
        let (uid, _) = planned(&keep(Some(5), Some(10)));
        assert_eq!(uid, [(0, 100000, 5), (5, 1001, 1), (6, 100005, 4)]);
        let (uid, _) = planned(&keep(Some(70000), Some(10)));
        assert_eq!(uid, [(0, 100000, 10), (70000, 1001, 1)]);
    }

    #[test]
    fn nomap_leaves_the_caller_out() {
        let (uid, _) = planned(&Options { userns: Userns::NoMap, ..Options::default() });
        assert_eq!(uid, [(0, 100000, 65536)]);
    }

    #[test]
    fn requested_maps_count_own_ids() {
        let request = |inside, from, host, count| IdMapRequest { inside, from, host, count };
        let options =
            Options { uidmap: vec![request(1000, 0, false, 2), request(0, 100010, true, 1)], ..Options::default() };
        let (uid, gid) = planned(&options);
        assert_eq!(uid, [(0, 100010, 1), (1000, 1001, 1), (1001, 100000, 1)]);
        assert_eq!(gid, [(0, 100010, 1), (1000, 1002, 1), (1001, 200000, 1)]);
        let beyond = Options { uidmap: vec![request(0, 65537, false, 1)], ..Options::default() };
        assert!(plan(&beyond, CALLER, &subids()).is_err());
    }
}
