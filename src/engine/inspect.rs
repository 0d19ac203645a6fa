//! All about one container, in docker's words (moby, `api/types/container`, `InspectResponse`), as far as there is
//! something to say.

pub mod asked;
pub mod health;
pub mod mounts;
pub mod networks;
pub mod platform;
pub mod size;

use super::container::Found;
use super::state::Status;
use super::{damage, log};
use crate::error::Failure;
use crate::time::Time;
use serde_json::{Value, json};

/// The object that `inspect` shows, and which of the container's files cannot be read.
pub fn inspect(found: &Found) -> (Value, Vec<Failure>) {
    let container = &found.container;
    let (state, failure) = damage::state(found);
    let (path, args) = match container.args.split_first() {
        Some((path, args)) => (path.clone(), args.to_vec()),
        None => (String::new(), Vec::new()),
    };
    let lower: Vec<String> = container.layers.iter().map(|dir| dir.display().to_string()).collect();
    let log = log::file(&found.dir, 0);
    let log_path = if log.exists() { log.display().to_string() } else { String::new() };
    let value = json!({
        "Id": container.id,
        "Created": container.created,
        "Path": path,
        "Args": args,
        "State": {
            "Status": state.status.to_string(),
            "Running": state.status == Status::Running,
            "Paused": false,
            "Restarting": false,
            "OOMKilled": false,
            "Dead": false,
            "Pid": state.pid().unwrap_or(0),
            "ExitCode": state.exit_code(),
            "Error": state.exit.as_ref().map(|exit| exit.error.as_str()).unwrap_or_default(),
            "StartedAt": state.run.as_ref().map_or(Time::NEVER, |run| run.started),
            "FinishedAt": state.exit.as_ref().map_or(Time::NEVER, |exit| exit.finished),
        },
        "LogPath": log_path,
        "Image": container.image.as_ref().map(|image| image.id.to_string()).unwrap_or_default(),
        "ImageName": container.image.as_ref().map(|image| image.name.as_str()).unwrap_or_default(),
        "Name": container.name.as_ref().map(|name| format!("/{name}")).unwrap_or_default(),
        "Config": container.config,
        "GraphDriver": {
            "Name": "overlay",
            "Data": {
                "LowerDir": lower.join(":"),
                "UpperDir": found.upper().map(|dir| dir.display().to_string()).unwrap_or_default(),
            },
        },
        "Rootfs": container.root.as_ref().map(|dir| dir.display().to_string()).unwrap_or_default(),
    });
    (value, failure.into_iter().collect())
}
