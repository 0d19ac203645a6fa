//! `--sdnotify`: who tells a service manager that a container is ready, in podman's words (sd_notify(3)). Pure.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// Who, where NOTIFY_SOCKET names a service manager.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SdNotify {
    /// The payload: it has a socket for that.
    #[default]
    Container,
    /// The supervisor, when the payload runs.
    Conmon,
    /// The supervisor, when the container is healthy for the first time.
    Healthy,
    /// Nobody.
    Ignore,
}

/// Where the payload has the socket.
pub const DIRECTORY: &str = "/run/notify";
/// The socket's name there.
pub const SOCKET: &str = "notify.sock";

/// Reads `--sdnotify`.
pub fn parse(text: &str) -> Result<SdNotify> {
    match text {
        "container" => Ok(SdNotify::Container),
        "conmon" => Ok(SdNotify::Conmon),
        "healthy" => Ok(SdNotify::Healthy),
        "ignore" => Ok(SdNotify::Ignore),
        _ => bail!("container, conmon, healthy or ignore is wanted"),
    }
}

/// The lines of a payload's message that concern the service manager. Its process numbers mean nothing outside, its descriptors
/// are not passed on, and who else may speak is not its business.
pub fn passed_on(message: &[u8]) -> Vec<u8> {
    const KNOWN: [&str; 11] = [
        "READY",
        "RELOADING",
        "STOPPING",
        "MONOTONIC_USEC",
        "STATUS",
        "ERRNO",
        "BUSERROR",
        "EXIT_STATUS",
        "WATCHDOG",
        "WATCHDOG_USEC",
        "EXTEND_TIMEOUT_USEC",
    ];
    let is_known = |line: &&[u8]| {
        let name = line.split(|byte| *byte == b'=').next().unwrap_or_default();
        KNOWN.iter().any(|known| known.as_bytes() == name) && line.contains(&b'=')
    };
    message.split(|byte| *byte == b'\n').filter(is_known).collect::<Vec<_>>().join(&b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_on() {
        let passed = |text: &str| String::from_utf8(passed_on(text.as_bytes())).expect("text");
        assert_eq!(passed("READY=1"), "READY=1");
        assert_eq!(passed("MAINPID=1\nREADY=1\nSTATUS=a=b c\n"), "READY=1\nSTATUS=a=b c");
        assert_eq!(passed("FDSTORE=1\nFDNAME=x\nBARRIER=1\nNOTIFYACCESS=all\nREADY\n\n"), "");
        assert!(parse("").is_err() && parse("conmon").expect("one") == SdNotify::Conmon);
    }
}
