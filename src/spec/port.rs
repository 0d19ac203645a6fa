//! `-p`, `-P` and `--expose` (docker-run(1); go-connections, `nat`): ports of the container that the host gives out.

use super::address;
use crate::error::Advise;
pub use crate::net::port::Protocol;
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

/// More are not published: each is a socket or two.
const MOST: usize = 65536;

/// Which port of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostPort {
    /// Any that is free, the same one on all addresses.
    Random,
    /// This one.
    Fixed(u16),
    /// The first of these that is free once the fixed ones are bound.
    FirstFree(RangeInclusive<u16>),
}

/// One port of the container on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// The host's address; none is all of them, of IPv4 and of IPv6.
    pub host_ip: Option<IpAddr>,
    /// Not 0.
    pub host_port: HostPort,
    /// Not 0.
    pub container_port: u16,
    /// What runs over it.
    pub protocol: Protocol,
}

/// Ports that a container says it serves: `--expose`, or an image's `ExposedPorts`. None of them is 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exposed {
    /// One or many.
    pub ports: RangeInclusive<u16>,
    /// What runs over them.
    pub protocol: Protocol,
}

/// Reads all `-p [[IP:][HOST]:]CONTAINER[/PROTOCOL]`, ranges taken apart. Two that take the same port are an error.
pub fn publish(texts: &[impl AsRef<str>]) -> Result<Vec<Publish>> {
    let mut all = Vec::new();
    let mut taken = Taken::default();
    for text in texts.iter().map(AsRef::as_ref) {
        let wanted = one(text).with_context(|| format!("-p {text}"))?;
        ensure!(all.len() + wanted.len() <= MOST, "-p {text}: more than {MOST} ports are published");
        for publish in &wanted {
            taken.take(publish, text)?;
        }
        all.extend(wanted);
    }
    Ok(all)
}

/// Reads one `-p`.
fn one(text: &str) -> Result<Vec<Publish>> {
    let (address, rest) = address_of(text)?;
    let (rest, protocol) = protocol(rest)?;
    let (host, container) = rest.split_once(':').unwrap_or(("", rest));
    if container.is_empty() {
        bail!("no port specified: {text}<empty>");
    }
    let container = range(container).context("invalid containerPort")?;
    let host = if host.is_empty() { None } else { Some(range(host).context("invalid hostPort")?) };
    if let Some(host) = &host {
        if container.len() != host.len() && container.len() != 1 {
            bail!("invalid ranges specified for container and host Ports: {} and {}", shown(&container), shown(host));
        }
    }
    let first = *container.start();
    let host_port = |port: u16| match &host {
        None => HostPort::Random,
        Some(host) if host.len() == container.len() => HostPort::Fixed(host.start() + (port - first)),
        Some(host) => HostPort::FirstFree(host.clone()),
    };
    let publish = |port| Publish { host_ip: address, host_port: host_port(port), container_port: port, protocol };
    Ok(container.clone().map(publish).collect())
}

/// The address at the beginning, and what follows its colon.
fn address_of(text: &str) -> Result<(Option<IpAddr>, &str)> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let (address, rest) = bracketed.split_once("]:").context("not of the form [IPv6]:HOST:CONTAINER")?;
        let ports = rest.split('/').next().unwrap_or(rest);
        if ports.matches(':').count() != 1 {
            return Err(anyhow!("not of the form [IPv6]:HOST:CONTAINER"))
                .hint(|| "[IPv6]::CONTAINER takes any port of the host".to_owned());
        }
        return Ok((Some(address::ip(address)?), rest));
    }
    match text.matches(':').count() {
        0 | 1 => Ok((None, text)),
        2 => {
            let (address, rest) = text.split_once(':').context("no colon")?;
            let address = if address.is_empty() { None } else { Some(address::ip(address)?) };
            Ok((address, rest))
        }
        _ => Err(anyhow!("invalid port format: [[IP:][HOST]:]CONTAINER[/PROTOCOL] is wanted"))
            .hint(|| "an IPv6 address is in brackets: -p [::1]:8080:80".to_owned()),
    }
}

fn protocol(text: &str) -> Result<(&str, Protocol)> {
    let Some((ports, name)) = text.split_once('/') else { return Ok((text, Protocol::Tcp)) };
    match name.to_ascii_lowercase().as_str() {
        "tcp" => Ok((ports, Protocol::Tcp)),
        "udp" => Ok((ports, Protocol::Udp)),
        "sctp" => bail!("sctp: neither pasta nor slirp4netns carries it: tcp or udp is wanted"),
        _ => bail!("invalid proto: {name}: tcp or udp is wanted"),
    }
}

/// Reads `PORT` or `FIRST-LAST`.
fn range(text: &str) -> Result<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    ensure!(first <= last, "invalid range specified for port: {text}");
    Ok(first..=last)
}

fn port(text: &str) -> Result<u16> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    ensure!(is_number, "\"{text}\" is not a port");
    match text.parse() {
        Ok(0) => Err(anyhow!("\"{text}\": ports go from 1 to 65535"))
            .hint(|| "without a host port a free one is taken: -p 80, -p 127.0.0.1::80".to_owned()),
        Ok(port) => Ok(port),
        Err(_) => bail!("\"{text}\": ports go from 1 to 65535"),
    }
}

fn shown(range: &RangeInclusive<u16>) -> String {
    let (first, last) = (range.start(), range.end());
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

/// Ports of the host that are given away, and by which option.
#[derive(Default)]
struct Taken<'a>(BTreeMap<(Protocol, u16, Option<IpAddr>), &'a str>);

impl<'a> Taken<'a> {
    /// Candidates and random ports give way to others by themselves.
    fn take(&mut self, publish: &Publish, text: &'a str) -> Result<()> {
        let HostPort::Fixed(port) = publish.host_port else { return Ok(()) };
        let (protocol, address) = (publish.protocol, publish.host_ip);
        let of = |address: Option<IpAddr>| (protocol, port, address);
        let (v4, v6) = (Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into());
        let last = IpAddr::V6(Ipv6Addr::from(u128::MAX));
        // None comes first, then IPv4, then IPv6.
        let range = match address {
            None => of(None)..=of(Some(last)),
            Some(address) if address == v4 => of(Some(v4))..=of(Some(IpAddr::V4(Ipv4Addr::BROADCAST))),
            Some(address) if address == v6 => of(Some(v6))..=of(Some(last)),
            Some(_) => of(address)..=of(address),
        };
        let every = address.map(|address| if address.is_ipv4() { v4 } else { v6 });
        let same = self.0.range(range).next().map(|(_, other)| *other);
        let other = same.or_else(|| self.0.get(&of(None)).copied()).or_else(|| self.0.get(&of(every)).copied());
        if let Some(other) = other {
            bail!("-p {text}: port {port}/{protocol} of the host is already taken by -p {other}");
        }
        self.0.insert(of(address), text);
        Ok(())
    }
}

/// Reads `--expose PORT[-PORT][/PROTOCOL]`, also a key of an image's `ExposedPorts`.
pub fn expose(text: &str) -> Result<Exposed> {
    let (ports, protocol) = protocol(text)?;
    let ports = range(ports).context("invalid range format for --expose")?;
    Ok(Exposed { ports, protocol })
}

/// What `-P` adds: each port that the options or the image expose and that is not published yet, on a free one.
/// `of_image`: the keys of its `ExposedPorts`.
pub fn publish_all(published: &[Publish], exposed: &[Exposed], of_image: &[String]) -> Result<Vec<Publish>> {
    let of_image = of_image.iter().map(|text| expose(text).with_context(|| format!("the image exposes port {text}")));
    let of_image = of_image.collect::<Result<Vec<_>>>().hint(|| "-p publishes single ports".to_owned())?;
    let mut known: BTreeSet<(Protocol, u16)> = published.iter().map(|one| (one.protocol, one.container_port)).collect();
    let mut added = Vec::new();
    for Exposed { ports, protocol } in exposed.iter().chain(&of_image) {
        for port in ports.clone().filter(|port| known.insert((*protocol, *port))) {
            added.push(Publish {
                host_ip: None,
                host_port: HostPort::Random,
                container_port: port,
                protocol: *protocol,
            });
        }
        ensure!(published.len() + added.len() <= MOST, "-P: more than {MOST} ports are published");
    }
    Ok(added)
}

#[cfg(test)]
mod tests;
