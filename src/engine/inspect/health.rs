//! How a container's health was at its last checks: `health.json`, which its supervisor writes.

use crate::engine::container::Found;
use crate::engine::state;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The file.
pub const FILE: &str = "health.json";

/// What docker calls one without checks.
pub const NONE: &str = "none";

/// docker's `Health` (moby, `api/types/container`).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Health {
    /// `starting`, `healthy` or `unhealthy`.
    pub status: String,
    /// How many checks in a row have failed.
    #[serde(default)]
    pub failing_streak: u64,
    /// The last checks, the oldest first: `Start`, `End`, `ExitCode`, `Output`.
    #[serde(default)]
    pub log: Vec<Value>,
}

/// That of a container; `None` if none was ever checked.
pub fn of(found: &Found) -> Result<Option<Health>> {
    state::read(&found.dir.join(FILE))
}

/// True if a container may have some: a list does not look into every directory.
pub fn may_be(found: &Found) -> bool {
    found.container.config["Healthcheck"].is_object()
}
