//! Whoever sends gets a helper, for as long as that lives.

use super::child::Child;
use super::helper;
use super::link::{Ends, Told};
use super::uplink::Uplink;
use crate::sys::netlink::Socket;
use crate::sys::watch::Watch;
use anyhow::{Result, anyhow};
use std::future::pending;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// A helper that has no tap after this time will never have one.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between the end of a helper and the start of the next.
pub const PAUSE: Duration = Duration::from_secs(1);

/// Until it is stopped. `tell` gets what goes wrong with the helper: whoever sends then gets another.
pub async fn carry(
    ends: Ends,
    uplink: &Uplink,
    pid: i32,
    mut stopped: watch::Receiver<()>,
    tell: &dyn Fn(anyhow::Error),
) -> Result<()> {
    let control = Socket::from(ends.control);
    let told = Watch::readable(ends.told)?;
    let mut helper: Option<Child> = None;
    // By when it must be ready, or from when on the next may start.
    let mut limit = Instant::now();
    let (mut wanted, mut ready) = (false, false);
    loop {
        let waits = if helper.is_some() { !ready } else { wanted };
        tokio::select! {
            biased;
            _ = stopped.changed() => break,
            news = told.next(Told::read) => {
                let news = news?;
                wanted |= news.wanted;
                if news.link && helper.is_some() && !ready {
                    ready = helper::plug_in(&control, ends.index, uplink)?;
                }
            }
            error = end_of(&mut helper) => {
                tell(error);
                (helper, wanted, ready) = (None, false, false);
                limit = Instant::now() + PAUSE;
            }
            () = sleep_until(limit), if waits => match helper.take() {
                None => {
                    helper = Some(helper::start(uplink, pid)?);
                    (wanted, limit) = (false, Instant::now() + PATIENCE);
                }
                Some(late) => {
                    late.stop().await;
                    tell(anyhow!("{}: not ready after {} seconds", uplink.kind.program(), PATIENCE.as_secs()));
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

/// Why a child has ended; never, if there is none.
pub async fn end_of(child: &mut Option<Child>) -> anyhow::Error {
    match child {
        Some(child) => child.ended().await,
        None => pending().await,
    }
}
