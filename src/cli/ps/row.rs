//! The fields of a container in a list, as docker has them (docker/cli, `formatter/container.go`).

use super::ports;
use crate::cli::{format, human};
use crate::engine::container::Container;
use crate::engine::health;
use crate::engine::inspect::mounts::MountPoint;
use crate::engine::inspect::networks::Endpoint;
use crate::engine::inspect::size::Size;
use crate::engine::list::Listed;
use crate::engine::state::Status;
use crate::time::Time;
use serde_json::{Value, json};

/// What a list does not know by itself, as far as it is shown.
#[derive(Debug, Default)]
pub struct Inside {
    /// What is mounted.
    pub mounts: Vec<MountPoint>,
    /// The networks.
    pub networks: Vec<Endpoint>,
    /// How much it takes.
    pub size: Size,
    /// What its image is made for: an object with `os` and `architecture`.
    pub platform: Option<Value>,
}

/// The row. `whole`: nothing is cut.
pub fn row(listed: &Listed, inside: &Inside, whole: bool, now: Time) -> Value {
    let container = &listed.found.container;
    let mount = |mount: &MountPoint| {
        let name = if mount.name.is_empty() { &mount.source } else { &mount.name };
        if whole { name.clone() } else { human::cut(name, 15) }
    };
    let volumes = inside.mounts.iter().filter(|mount| mount.driver == "local").count();
    json!({
        "Command": command(&container.args, whole),
        "CreatedAt": human::created_at(container.created),
        "HealthStatus": listed.health.as_ref().map(|health| health.status.to_string()).unwrap_or_default(),
        "ID": id(container, whole),
        "Image": image(container, whole),
        "Labels": labels(container),
        "LocalVolumes": volumes.to_string(),
        "Mounts": inside.mounts.iter().map(mount).collect::<Vec<_>>().join(","),
        "Names": container.name.clone().unwrap_or_default(),
        "Networks": inside.networks.iter().map(|network| network.network.as_str()).collect::<Vec<_>>().join(","),
        "Platform": inside.platform,
        "Ports": ports::shown(&ports::of(listed)),
        "RunningFor": human::ago(container.created, now),
        "Size": size(inside.size),
        "State": listed.state.status.to_string(),
        "Status": status(listed, now),
    })
}

/// The id, or the first digits of it.
pub fn id(container: &Container, whole: bool) -> String {
    let id = container.id.as_str();
    if whole { id } else { id.get(..12).unwrap_or(id) }.to_owned()
}

/// The image as it was typed; without a digest if there is little room.
fn image(container: &Container, whole: bool) -> String {
    let Some(image) = &container.image else { return String::new() };
    match image.name.split_once('@') {
        Some((name, _)) if !whole && !name.is_empty() => name.to_owned(),
        _ => image.name.clone(),
    }
}

/// In Go's quotation marks; words with blanks in them have marks of their own (moby, `daemon/container/view.go`).
fn command(words: &[String], whole: bool) -> String {
    let mut text = words.first().cloned().unwrap_or_default();
    for word in words.iter().skip(1) {
        text += &if word.contains(' ') { format!(" '{word}'") } else { format!(" {word}") };
    }
    format::quote(&if whole { text } else { human::cut(&text, 20) }, '"', false)
}

fn labels(container: &Container) -> String {
    let labels = container.config["Labels"].as_object();
    let pair = |(key, value): (&String, &Value)| format!("{key}={}", value.as_str().unwrap_or_default());
    let mut labels: Vec<String> = labels.into_iter().flatten().map(pair).collect();
    labels.sort();
    labels.join(",")
}

fn size(size: Size) -> String {
    let changed = human::size(size.changed);
    match size.whole {
        0 => changed,
        whole => format!("{changed} (virtual {})", human::size(whole)),
    }
}

/// docker's: `Up 5 minutes (healthy)`, `Exited (0) 3 seconds ago`.
fn status(listed: &Listed, now: Time) -> String {
    let state = &listed.state;
    match state.status {
        Status::Created => "Created".to_owned(),
        Status::Running | Status::Paused => {
            let span = state.run.as_ref().map(|run| format!(" {}", human::span(now.since(run.started))));
            let health = listed.health.as_ref().map(|health| match health.status {
                health::Status::Starting => " (health: starting)".to_owned(),
                status => format!(" ({status})"),
            });
            let health =
                if state.status == Status::Paused { " (Paused)".to_owned() } else { health.unwrap_or_default() };
            format!("Up{}{health}", span.unwrap_or_default())
        }
        Status::Exited | Status::Restarting => {
            let word = if state.status == Status::Exited { "Exited" } else { "Restarting" };
            let when = state.exit.as_ref().map(|exit| format!(" {}", human::ago(exit.finished, now)));
            let oom = if state.exit.as_ref().is_some_and(|exit| exit.oom) { " (OOMKilled)" } else { "" };
            format!("{word} ({}){}{oom}", state.exit_code(), when.unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        for (typed, whole, shown) in [
            (vec![], false, "\"\""),
            (vec!["sh"], false, "\"sh\""),
            (vec!["sh", "-c", "sleep 1"], false, "\"sh -c 'sleep 1'\""),
            (vec!["sh", "-c", "echo 0123456789"], false, "\"sh -c 'echo 0123456…\""),
            (vec!["sh", "-c", "echo 0123456789"], true, "\"sh -c 'echo 0123456789'\""),
            (vec!["\u{1b}[31m\"\\\n", "é"], true, "\"\\x1b[31m\\\"\\\\\\n é\""),
        ] {
            assert_eq!(command(&words(&typed), whole), shown);
        }
    }
}
