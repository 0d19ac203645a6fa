//! What goes on outside for a container's network, as long as it runs: a thread of its supervisor with an event loop.
//!
//! Runs in: the host's namespaces.

use super::carrier::First;
use super::dns::names::Names;
use super::dns::{self, Limits, Upstream, resolv_conf};
use super::link::{Ends, Resolver, Told};
use super::port::Doors;
use super::relay::Places;
use super::uplink::Uplink;
use super::{carrier, helper, porter};
use crate::sys::Alone;
use anyhow::{Context, Result};
use rustix::event::PollFlags;
use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Everything that the network needs, before anything needs the network.
#[derive(Debug)]
pub struct Task {
    /// The way out, if it is this thread's.
    pub carried: Option<Carried>,
    /// Published ports, if there are any, and where they lead.
    pub doors: Option<(Doors, Places)>,
    /// The first process: it is there until the service has stopped.
    pub pid: i32,
}

/// An interface and who carries its packets.
#[derive(Debug)]
pub struct Carried {
    /// What was made inside.
    pub ends: Ends,
    /// Who is to carry packets.
    pub uplink: Uplink,
    /// Names that need not be asked for elsewhere.
    pub names: Option<Arc<Names>>,
    /// What was done before there was an event loop.
    pub first: First,
}

impl Carried {
    /// Starts a helper, if somebody sends.
    fn begin(&mut self, pid: i32) -> Result<()> {
        let Carried { ends, uplink, first, .. } = self;
        if Told::read(ends.told.as_fd(), ends.tap.index)?.is_some_and(|told| told.wanted) {
            let started = uplink.programs.first().map(|program| helper::start(uplink, program, pid, &ends.tap));
            // Whoever tries again will say why not.
            *first = started.and_then(Result::ok).map_or(First::Wanted, First::Started);
        }
        Ok(())
    }
}

impl Task {
    /// When one of these is ready the time has come to start.
    pub fn wanted(&self) -> Vec<(BorrowedFd<'_>, PollFlags)> {
        let doors = self.doors.iter().map(|(doors, _)| &doors.knocks);
        let ends = self.carried.iter().map(|carried| &carried.ends);
        let inner = ends.flat_map(|ends| {
            let resolvers = ends.resolvers.iter().flat_map(|Resolver { datagrams, streams }| [datagrams, streams]);
            resolvers.chain([&ends.told])
        });
        doors.chain(inner).map(|fd| (fd.as_fd(), PollFlags::IN)).collect()
    }

    /// Starts the thread. `tell` gets what goes wrong from then on.
    pub fn start(mut self, _alone: Alone, tell: impl Fn(anyhow::Error) + Send + 'static) -> Result<Service> {
        if let Some(carried) = &mut self.carried {
            carried.begin(self.pid)?;
        }
        let (running, stopped) = watch::channel(());
        let (place, places) = watch::channel(self.doors.as_ref().map(|(_, places)| places.clone()).unwrap_or_default());
        let run = move || {
            let once = Once { tell, last: RefCell::default() };
            let tell = |error: anyhow::Error| once.tell(error);
            let looped = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match looped.context("event loop") {
                Ok(looped) => looped.block_on(self.serve(stopped, places, &tell)),
                Err(error) => tell(error),
            }
        };
        let thread = std::thread::Builder::new().name("network".to_owned()).spawn(run).context("thread")?;
        Ok(Service { running, place, thread })
    }

    async fn serve(self, stopped: watch::Receiver<()>, places: watch::Receiver<Places>, tell: &dyn Fn(anyhow::Error)) {
        let Task { mut carried, doors, pid } = self;
        let resolvers = carried.as_mut().map(|carried| std::mem::take(&mut carried.ends.resolvers)).unwrap_or_default();
        let names = carried.as_ref().and_then(|carried| carried.names.clone());
        let report = |result: Result<()>| result.unwrap_or_else(tell);
        let carried = async {
            if let Some(Carried { ends, uplink, first, .. }) = carried {
                report(carrier::carry(ends, &uplink, first, pid, stopped.clone(), tell).await);
            }
        };
        let ported = async {
            if let Some((doors, _)) = doors {
                report(porter::serve(doors, places, pid, stopped.clone(), tell).await);
            }
        };
        let named = async {
            let mut all = JoinSet::new();
            for Resolver { datagrams, streams } in resolvers {
                let upstream = Upstream::live(Path::new(resolv_conf::HOST)).knowing(names.clone());
                all.spawn(dns::serve(datagrams, streams, upstream, Limits::default()));
            }
            let mut stopped = stopped.clone();
            tokio::select! {
                Some(Ok(Err(error))) = all.join_next() => tell(error.context("names")),
                _ = stopped.changed() => {}
            }
        };
        tokio::join!(carried, ported, named);
    }
}

/// The thread.
#[derive(Debug)]
pub struct Service {
    running: watch::Sender<()>,
    place: watch::Sender<Places>,
    thread: JoinHandle<()>,
}

impl Service {
    /// Published ports lead there from now on.
    pub fn lead_to(&self, places: Places) {
        self.place.send_replace(places);
    }

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
