//! What a container is, apart from its host, in docker's words (moby, `api/types/container`, `Config`). Pure.

use super::host_config::is_anonymous;
use crate::engine::container::Container;
use crate::spec::host::Host;
use crate::spec::options::{Mount, Namespace, Options};
use crate::spec::{build, signal};
use serde_json::{Map, Value, json};

/// The object: what an image made of the container would say, and what only a container has. `host`: the host's name.
/// `attached`: whether it has the streams of whoever has started it.
pub fn of(container: &Container, options: &Options, host: &str, attached: bool) -> Value {
    let mut all: Map<String, Value> = container.config.as_object().cloned().unwrap_or_default();
    let stdin = attached && options.interactive;
    for (key, value) in [
        ("Hostname", json!(hostname(container, options, host))),
        ("Domainname", json!(options.domainname.as_deref().unwrap_or_default())),
        ("AttachStdin", json!(stdin)),
        ("AttachStdout", json!(attached)),
        ("AttachStderr", json!(attached)),
        ("Tty", json!(options.tty)),
        ("OpenStdin", json!(options.interactive)),
        ("StdinOnce", json!(stdin)),
        ("Image", json!(container.image.as_ref().map(|image| image.name.as_str()).unwrap_or_default())),
    ] {
        all.insert(key.to_owned(), value);
    }
    for (key, usual) in [
        ("User", json!("")),
        ("WorkingDir", json!("")),
        ("Env", json!([])),
        ("Labels", json!({})),
        ("Cmd", Value::Null),
        ("Entrypoint", Value::Null),
        ("Volumes", Value::Null),
    ] {
        let value = all.entry(key).or_insert(Value::Null);
        if value.is_null() {
            *value = usual;
        }
    }
    let anonymous = options.mounts.iter().filter_map(|mount| match mount {
        Mount::Volume(volume) if is_anonymous(volume.name.as_deref()) => Some(volume.target.clone()),
        _ => None,
    });
    let mut volumes = all["Volumes"].as_object().cloned().unwrap_or_default();
    volumes.extend(anonymous.map(|target| (target, json!({}))));
    if !volumes.is_empty() {
        all.insert("Volumes".to_owned(), volumes.into());
    }
    if let Some(number) = all.get("StopSignal").and_then(Value::as_str).and_then(|text| text.parse().ok()) {
        all.insert("StopSignal".to_owned(), json!(signal::name(number)));
    }
    all.into()
}

fn hostname(container: &Container, options: &Options, host: &str) -> String {
    match options.uts {
        Namespace::Private | Namespace::Host => {
            build::hostname(options, &Host { id: container.id.clone(), hostname: host.to_owned(), ..Host::default() })
        }
        // It is another's.
        Namespace::Container(_) | Namespace::Path(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::network::Network;
    use crate::spec::options::Volume;
    use crate::storage::unpack::Owners;
    use crate::time::Time;
    use crate::userns::idmap::{IdMap, IdMaps, IdRange};

    fn container(config: Value) -> Container {
        let map = || IdMap::new(vec![IdRange { inside: 0, outside: 1000, count: 1 }]).unwrap();
        Container {
            id: "0123456789abcdef".repeat(4),
            name: None,
            created: Time::NEVER,
            image: None,
            config,
            args: vec![],
            maps: IdMaps { uid: map(), gid: map() },
            owners: Owners::Record,
            layers: vec![],
            root: None,
            once: false,
            restart: Default::default(),
            asked: None,
            log: Default::default(),
        }
    }

    #[test]
    fn as_dockers() {
        let image = json!({
            "Env": ["A=1"], "Cmd": ["sh"], "Labels": null, "Volumes": { "/image": {} }, "StopSignal": "9",
            "Healthcheck": { "Test": ["CMD", "true"] }, "ExposedPorts": { "80/tcp": {} }
        });
        let volume = Volume { target: "/anonymous".to_owned(), ..Volume::default() };
        let options = Options { interactive: true, mounts: vec![Mount::Volume(volume)], ..Options::default() };
        let config = of(&container(image), &options, "here", true);
        let expected = json!({
            "AttachStderr": true, "AttachStdin": true, "AttachStdout": true, "Cmd": ["sh"], "Domainname": "",
            "Entrypoint": null, "Env": ["A=1"], "ExposedPorts": { "80/tcp": {} },
            "Healthcheck": { "Test": ["CMD", "true"] }, "Hostname": "0123456789ab", "Image": "", "Labels": {},
            "OpenStdin": true, "StdinOnce": true, "StopSignal": "SIGKILL", "Tty": false, "User": "",
            "Volumes": { "/anonymous": {}, "/image": {} }, "WorkingDir": ""
        });
        assert_eq!(config, expected);
        let config =
            of(&container(Value::Null), &Options { network: Network::Host, ..Options::default() }, "here", false);
        assert_eq!((&config["Hostname"], &config["AttachStdout"]), (&json!("here"), &json!(false)));
        assert_eq!((&config["Env"], &config["Volumes"]), (&json!([]), &Value::Null));
    }
}
