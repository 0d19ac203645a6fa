//! `--restart`: whether a container that has ended is started again (moby, `api/types/container`, `RestartPolicy`). Pure.

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// When, in docker's words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Never.
    #[default]
    No,
    /// When its status was not 0, so many times at most; 0 is no limit.
    OnFailure(u32),
    /// Whatever its status was, unless somebody has stopped it; also after a reboot.
    Always,
    /// The same, and after a reboot only if nobody had stopped it.
    UnlessStopped,
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Restart::OnFailure(count @ 1..) => write!(f, ":{count}"),
            _ => Ok(()),
        }
    }
}

impl Restart {
    /// docker's word, without the count.
    pub fn name(self) -> &'static str {
        match self {
            Restart::No => "no",
            Restart::OnFailure(_) => "on-failure",
            Restart::Always => "always",
            Restart::UnlessStopped => "unless-stopped",
        }
    }

    /// True if it ends by itself some time.
    pub fn is_counted(self) -> bool {
        matches!(self, Restart::OnFailure(1..))
    }

    /// Whether one that has ended with this status, and was started again `count` times in a row, is to be started once more.
    pub fn wants(self, status: u8, count: u32) -> bool {
        match self {
            Restart::No => false,
            Restart::OnFailure(most) => status != 0 && (most == 0 || count < most),
            Restart::Always | Restart::UnlessStopped => true,
        }
    }
}

/// Reads `on-failure:3`. An empty word is `no`.
pub fn parse(text: &str) -> Result<Restart> {
    let (name, count) = match text.split_once(':') {
        Some((name, count)) => (name, Some(count)),
        None => (text, None),
    };
    ensure!(count.is_none() || name == "on-failure", "a number of restarts comes with on-failure only");
    match name {
        "" | "no" | "never" => Ok(Restart::No),
        "always" => Ok(Restart::Always),
        "unless-stopped" => Ok(Restart::UnlessStopped),
        "on-failure" => {
            let count = count.map(|count| count.parse().with_context(|| format!("{count}: a number is wanted")));
            Ok(Restart::OnFailure(count.transpose()?.unwrap_or(0)))
        }
        _ => bail!("no, on-failure[:COUNT], always or unless-stopped is wanted"),
    }
}

/// A run of this length counts as one that went well (moby, `restartmanager`, `backoffMultiplier` and its neighbours).
const WELL: Duration = Duration::from_secs(10);
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);

/// How long to wait before the next start: 100 ms, and each time twice as long, up to a minute. `last`: how long that was the
/// last time, `ran`: how long the container ran.
pub fn delay(last: Duration, ran: Duration) -> Duration {
    if ran >= WELL || last.is_zero() { FIRST } else { (last * 2).min(LONGEST) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        for (text, expected) in [
            ("", Restart::No),
            ("no", Restart::No),
            ("always", Restart::Always),
            ("unless-stopped", Restart::UnlessStopped),
            ("on-failure", Restart::OnFailure(0)),
            ("on-failure:3", Restart::OnFailure(3)),
        ] {
            assert_eq!(parse(text).expect(text), expected);
        }
        for text in ["sometimes", "always:3", "on-failure:", "on-failure:-1", "on-failure:x", "no:1"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(Restart::OnFailure(3).to_string(), "on-failure:3");
        assert_eq!(Restart::OnFailure(0).to_string(), "on-failure");
    }

    #[test]
    fn who_is_started_again() {
        assert!(!Restart::No.wants(1, 0));
        assert!(Restart::Always.wants(0, 1000) && Restart::UnlessStopped.wants(0, 0));
        assert!(!Restart::OnFailure(0).wants(0, 0) && Restart::OnFailure(0).wants(1, 1000));
        assert!(Restart::OnFailure(2).wants(1, 1) && !Restart::OnFailure(2).wants(1, 2));
    }

    #[test]
    fn delays_grow() {
        let seconds = Duration::from_secs;
        assert_eq!(delay(Duration::ZERO, Duration::ZERO), FIRST);
        assert_eq!(delay(FIRST, seconds(1)), FIRST * 2);
        assert_eq!(delay(seconds(50), seconds(1)), LONGEST);
        assert_eq!(delay(seconds(50), seconds(11)), FIRST);
    }
}
