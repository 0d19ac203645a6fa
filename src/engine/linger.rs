//! Whether what runs in the background outlives its user's last logout (loginctl(1), `enable-linger`).

use super::said;
use crate::sys::ids;
use crate::userns::subid;
use std::path::Path;

/// That a session's end is theirs.
const SAID: &str = "said-linger";

/// True, once a session, if the user is logged in by way of systemd-logind and does not linger.
pub fn is_to_be_told() -> bool {
    let is_of_logind = std::env::var_os("XDG_SESSION_ID").is_some() && Path::new("/run/systemd/system").is_dir();
    is_of_logind && !lingers() && said::first_time(SAID)
}

/// Where the name cannot be found, nothing is known.
fn lingers() -> bool {
    subid::user_name(ids::uid()).is_none_or(|name| Path::new("/var/lib/systemd/linger").join(name).exists())
}
