//! What goes on outside for a container's network, as long as it runs: a thread of its supervisor with an event loop.
//!
//! Runs in: the host's namespaces.

use super::dns::{self, Limits, Upstream, resolv_conf};
use super::link::{Ends, Resolver};
use super::port::Doors;
use super::uplink::Uplink;
use super::{carrier, porter};
use crate::sys::Alone;
use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags};
use std::cell::RefCell;
use std::path::Path;
use std::thread::JoinHandle;
use tokio::sync::watch;

/// Everything that the network needs, before anything needs the network.
#[derive(Debug)]
pub struct Task {
    /// What the first process has made.
    pub ends: Ends,
    /// Who is to carry packets.
    pub uplink: Uplink,
    /// Published ports, if there are any.
    pub doors: Option<Doors>,
    /// The first process: it is there until the service has stopped.
    pub pid: i32,
}

impl Task {
    /// When one of these is ready the time has come to start.
    pub fn wanted(&self) -> Vec<PollFd<'_>> {
        let doors = self.doors.iter().map(|doors| PollFd::new(&doors.knocks, PollFlags::IN));
        let resolver = self.ends.resolver.iter().flat_map(|Resolver { datagrams, streams }| [datagrams, streams]);
        let others = resolver.chain([&self.ends.told]).map(|fd| PollFd::new(fd, PollFlags::IN));
        doors.chain(others).collect()
    }

    /// Starts the thread. `tell` gets what goes wrong from then on.
    pub fn start(self, _alone: Alone, tell: impl Fn(anyhow::Error) + Send + 'static) -> Result<Service> {
        let (running, stopped) = watch::channel(());
        let run = move || {
            let once = Once { tell, last: RefCell::default() };
            let tell = |error: anyhow::Error| once.tell(error);
            let looped = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match looped.context("event loop") {
                Ok(looped) => looped.block_on(self.serve(stopped, &tell)),
                Err(error) => tell(error),
            }
        };
        let thread = std::thread::Builder::new().name("network".to_owned()).spawn(run).context("thread")?;
        Ok(Service { running, thread })
    }

    async fn serve(self, stopped: watch::Receiver<()>, tell: &dyn Fn(anyhow::Error)) {
        let Task { mut ends, uplink, doors, pid } = self;
        let resolver = ends.resolver.take();
        let report = |result: Result<()>| result.unwrap_or_else(tell);
        let carried = async { report(carrier::carry(ends, &uplink, pid, stopped.clone(), tell).await) };
        let ported = async {
            if let Some(doors) = doors {
                report(porter::serve(doors, &uplink, pid, stopped.clone(), tell).await);
            }
        };
        let named = async {
            if let Some(Resolver { datagrams, streams }) = resolver {
                let upstream = Upstream::live(Path::new(resolv_conf::HOST));
                let mut stopped = stopped.clone();
                tokio::select! {
                    Err(error) = dns::serve(datagrams, streams, upstream, Limits::default()) => tell(error.context("names")),
                    _ = stopped.changed() => {}
                }
            }
        };
        tokio::join!(carried, ported, named);
    }
}

/// The thread.
#[derive(Debug)]
pub struct Service {
    running: watch::Sender<()>,
    thread: JoinHandle<()>,
}

impl Service {
    /// Ends everything; afterwards nothing that it has started is left.
    pub fn stop(self) {
        drop(self.running);
        let _ = self.thread.join();
    }
}

/// Says nothing twice in a row.
struct Once<F> {
    tell: F,
    last: RefCell<String>,
}

impl<F: Fn(anyhow::Error)> Once<F> {
    fn tell(&self, error: anyhow::Error) {
        let text = format!("{error:#}");
        if self.last.replace(text.clone()) != text {
            (self.tell)(error.context("network"));
        }
    }
}
