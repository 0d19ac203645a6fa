//! A process in between, for what one clone cannot do: join namespaces by path, or those that were made before (prepared.rs),
//! set up a time namespace, and make a user namespace inside another one than the caller's.
//!
//! A pid or time namespace that is entered counts only for the children of the one that enters, and the user namespace
//! must be entered first of all; so the joiner enters, makes the container's first process as its own sibling
//! (CLONE_PARENT), reports it and ends.

use super::fence::Fence;
use super::namespaces::Namespaces;
use super::network::Neighbours;
use super::prepared::Held;
use super::sync::{Message, Sync};
use crate::sys::clone::{self, CLONE_NEWTIME, CLONE_NEWUSER, CLONE_PARENT, Side};
use crate::sys::{Alone, CallError, Named, process};
use crate::userns::idmap::IdMaps;
use crate::userns::write::{self, Writer};
use anyhow::{Context, Result, ensure};
use oci_spec::runtime::LinuxTimeOffset;
use rustix::fs::{Mode, OFlags};
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// What there may be besides.
#[derive(Clone, Copy)]
pub struct Further<'a> {
    /// The offsets of a time namespace.
    pub time_offsets: Option<&'a HashMap<String, LinuxTimeOffset>>,
    /// The cgroup for the first process.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// What is to be around it.
    pub fence: Option<Fence<'a>>,
}

/// Runs in: the host's namespaces, as a fresh copy of the maker. Returns in the container's first process only.
pub fn run(
    alone: &Alone,
    namespaces: &Namespaces,
    maps: Option<(&IdMaps, Writer)>,
    Further { time_offsets, cgroup, fence }: Further<'_>,
    outside: &Sync,
) -> Result<()> {
    process::die_with_parent()?;
    outside.end_if_alone();
    if !namespaces.join.is_empty() {
        // Whoever is in the joined namespaces may be hostile and must not trace this process (CVE-2016-9962). A fresh
        // user namespace cannot be mapped by helpers without /proc/PID, but has nobody in it either.
        process::set_dumpable(namespaces.makes(CLONE_NEWUSER))?;
    }
    let opened: Vec<(u32, OwnedFd, &Path)> = namespaces
        .join
        .iter()
        .map(|(flag, path)| {
            let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .named(|| format!("open({})", path.display()))?;
            Ok((*flag, fd, path.as_path()))
        })
        .collect::<Result<_>>()
        .context("join namespace")?;
    for (flag, fd, path) in &opened {
        clone::setns(alone, fd, *flag, path).context("join namespace")?;
    }
    if namespaces.makes(CLONE_NEWUSER) {
        clone::unshare(alone, CLONE_NEWUSER)?;
        if let Some((ids, writer)) = fence.map(|fence| (fence.ids, fence.writer)).or(maps) {
            match writer {
                Writer::Itself => write::own(ids)?,
                Writer::Maker | Writer::Helpers => {
                    outside.send(&Message::Map, None)?;
                    outside.expect(&Message::Mapped)?;
                }
            }
        }
    }
    if namespaces.makes(CLONE_NEWTIME) {
        clone::unshare(alone, CLONE_NEWTIME)?;
        set_time_offsets(time_offsets)?;
    }
    let mut rest = namespaces.new & !(CLONE_NEWUSER | CLONE_NEWTIME);
    let mut inner = None;
    if let (Some(fence), Some((maps, _))) = (fence, maps) {
        fence.put_up(alone)?;
        rest |= CLONE_NEWUSER;
        inner = Some(maps.within(fence.ids)?);
    }
    make_first(alone, rest, cgroup, outside, |first| {
        inner.map_or(Ok(()), |maps| write::for_child(first, &maps, Writer::Maker))
    })
}

/// The same for a container whose user namespace is to be inside another one, whose root this process becomes: it writes
/// the ids, since neither rbox nor its helpers may there (user_namespaces(7)).
pub fn run_inside(
    alone: &Alone,
    namespaces: &Namespaces,
    maps: Option<(&IdMaps, Writer)>,
    neighbours: &Neighbours<'_>,
    Further { time_offsets, cgroup, fence }: Further<'_>,
    outside: &Sync,
) -> Result<()> {
    process::die_with_parent()?;
    outside.end_if_alone();
    let (maps, _) = maps.context("a container that others connect to networks needs a user namespace of its own")?;
    ensure!(namespaces.join.is_empty(), "a container that others connect to networks can join no namespaces");
    let maps = maps.within(neighbours.ids)?;
    clone::setns(alone, neighbours.around, CLONE_NEWUSER, Path::new("user namespace of networks"))?;
    fence.map_or(Ok(()), |fence| fence.put_up(alone))?;
    if namespaces.makes(CLONE_NEWTIME) {
        clone::unshare(alone, CLONE_NEWTIME)?;
        set_time_offsets(time_offsets)?;
    }
    let all = namespaces.new & !CLONE_NEWTIME;
    make_first(alone, all, cgroup, outside, |first| write::for_child(first, &maps, Writer::Maker))
}

/// The same for one whose namespaces are there already, held by another process.
///
/// Runs in: the host's namespaces, in the memory of the maker, which waits: nothing of it may change.
pub fn run_prepared(
    alone: &Alone,
    namespaces: &Namespaces,
    held: &Held,
    cgroup: Option<BorrowedFd<'_>>,
    outside: &Sync,
) -> Result<()> {
    process::die_with_parent()?;
    outside.end_if_alone();
    let flags = held.flags & namespaces.new;
    clone::setns(alone, &held.holder, flags, Path::new("namespaces")).or_else(|error| refused(error, outside))?;
    make_first(alone, namespaces.new & !flags, cgroup, outside, |_| Ok(()))
}

/// Makes the container's first process, reports it and ends. Returns in the first process only.
fn make_first(
    alone: &Alone,
    flags: u32,
    cgroup: Option<BorrowedFd<'_>>,
    outside: &Sync,
    prepare: impl FnOnce(i32) -> Result<()>,
) -> Result<()> {
    match clone::clone_into(alone, flags | CLONE_PARENT, cgroup) {
        Err(error) => refused(error, outside),
        Ok(Side::Child) => Ok(()),
        Ok(Side::Parent(first)) => {
            prepare(first.pid)?;
            outside.send(&Message::Made(first.pid), Some(first.pidfd.as_fd()))?;
            process::exit_now(0);
        }
    }
}

/// It is explained outside: inside the limits are those of the new namespace.
fn refused(error: CallError, outside: &Sync) -> Result<()> {
    outside.send(&Message::Refused { call: error.call, errno: error.errno.raw_os_error() }, None)?;
    process::exit_now(crate::error::FAILED)
}

/// time_namespaces(7): one line per clock, before anybody is in the namespace.
fn set_time_offsets(offsets: Option<&HashMap<String, LinuxTimeOffset>>) -> Result<()> {
    let Some(offsets) = offsets.filter(|offsets| !offsets.is_empty()) else { return Ok(()) };
    let lines: String = offsets
        .iter()
        .map(|(clock, offset)| {
            format!("{clock} {} {}\n", offset.secs().unwrap_or_default(), offset.nanosecs().unwrap_or_default())
        })
        .collect();
    fs_err::write("/proc/self/timens_offsets", lines).context("time offsets")
}
