//! Whoever comes to a published port gets a relay, for as long as that lives.

use super::carrier::{PAUSE, end_of};
use super::child::Child;
use super::port::Doors;
use super::relay::{self, Places};
use crate::sys::watch::Watch;
use anyhow::Result;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Until it is stopped. `tell` gets what goes wrong with the relay: whoever comes then gets another.
pub async fn serve(
    doors: Doors,
    mut places: watch::Receiver<Places>,
    pid: i32,
    mut stopped: watch::Receiver<()>,
    tell: &dyn Fn(anyhow::Error),
) -> Result<()> {
    let Doors { doors, knocks } = doors;
    let knocks = Watch::readable(knocks)?;
    let mut relay: Option<Child> = None;
    let mut earliest = Instant::now();
    loop {
        let knocked = async {
            sleep_until(earliest).await;
            knocks.next(|_| Ok(Some(()))).await
        };
        tokio::select! {
            biased;
            _ = stopped.changed() => break,
            // The container is somewhere else: so is whoever comes next to lead there.
            Ok(()) = places.changed() => {
                if let Some(relay) = relay.take() {
                    relay.stop().await;
                }
            }
            error = end_of(&mut relay) => {
                tell(error);
                relay = None;
                earliest = Instant::now() + PAUSE;
            }
            knocked = knocked, if relay.is_none() => {
                knocked?;
                let to = places.borrow_and_update().clone();
                match relay::start(&doors, &to, pid) {
                    Ok(child) => relay = Some(child),
                    Err(error) => {
                        tell(error);
                        earliest = Instant::now() + PAUSE;
                    }
                }
            }
        }
    }
    if let Some(relay) = relay {
        relay.stop().await;
    }
    Ok(())
}
