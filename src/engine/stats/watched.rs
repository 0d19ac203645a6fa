//! A container that runs, and what is kept open to count for it.

use super::processes::Place;
use super::{Sample, network};
use crate::cgroup::group::Group;
use crate::cgroup::usage::Counters;
use crate::engine::container::Found;
use crate::engine::inspect::asked;
use crate::engine::state::Run;
use crate::engine::{cgroup, damage};
use crate::error::Failure;
use crate::spec::options::Namespace;
use crate::sys::Named;
use anyhow::Result;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::time::Instant;

/// One of them.
#[derive(Debug)]
pub struct Watched {
    run: Run,
    first: OwnedFd,
    /// That with the limits, whose counts are of all below it.
    counters: Option<Counters>,
    place: Place,
    has_network: bool,
    /// What was counted the last time.
    pub last: Option<Sample>,
}

impl Watched {
    /// `None` if its first process has ended. `most`: as many descriptors the process may have open for all.
    pub fn begin(found: &Found, run: Run, most: i32, failures: &mut Vec<Failure>) -> Option<Watched> {
        let first = run.open()?;
        let counters = damage::part(found, group(found), failures).map(|group| Counters::of(group, most));
        let network = asked::of(found).map(|options| options.network.namespace() == Namespace::Private);
        let has_network = damage::part(found, network, failures);
        Some(Watched { place: Place::of(&run), run, first, counters, has_network, last: None })
    }

    /// True if it is of this start of the container.
    pub fn is_of(&self, run: &Run) -> bool {
        self.run.process == run.process
    }

    /// By what its processes are known. With `--init` that is not there at once.
    pub fn place(&mut self) -> Place {
        if self.place.mounts.is_none() {
            self.place = Place::of(&self.run);
        }
        self.place.clone()
    }

    /// The number of its first process.
    pub fn first(&self) -> i32 {
        self.run.process.pid
    }

    /// What its cgroup counts, if it has one, and what has gone over its network.
    pub fn sample(&mut self) -> Result<Sample> {
        let at = Instant::now();
        let usage = self.counters.as_mut().map(Counters::usage).transpose()?.unwrap_or_default();
        let network = if self.has_network { network::of(self.first()) } else { None };
        Ok(Sample { at, usage, network })
    }
}

fn group(found: &Found) -> Result<Option<Group>> {
    let Some(path) = cgroup::known(found)?.path else { return Ok(None) };
    match Group::open(&path) {
        // It ends.
        Err(error) if error.errno == Errno::NOENT => Ok(None),
        group => Ok(Some(group?)),
    }
}

/// Whose first processes have ended, of all.
pub fn ended<'a>(all: impl Iterator<Item = (&'a String, &'a Watched)>) -> Result<Vec<String>> {
    let (ids, mut fds): (Vec<_>, Vec<_>) =
        all.map(|(id, watched)| (id, PollFd::new(&watched.first, PollFlags::IN))).unzip();
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::io::retry_on_intr(|| poll(&mut fds, Some(&now))).named(|| "poll(pidfd)".to_owned())?;
    let ended = ids.into_iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
    Ok(ended.map(|(id, _)| id.clone()).collect())
}
