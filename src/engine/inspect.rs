//! All about one container, in docker's words (moby, `api/types/container`, `InspectResponse`): what rbox knows the truth of.

pub mod asked;
mod config;
mod host_config;
pub mod mounts;
mod network_settings;
pub mod networks;
pub mod platform;
pub mod size;

use super::cgroup::{self, Known};
use super::container::Found;
use super::etc;
use super::health::{self, Health};
use super::restart;
use super::state::{State, Status};
use super::{damage, log, overlay, port, record};
use crate::cgroup::place::MOUNTED;
use crate::error::Failure;
use crate::spec::options::{Options, Overlays};
use crate::time::Time;
use networks::Networks;
use serde_json::{Map, Value, json};
use std::path::Path;

/// The object that `inspect` shows, and what of it cannot be read. `sized`: also how much it takes, which is counted.
pub fn inspect(found: &Found, sized: bool) -> (Value, Vec<Failure>) {
    let container = &found.container;
    let mut failures = Vec::new();
    let (state, failure) = damage::state(found);
    failures.extend(failure);
    let health = damage::part(found, health::read(found), &mut failures);
    let asked = damage::part(found, asked::of(found).map(Some), &mut failures);
    let (path, args) = match container.args.split_first() {
        Some((path, args)) => (path.clone(), args.to_vec()),
        None => (String::new(), Vec::new()),
    };
    let log = log::file(&found.dir, 0);
    let mut all = json!({
        "Id": container.id,
        "Created": container.created,
        "Path": path,
        "Args": args,
        "State": about_state(&state, health),
        "Image": container.image.as_ref().map(|image| image.id.to_string()).unwrap_or_default(),
        // podman's.
        "ImageName": container.image.as_ref().map(|image| image.name.as_str()).unwrap_or_default(),
        "Rootfs": container.root.as_ref().map(|dir| dir.display().to_string()).unwrap_or_default(),
        "LogPath": if log.exists() { log.display().to_string() } else { String::new() },
        "Name": container.name.as_ref().map(|name| format!("/{name}")).unwrap_or_default(),
        "RestartCount": restart::of(&found.dir).count,
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": null,
        "Config": container.config,
    });
    let mut add = |more: Value| {
        if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
            all.extend(more);
        }
    };
    add(files_of_etc(found, &state));
    let known = if state.runs() { damage::part(found, cgroup::known(found), &mut failures) } else { Known::default() };
    add(json!({ "Limits": known.limits }));
    if let Some(options) = &asked {
        let system = rustix::system::uname();
        let host = system.nodename().to_string_lossy();
        // In the background it has a log instead.
        let attached = log::reader::numbers(&found.dir).is_empty();
        add(json!({
            "Config": config::of(container, options, &host, attached),
            "HostConfig": host_config::of(container, options),
            "Mounts": mounts::of(options),
            "NetworkSettings": network(found, options, &state, &mut failures),
        }));
    }
    add(driver(found, asked.as_ref()));
    if sized {
        let size = damage::part(found, size::of(found), &mut failures);
        add(json!({ "SizeRw": size.changed, "SizeRootFs": size.whole }));
    }
    // podman's.
    all["State"]["CgroupPath"] = json!(known.path.as_deref().and_then(below_mount).unwrap_or_default());
    (all, failures)
}

fn about_state(state: &State, health: Option<Health>) -> Value {
    let mut about = json!({
        "Status": state.status.to_string(),
        "Running": state.runs() || state.status == Status::Restarting,
        "Paused": state.status == Status::Paused,
        "Restarting": state.status == Status::Restarting,
        "OOMKilled": state.exit.as_ref().is_some_and(|exit| exit.oom),
        "Dead": false,
        "Pid": state.pid().unwrap_or(0),
        "ExitCode": state.exit_code(),
        "Error": state.exit.as_ref().map(|exit| exit.error.as_str()).unwrap_or_default(),
        "StartedAt": state.run.as_ref().map_or(Time::NEVER, |run| run.started),
        "FinishedAt": state.exit.as_ref().map_or(Time::NEVER, |exit| exit.finished),
    });
    // docker's clients take one that is there for a container with checks.
    if let Some(health) = health {
        about["Health"] = json!(health);
    }
    about
}

/// As /proc/PID/cgroup says it.
fn below_mount(path: &Path) -> Option<String> {
    Some(format!("/{}", path.strip_prefix(MOUNTED).ok()?.display()))
}

/// Where the files of /etc are that rbox has made, as long as somebody is responsible for the container.
fn files_of_etc(found: &Found, state: &State) -> Value {
    let dir = record::runtime_of(&found.container.id).ok().filter(|_| state.runs());
    let path = |name: &str| {
        let path = dir.as_ref().map(|dir| dir.join(name)).filter(|path| path.exists());
        path.map(|path| path.display().to_string()).unwrap_or_default()
    };
    let keys = ["HostsPath", "HostnamePath", "ResolvConfPath"];
    keys.into_iter()
        .zip(etc::FILES)
        .map(|(key, file)| (key.to_owned(), json!(path(file))))
        .collect::<Map<_, _>>()
        .into()
}

fn network(found: &Found, options: &Options, state: &State, failures: &mut Vec<Failure>) -> Value {
    let runs = state.runs();
    let ports = runs.then(|| {
        let published = damage::part(found, port::of(found), failures);
        let exposed = damage::part(found, port::exposed(found, &published), failures);
        network_settings::ports(&published, &exposed)
    });
    let networks = damage::part(found, Networks::read(), failures);
    network_settings::of(&found.container, &networks.of(found, &options.network, runs), ports, state.pid())
}

/// Who stacks the directories of its root.
fn driver(found: &Found, options: Option<&Options>) -> Value {
    let name = match options.and_then(|options| options.overlays).unwrap_or_else(overlay::found) {
        Overlays::Kernel => "overlay",
        Overlays::Fuse => "fuse-overlayfs",
        Overlays::Copies => "vfs",
    };
    let lower: Vec<String> = found.container.layers.iter().map(|dir| dir.display().to_string()).collect();
    let upper = found.upper().map(|dir| dir.display().to_string()).unwrap_or_default();
    let data = json!({ "LowerDir": lower.join(":"), "UpperDir": upper });
    json!({ "Driver": name, "GraphDriver": { "Name": name, "Data": data } })
}
