//! What a user is told once a session and not with every run.

use crate::paths;
use rustix::fs::{Mode, OFlags};

/// That a container has one id, because there is no range or nobody who can map it.
pub const ONE_ID: &str = "said-one-id";

/// That the kernel refuses overlays.
pub const NO_OVERLAY: &str = "said-no-overlay";

/// True the first time in a session, and where the runtime directory cannot tell.
pub fn first_time(what: &str) -> bool {
    let Ok(dir) = paths::runtime_dir() else { return true };
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    match rustix::fs::open(dir.join(what), flags, Mode::RUSR | Mode::WUSR) {
        Ok(_) => true,
        Err(errno) => errno != rustix::io::Errno::EXIST,
    }
}
