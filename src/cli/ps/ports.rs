//! The column PORTS: what is published and what is served, ranges together (docker/cli, `formatter/container.go`,
//! `DisplayablePorts`).

use crate::engine::list::Listed;
use crate::net::port::Protocol;
use std::net::{IpAddr, SocketAddr};

/// A port of a container, and where it is on the host if it is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// The container's.
    pub inner: u16,
    /// The host's.
    pub outer: Option<(IpAddr, u16)>,
    /// Which kind.
    pub protocol: Protocol,
}

/// Ports that follow each other and have the same number on both sides.
struct Range {
    host: Option<IpAddr>,
    protocol: Protocol,
    first: u16,
    last: u16,
}

/// All of a container, each family of addresses by itself.
pub fn of(listed: &Listed) -> Vec<Port> {
    let published = listed.ports.iter().flat_map(|one| {
        let port = |place: SocketAddr| Port {
            inner: one.container_port,
            outer: Some((place.ip(), place.port())),
            protocol: one.protocol,
        };
        one.places().map(port)
    });
    let exposed =
        listed.exposed.iter().map(|(inner, protocol)| Port { inner: *inner, outer: None, protocol: *protocol });
    let mut all: Vec<Port> = published.chain(exposed).collect();
    all.sort();
    all
}

/// As docker shows them: `0.0.0.0:8080->80/tcp, [::]:8080->80/tcp, 443/tcp`.
pub fn shown(ports: &[Port]) -> String {
    let mut ranges: Vec<Range> = Vec::new();
    let (mut ended, mut moved): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for port in ports {
        let inner = port.inner;
        let host = match port.outer {
            Some((host, outer)) if outer != inner => {
                moved.push(format!("{}->{inner}/{}", SocketAddr::new(host, outer), port.protocol));
                continue;
            }
            outer => outer.map(|(host, _)| host),
        };
        match ranges.iter_mut().find(|range| (range.host, range.protocol) == (host, port.protocol)) {
            None => ranges.push(Range { host, protocol: port.protocol, first: inner, last: inner }),
            Some(range) if Some(inner) == range.last.checked_add(1) => range.last = inner,
            Some(range) => {
                ended.push(range.shown());
                (range.first, range.last) = (inner, inner);
            }
        }
    }
    ended.extend(ranges.iter().map(Range::shown));
    ended.extend(moved);
    ended.join(", ")
}

impl Range {
    fn shown(&self) -> String {
        let Range { first, last, protocol, .. } = self;
        let ports = if first == last { first.to_string() } else { format!("{first}-{last}") };
        match self.host {
            Some(IpAddr::V6(host)) => format!("[{host}]:{ports}->{ports}/{protocol}"),
            Some(host) => format!("{host}:{ports}->{ports}/{protocol}"),
            None => format!("{ports}/{protocol}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_docker() {
        let port = |text: &str| {
            let (text, protocol) = text.split_once('/').unwrap();
            let protocol = if protocol == "tcp" { Protocol::Tcp } else { Protocol::Udp };
            let (host, inner) = text.rsplit_once('>').map_or((None, text), |(host, inner)| (Some(host), inner));
            let outer = host.map(|host| host.parse::<SocketAddr>().unwrap()).map(|host| (host.ip(), host.port()));
            Port { inner: inner.parse().unwrap(), outer, protocol }
        };
        for (ports, text) in [
            ("", ""),
            ("80/tcp", "80/tcp"),
            ("80/tcp 81/tcp 82/tcp 90/tcp", "80-82/tcp, 90/tcp"),
            ("0.0.0.0:8080>80/tcp [::]:8080>80/tcp", "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"),
            ("0.0.0.0:80>80/tcp 0.0.0.0:81>81/tcp", "0.0.0.0:80-81->80-81/tcp"),
            ("0.0.0.0:80>80/tcp [::]:80>80/tcp 81/tcp", "0.0.0.0:80->80/tcp, [::]:80->80/tcp, 81/tcp"),
            ("127.0.0.1:53>53/udp 53/tcp 127.0.0.1:9>8/tcp", "53/tcp, 127.0.0.1:53->53/udp, 127.0.0.1:9->8/tcp"),
        ] {
            let mut ports: Vec<Port> = ports.split_whitespace().map(port).collect();
            ports.sort();
            assert_eq!(shown(&ports), text);
        }
    }
}
