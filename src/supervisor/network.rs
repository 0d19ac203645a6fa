//! The container's network, as far as the supervisor sees it: nothing goes on until somebody in the container sends.

use crate::engine::networks::membership::places_of;
use crate::engine::record::Record;
use crate::net::pings::Pings;
use crate::net::port::{Doors, Publish};
use crate::net::relay::Places;
use crate::net::service::{Service, Task};
use crate::net::shared::client::{Keeper, News};
use crate::net::unsent::Unsent;
use crate::sys::{Alone, process};
use anyhow::{Result, anyhow};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::{AsFd, BorrowedFd};

/// Binds the ports that are to be published and writes them down. The first process exists by then: it has no more open
/// files than it had.
pub fn open(publish: &[Publish], record: &Record) -> Result<Option<Doors>> {
    if publish.is_empty() {
        return Ok(None);
    }
    process::raise_open_files()?;
    let doors = Doors::open(publish)?;
    record.write_ports(&doors.published())?;
    Ok(Some(doors))
}

/// Waits, or serves.
#[derive(Default)]
pub struct Network {
    waiting: Option<(Task, Alone)>,
    service: Option<Service>,
    keeper: Option<Keeper>,
    unsent: Option<Unsent>,
    pings: Option<Pings>,
}

impl Network {
    /// With nothing to do if there is no task. With `keeper` end the connections to networks of the container, whose first
    /// process is `pid`.
    pub fn new(task: Option<Task>, keeper: Option<Keeper>, pid: i32, alone: Alone) -> Network {
        let unsent = keeper.as_ref().map(|_| Unsent::of(pid));
        Network { waiting: task.map(|task| (task, alone)), service: None, keeper, unsent, pings: None }
    }

    /// What makes it go on when it is ready.
    pub fn wanted(&self) -> Vec<(BorrowedFd<'_>, PollFlags)> {
        let mut all = self.waiting.as_ref().map(|(task, _)| task.wanted()).unwrap_or_default();
        all.extend(self.keeper.iter().map(|keeper| (keeper.as_fd(), PollFlags::IN)));
        all
    }

    /// Starts to serve, or hears what there is to hear. What goes wrong is told, and the container goes on.
    pub fn go_on(&mut self, tell: fn(anyhow::Error)) {
        if self.keeper.as_ref().is_some_and(|keeper| is_ready(vec![(keeper.as_fd(), PollFlags::IN)])) {
            self.hear(tell);
        }
        if let Some((task, alone)) = self.waiting.take_if(|(task, _)| is_ready(task.wanted())) {
            self.unsent = Some(Unsent::of(task.pid));
            self.pings = task.carried.as_ref().and_then(|_| Pings::of(task.pid));
            match task.start(alone, tell) {
                Ok(service) => self.service = Some(service),
                Err(error) => tell(error.context("network")),
            }
        }
    }

    /// Ends it, when what the container has said is heard, or cannot be. The first process has ended, and is still to be
    /// waited for: helpers know it by its number, which is its own until then.
    pub fn end(mut self, tell: fn(anyhow::Error)) {
        if let Some(unsent) = &self.unsent {
            unsent.wait();
        }
        self.stop();
        if let Some(error) = self.pings.as_ref().and_then(Pings::unanswered) {
            tell(error.context("network"));
        }
    }

    fn stop(&mut self) {
        if let Some(service) = self.service.take() {
            service.stop();
        }
    }

    fn lead_to(&mut self, places: Places) {
        match (&self.service, &mut self.waiting) {
            (Some(service), _) => service.lead_to(places),
            (None, Some((Task { doors: Some((_, to)), .. }, _))) => *to = places,
            _ => {}
        }
    }

    fn hear(&mut self, tell: fn(anyhow::Error)) {
        match self.keeper.as_ref().map(Keeper::news) {
            Some(Ok(Some(News::Trouble(failure)))) => tell(failure.into()),
            Some(Ok(Some(News::Moved(attached)))) => self.lead_to(places_of(&attached)),
            Some(Err(error)) => tell(error.context("network")),
            Some(Ok(None)) => {
                self.keeper = None;
                tell(anyhow!("network: whoever kept this container's networks has ended: it goes on without"));
            }
            None => {}
        }
    }
}

fn is_ready(wanted: Vec<(BorrowedFd<'_>, PollFlags)>) -> bool {
    let mut fds: Vec<_> = wanted.into_iter().map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags)).collect();
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}

impl Drop for Network {
    fn drop(&mut self) {
        self.stop();
    }
}
