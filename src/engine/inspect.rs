//! All about one container, in docker's words (moby, `api/types/container`, `InspectResponse`), as far as there is
//! something to say.

use super::container::{self, Found};
use crate::time::Time;
use anyhow::Result;
use serde_json::{Value, json};

/// The object that `inspect` shows.
pub fn inspect(found: &Found) -> Result<Value> {
    let container = &found.container;
    let exit: Value = match fs_err::read(found.dir.join(container::EXIT)) {
        Ok(text) => serde_json::from_slice(&text)?,
        Err(_) => Value::Null,
    };
    let status = match (found.live, exit.is_null()) {
        (true, _) => "running",
        (false, true) => "created",
        (false, false) => "exited",
    };
    let (path, args) = match container.args.split_first() {
        Some((path, args)) => (path.clone(), args.to_vec()),
        None => (String::new(), Vec::new()),
    };
    let lower: Vec<String> = container.layers.iter().map(|dir| dir.display().to_string()).collect();
    let never = Time::NEVER.to_string();
    Ok(json!({
        "Id": container.id,
        "Created": container.created,
        "Path": path,
        "Args": args,
        "State": {
            "Status": status,
            "Running": found.live,
            "ExitCode": exit["status"].as_u64().unwrap_or(0),
            "FinishedAt": exit["finished"].as_str().unwrap_or(&never),
        },
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
    }))
}
