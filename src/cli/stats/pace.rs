//! When to show something again, and when nobody wants it any more.

use crate::sys::Named;
use crate::sys::signal::{Blocked, asks_to_end};
use anyhow::Result;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::time::{Duration, Instant};

/// Regular points in time.
pub struct Pace {
    signals: Blocked,
    interval: Duration,
    next: Instant,
}

impl Pace {
    /// The first one is now.
    pub fn begin(interval: Duration) -> Result<Pace> {
        Ok(Pace { signals: Blocked::all()?, interval, next: Instant::now() })
    }

    /// Waits for the next one; false if this process is asked to end, or if nobody reads its standard output.
    pub fn wait(&mut self) -> Result<bool> {
        let now = Instant::now();
        self.next += self.interval;
        if self.next < now {
            // It was stopped, or counting takes longer than this.
            self.next = now + self.interval;
        }
        loop {
            let left = self.next.saturating_duration_since(Instant::now());
            let limit = Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos().into() };
            let out = std::io::stdout();
            // Without events to wait for a hang-up is told all the same.
            let mut fds = [PollFd::new(&self.signals.queue, PollFlags::IN), PollFd::new(&out, PollFlags::empty())];
            let ready = rustix::io::retry_on_intr(|| poll(&mut fds, Some(&limit))).named(|| "poll".to_owned())?;
            if ready == 0 {
                return Ok(true);
            }
            if !fds[1].revents().is_empty() {
                return Ok(false);
            }
            while let Some((signal, _)) = self.signals.next()? {
                if asks_to_end(signal) {
                    return Ok(false);
                }
            }
        }
    }
}
