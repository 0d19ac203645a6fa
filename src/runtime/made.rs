//! What the maker of a container has made of it so far, and who ends that.
//!
//! Runs in: the host's namespaces.

use super::sync::{Message, Sync};
use crate::error::Advise;
use crate::sys::clone::Child;
use crate::sys::{CallError, process};
use crate::userns::write;
use anyhow::{Result, ensure};
use rustix::io::Errno;
use std::os::fd::AsFd;

/// Processes that must not outlive an error.
pub struct Made {
    /// The process in between, until it has ended.
    pub joiner: Option<Child>,
    /// The container's first process.
    pub init: Option<Child>,
}

impl Made {
    /// Waits until there is something to hear. If the joiner was killed before it has said whom it has made, there will be nothing:
    /// that one waits for what nobody would say.
    pub fn wait_for_word(&self, outside: &Sync) -> Result<()> {
        let Some(joiner) = &self.joiner else { return Ok(()) };
        let said = process::ready_or_ended(outside.as_fd(), joiner.pidfd.as_fd())?;
        let is_lost = !said && process::was_killed(joiner.pidfd.as_fd())?;
        ensure!(!is_lost, "whoever entered the container's namespaces was killed");
        Ok(())
    }

    /// Waits until the joiner has made the first process, or has ended.
    pub fn learn(&mut self, outside: &Sync) -> Result<()> {
        while self.joiner.is_some() && self.init.is_none() {
            self.wait_for_word(outside)?;
            match outside.receive()? {
                Some((Message::Made(pid), mut fds)) => {
                    self.init = fds.pop().map(|pidfd| Child { pid, pidfd });
                }
                Some((Message::Refused { call, errno }, _)) => return Err(refused(call, errno)),
                Some(_) => {}
                None => return Ok(()),
            }
        }
        Ok(())
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for child in [self.joiner.take(), self.init.take()].into_iter().flatten() {
            // Both may have ended by themselves; waiting collects them in any case.
            let _ = process::send_signal(child.pidfd.as_fd(), libc::SIGKILL);
            let _ = process::wait(child.pidfd.as_fd());
        }
    }
}

/// Explained here: inside the limits are those of the new namespace.
pub fn refused(call: String, errno: i32) -> anyhow::Error {
    let errno = Errno::from_raw_os_error(errno);
    let explained: Result<()> = Err(CallError { call, errno }).maybe_hint(|| write::clone_refused(errno));
    explained.err().unwrap_or_else(|| anyhow::anyhow!("refused"))
}
