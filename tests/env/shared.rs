//! What networks that containers share need of the host.

use std::path::Path;

/// What is missing, as the reason for a skip.
pub fn missing() -> Option<&'static str> {
    let has = |name: &str, dirs: &[&str]| dirs.iter().any(|dir| Path::new(dir).join(name).exists());
    let podman = ["/usr/lib/podman", "/usr/libexec/podman"];
    if !has("netavark", &podman) {
        return Some("netavark is not installed");
    }
    (!has("iptables", &["/usr/sbin", "/sbin", "/usr/bin"])).then_some("iptables is not installed")
}
