//! Whoever sends gets a helper, for as long as that lives.

use super::child::{Child, Started};
use super::helper;
use super::link::{self, Ends, Told};
use super::uplink::{Program, Uplink};
use crate::error::Advise;
use crate::sys::watch::Watch;
use anyhow::{Context, Result, anyhow};
use std::future::pending;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// A helper that has no tap after this time will never have one.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between the end of a helper and the start of the next.
pub const PAUSE: Duration = Duration::from_secs(1);

/// What was done for a container before there was an event loop, which takes longer to begin than a program.
#[derive(Debug)]
pub enum First {
    /// Nobody has sent anything.
    Nothing,
    /// Somebody has, and waits.
    Wanted,
    /// The helper was started.
    Started(Started),
}

/// Until it is stopped. `tell` gets what goes wrong with the helpers: whoever sends then gets another.
pub async fn carry(
    ends: Ends,
    uplink: &Uplink,
    first: First,
    pid: i32,
    mut stopped: watch::Receiver<()>,
    tell: &dyn Fn(anyhow::Error),
) -> Result<()> {
    let Ends { tap, told, requests, .. } = ends;
    let told = Watch::readable(told)?;
    let mut choice = Choice::new(&uplink.programs);
    let mut wanted = !matches!(first, First::Nothing);
    let mut helper = match first {
        First::Started(started) => Some(Child::attend(started)?),
        First::Nothing | First::Wanted => None,
    };
    // By when it must be ready, or from when on the next may start.
    let (mut limit, mut started) = (Instant::now(), Instant::now());
    let mut ready = helper.is_some() && tap.is_open(&requests)?;
    // When somebody was last heard to send.
    let mut heard = wanted.then(Instant::now);
    if helper.is_some() {
        limit = started + PATIENCE;
    }
    loop {
        let waits = if helper.is_some() { !ready } else { wanted };
        let failed = tokio::select! {
            biased;
            _ = stopped.changed() => break,
            news = told.next(|socket| Told::read(socket, tap.index)) => {
                let news = news?;
                if news.changed && helper.is_some() && !ready {
                    ready = tap.is_open(&requests)?;
                }
                if news.wanted {
                    heard = Some(Instant::now());
                }
                wanted = (wanted || news.wanted) && !ready;
                continue;
            }
            error = end_of(&mut helper) => {
                helper = None;
                tap.is_left(&requests)?;
                error
            }
            () = sleep_until(limit), if waits => match helper.take() {
                None => {
                    started = Instant::now();
                    limit = started + PATIENCE;
                    match helper::start(uplink, choice.program()?, pid, &tap).and_then(Child::attend) {
                        Ok(child) => {
                            helper = Some(child);
                            continue;
                        }
                        Err(error) => error,
                    }
                }
                Some(late) => {
                    late.stop().await;
                    anyhow!("{}: not ready after {} seconds", choice.program()?.kind.program(), PATIENCE.as_secs())
                }
            },
        };
        // Whoever worked will work again; instead of one that never did there may be another, at once. Some open the tap
        // before they find out that they cannot work.
        if let Some(error) = choice.failed(failed, ready && started.elapsed() > PAUSE) {
            tell(error);
            // The kernel does not say a second time that the same packets wait.
            wanted = heard.is_some_and(|heard| heard.elapsed() < link::WAIT);
            limit = Instant::now() + PAUSE;
        } else {
            (limit, wanted) = (Instant::now(), true);
        }
        ready = false;
    }
    if let Some(helper) = helper {
        helper.stop().await;
    }
    Ok(())
}

/// Which helper it is to be.
struct Choice<'a> {
    programs: &'a [Program],
    next: usize,
    /// Why those before it did not work.
    failures: Vec<String>,
}

impl<'a> Choice<'a> {
    fn new(programs: &'a [Program]) -> Choice<'a> {
        Choice { programs, next: 0, failures: Vec::new() }
    }

    fn program(&self) -> Result<&'a Program> {
        self.programs.get(self.next).context("no helper")
    }

    /// One has ended, which has worked or has not. Returned is what to tell when nobody is left to try.
    fn failed(&mut self, error: anyhow::Error, worked: bool) -> Option<anyhow::Error> {
        if worked {
            return Some(error);
        }
        self.failures.push(format!("{error:#}"));
        self.next += 1;
        if self.next < self.programs.len() {
            return None;
        }
        self.next = 0;
        let all = std::mem::take(&mut self.failures).join("; ");
        // What pasta says of a host without a default route.
        let hint = all.contains("No external routable interface").then(|| {
            "this host has no default route: --network pasta:-i,INTERFACE names an interface to go by, --network slirp4netns \
             needs none"
                .to_owned()
        });
        Err::<(), _>(anyhow!(all)).maybe_hint(|| hint).err()
    }
}

/// Why a child has ended; never, if there is none.
pub async fn end_of(child: &mut Option<Child>) -> anyhow::Error {
    match child {
        Some(child) => child.ended().await,
        None => pending().await,
    }
}
