//! What a systemd unit for one container has to know of it.

use super::again;
use super::container::{self, Found};
use crate::error::Advise;
use crate::spec::health::OnFailure;
use crate::spec::restart::Restart;
use crate::spec::sdnotify::SdNotify;
use anyhow::{Result, anyhow, bail};

/// As its options say.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// Somebody tells systemd when it is ready.
    pub notifies: bool,
    /// Seconds between the signal and the kill; negative is for ever.
    pub stop_timeout: i64,
}

/// Looks at it. One that starts again by itself, or is gone when it has ended, is refused.
pub fn about(found: &Found) -> Result<About> {
    let name = found.shown();
    if found.dir.parent() != Some(container::places()?[0].as_path()) {
        bail!("container {name}: one of --rm is gone when it has ended, and cannot be started again");
    }
    let (options, _) = again::read(found)?;
    let own = match (options.restart, options.health.on_failure) {
        (Restart::No, OnFailure::Restart) => Some("--health-on-failure restart".to_owned()),
        (Restart::No, _) => None,
        (policy, _) => Some(format!("--restart {policy}")),
    };
    if let Some(own) = own {
        return Err(anyhow!("container {name}: is started again by itself ({own}), which is the unit's task")).hint(
            || "make it without that; or `rbox system boot --unit` prints a unit that starts all of these".to_owned(),
        );
    }
    let says = matches!(options.sdnotify, Some(SdNotify::Container | SdNotify::Conmon | SdNotify::Healthy));
    Ok(About {
        // With a terminal the supervisor is another process than the one whose status counts.
        notifies: says && !options.tty,
        stop_timeout: found.container.config["StopTimeout"].as_i64().unwrap_or(10),
    })
}
