//! What is known of a container's health: `health.json` in its directory, written by its supervisor, in docker's words
//! (moby, `api/types/container`, `Health`).

use super::aside;
use super::container::Found;
use super::record::gone;
use super::state;
use crate::time::Time;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fmt;
use std::path::Path;

/// The file.
pub const FILE: &str = "health.json";

/// As many checks are kept.
const KEPT: usize = 5;

/// In a word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nobody knows yet.
    #[default]
    Starting,
    /// The last check went well.
    Healthy,
    /// Too many did not.
    Unhealthy,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::Starting => "starting",
            Status::Healthy => "healthy",
            Status::Unhealthy => "unhealthy",
        })
    }
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Health {
    /// In a word.
    pub status: Status,
    /// So many failures in a row.
    pub failing_streak: u32,
    /// The last checks, the latest at the end.
    pub log: VecDeque<Checked>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Checked {
    /// When it began.
    pub start: Time,
    /// When it ended.
    pub end: Time,
    /// Its status; -1 if it took too long or could not be done.
    pub exit_code: i32,
    /// What it said.
    pub output: String,
}

impl Health {
    /// Takes a check in. `counts`: failures count. `retries`: so many in a row are too many. True if the word changes.
    pub fn take(&mut self, checked: Checked, counts: bool, retries: u32) -> bool {
        let before = self.status;
        if checked.exit_code == 0 {
            (self.status, self.failing_streak) = (Status::Healthy, 0);
        } else if counts || self.status != Status::Starting {
            self.failing_streak = self.failing_streak.saturating_add(1);
            if self.failing_streak >= retries {
                self.status = Status::Unhealthy;
            }
        }
        self.log.push_back(checked);
        if self.log.len() > KEPT {
            self.log.pop_front();
        }
        self.status != before
    }

    /// Writes it down.
    pub fn write(&self, dir: &Path) -> Result<()> {
        aside::write_whole(dir, FILE, self)
    }
}

/// Reads it; `None` if the container is not checked, or it cannot be read.
pub fn of(dir: &Path) -> Option<Health> {
    serde_json::from_slice(&fs_err::read(dir.join(FILE)).ok()?).ok()
}

/// That of a container; `None` if it is not checked.
pub fn read(found: &Found) -> Result<Option<Health>> {
    state::read(&found.dir.join(FILE))
}

/// True if a container may have some: a list does not look into every directory.
pub fn may_be(found: &Found) -> bool {
    found.container.config["Healthcheck"].is_object()
}

/// The container starts.
pub fn forget(dir: &Path) -> Result<()> {
    gone(rustix::fs::unlink(dir.join(FILE)), dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(exit_code: i32) -> Checked {
        Checked { start: Time::NEVER, end: Time::NEVER, exit_code, output: String::new() }
    }

    #[test]
    fn words() {
        let mut health = Health::default();
        // While it starts, failures do not count.
        assert!(!health.take(checked(1), false, 1) && health.failing_streak == 0);
        assert!(health.take(checked(0), false, 1) && health.status == Status::Healthy);
        // Once it was healthy it has started.
        assert!(!health.take(checked(1), false, 2));
        assert!(health.take(checked(-1), false, 2) && health.status == Status::Unhealthy);
        assert!(!health.take(checked(-1), true, 2) && health.failing_streak == 3);
        assert!(health.take(checked(0), true, 2) && health.failing_streak == 0);
        assert_eq!(health.log.len(), KEPT);
    }
}
