//! How a container is connected now, in docker's words (moby, `api/types/container`, `NetworkSettings`). Pure.

use super::networks::Endpoint;
use crate::engine::container::Container;
use crate::net::port::{Protocol, Published};
use serde_json::{Map, Value, json};

/// docker's own network, whose addresses are once more in `NetworkSettings` itself.
const USUAL: &str = "bridge";

/// The object. `ports`: none of a container that does not run. `pid`: its first process.
pub fn of(container: &Container, endpoints: &[Endpoint], ports: Option<Value>, pid: Option<i32>) -> Value {
    let short = container.id.get(..12).unwrap_or_default();
    let names: Vec<&str> = container.name.as_deref().into_iter().chain([short]).collect();
    let networks: Map<String, Value> =
        endpoints.iter().map(|endpoint| (endpoint.network.clone(), endpoint.shown(&names))).collect();
    let usual = endpoints.iter().find(|endpoint| endpoint.network == USUAL).cloned().unwrap_or_default();
    let mut all = usual.addresses();
    for (key, value) in [
        ("Bridge", json!("")),
        ("SandboxID", json!("")),
        ("SandboxKey", json!(pid.map(|pid| format!("/proc/{pid}/ns/net")).unwrap_or_default())),
        ("Ports", ports.unwrap_or_else(|| json!({}))),
        ("Networks", networks.into()),
    ] {
        all.insert(key.to_owned(), value);
    }
    all.into()
}

/// The map of ports: those that are published with their places on the host, the others with null.
pub fn ports(published: &[Published], exposed: &[(u16, Protocol)]) -> Value {
    let mut all: Map<String, Value> =
        exposed.iter().map(|(port, protocol)| (format!("{port}/{protocol}"), Value::Null)).collect();
    for one in published {
        let bindings = all.entry(one.inner()).or_insert(Value::Null);
        if bindings.is_null() {
            *bindings = json!([]);
        }
        if let Some(bindings) = bindings.as_array_mut() {
            bindings.extend(
                one.places().map(|place| json!({ "HostIp": place.ip(), "HostPort": place.port().to_string() })),
            );
        }
    }
    all.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_both_families() {
        let published = |host: &str, dual, host_port| Published {
            host: host.parse().unwrap(),
            dual,
            host_port,
            container_port: 80,
            protocol: Protocol::Tcp,
        };
        let all = [published("::", true, 8080), published("127.0.0.1", false, 9090)];
        let expected = json!({
            "80/tcp": [
                { "HostIp": "0.0.0.0", "HostPort": "8080" },
                { "HostIp": "::", "HostPort": "8080" },
                { "HostIp": "127.0.0.1", "HostPort": "9090" },
            ],
            "53/udp": null,
        });
        assert_eq!(ports(&all, &[(53, Protocol::Udp)]), expected);
    }
}
