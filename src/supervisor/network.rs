//! The container's network, as far as the supervisor sees it: nothing goes on until somebody in the container sends.

use crate::engine::record::Record;
use crate::net::port::{Doors, Publish};
use crate::net::service::{Service, Task};
use crate::sys::{Alone, process};
use anyhow::Result;
use rustix::event::PollFd;

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
}

impl Network {
    /// With nothing to do if there is no task.
    pub fn new(task: Option<Task>, alone: Alone) -> Network {
        Network { waiting: task.map(|task| (task, alone)), service: None }
    }

    /// What makes it start when it is ready.
    pub fn wanted(&self) -> Vec<PollFd<'_>> {
        self.waiting.as_ref().map(|(task, _)| task.wanted()).unwrap_or_default()
    }

    /// Starts to serve. What goes wrong is told, and the container goes on.
    pub fn start(&mut self, tell: fn(anyhow::Error)) {
        if let Some((task, alone)) = self.waiting.take() {
            match task.start(alone, tell) {
                Ok(service) => self.service = Some(service),
                Err(error) => tell(error.context("network")),
            }
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Some(service) = self.service.take() {
            service.stop();
        }
    }
}
