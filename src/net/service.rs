//! What goes on outside for a container's network, as long as it runs: a thread of its supervisor with an event loop.
//!
//! Runs in: the host's namespaces.

use super::helper::Helper;
use super::link::{Ends, Told};
use super::uplink::Uplink;
use crate::sys::Alone;
use crate::sys::netlink::Socket;
use crate::sys::watch::Watch;
use anyhow::{Context, Result, anyhow};
use rustix::event::{PollFd, PollFlags};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

/// A helper that has no tap after this time will never have one.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between the end of a helper and the start of the next.
const PAUSE: Duration = Duration::from_secs(1);

/// Everything that the network needs, before anything needs the network.
#[derive(Debug)]
pub struct Task {
    /// What the first process has made.
    pub ends: Ends,
    /// Who is to carry packets.
    pub uplink: Uplink,
    /// The first process: it is there until the service has stopped.
    pub pid: i32,
}

impl Task {
    /// When one of these is ready the time has come to start.
    pub fn wanted(&self) -> Vec<PollFd<'_>> {
        vec![PollFd::new(&self.ends.told, PollFlags::IN)]
    }

    /// Starts the thread. `tell` gets what goes wrong from then on.
    pub fn start(self, _alone: Alone, tell: impl Fn(anyhow::Error) + Send + 'static) -> Result<Service> {
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            let mut told = Once::new(tell);
            let looped = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let served =
                looped.context("event loop").and_then(|looped| looped.block_on(serve(self, stopped, &mut told)));
            if let Err(error) = served {
                told.tell(error);
            }
        };
        let thread = std::thread::Builder::new().name("network".to_owned()).spawn(run).context("thread")?;
        Ok(Service { stop, thread })
    }
}

/// The thread.
#[derive(Debug)]
pub struct Service {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Service {
    /// Ends everything; afterwards no helper is left.
    pub fn stop(self) {
        // If it has ended there is nobody to tell.
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

/// Says nothing twice in a row.
struct Once<F> {
    tell: F,
    last: String,
}

impl<F: Fn(anyhow::Error)> Once<F> {
    fn new(tell: F) -> Once<F> {
        Once { tell, last: String::new() }
    }

    fn tell(&mut self, error: anyhow::Error) {
        let text = format!("{error:#}");
        if text != self.last {
            self.last = text;
            (self.tell)(error.context("network"));
        }
    }
}

/// The loop: whoever sends gets a helper, as long as it lives.
async fn serve<F: Fn(anyhow::Error)>(task: Task, mut stopped: oneshot::Receiver<()>, told: &mut Once<F>) -> Result<()> {
    let Task { ends, uplink, pid } = task;
    let control = Socket::from(ends.control);
    let watch = Watch::readable(ends.told)?;
    let mut helper: Option<Helper> = None;
    // When it must be there, or when the next may start.
    let mut limit = Instant::now();
    let (mut wanted, mut plugged) = (false, false);
    loop {
        let waits = if helper.is_some() { !plugged } else { wanted };
        tokio::select! {
            biased;
            _ = &mut stopped => break,
            news = watch.next(Told::read) => {
                let news = news?;
                wanted |= news.wanted;
                if let Some(helper) = helper.as_ref().filter(|_| news.link && !plugged) {
                    plugged = helper.plug_in(&control, ends.index)?;
                    wanted &= !plugged;
                }
            }
            error = end_of(&mut helper) => {
                told.tell(error);
                (helper, plugged, wanted) = (None, false, false);
                limit = Instant::now() + PAUSE;
            }
            () = sleep_until(limit), if waits => match helper.take() {
                None => {
                    limit = Instant::now() + PATIENCE;
                    helper = Some(Helper::start(&uplink, pid)?);
                }
                Some(late) => {
                    late.stop().await;
                    told.tell(anyhow!("{}: not ready after {} seconds", uplink.kind.program(), PATIENCE.as_secs()));
                    (plugged, wanted) = (false, false);
                    limit = Instant::now() + PAUSE;
                }
            },
        }
    }
    if let Some(helper) = helper {
        helper.stop().await;
    }
    Ok(())
}

/// Never, if there is none.
async fn end_of(helper: &mut Option<Helper>) -> anyhow::Error {
    match helper {
        Some(helper) => helper.ended().await,
        None => std::future::pending().await,
    }
}
