//! What a container's network needs of the host: a helper, ports, addresses.

use super::config;
use crate::error::Advise;
use crate::net::link::Link;
use crate::net::port;
use crate::net::uplink::{self, Family, Kind, Program};
use crate::paths::program;
use crate::spec::network::Network;
use crate::spec::options::Options;
use crate::spec::port::{HostPort, Publish, publish_all};
use crate::spec::uplink::{Addresses, Helper, HostLoopback, Uplink};
use anyhow::{Result, anyhow};
use oci_spec::image::ImageConfiguration;
use std::net::IpAddr;

/// The name of a container's interface.
const INTERFACE: &str = "eth0";

/// What the host has of a container's network.
#[derive(Debug)]
pub struct Outside {
    /// What was asked for, completed.
    pub asked: Uplink,
    /// The interface that the first process makes.
    pub link: Link,
    /// Who carries its packets.
    pub uplink: uplink::Uplink,
    /// What is to be published.
    pub publish: Vec<port::Publish>,
}

/// Finds the helper, for a container with a way out of its own; nothing for another. What is to be published comes later.
pub fn prepare(options: &Options) -> Result<Option<Outside>> {
    let Some(asked) = own(&options.network) else { return Ok(None) };
    let uplink = uplink(&asked, programs(&asked)?);
    // Where --dns names servers, it is they who are asked.
    let asks_host = options.resolver.servers.is_empty() && !options.resolver.is_image_own;
    let link = Link::of(&uplink, if asks_host { vec![asked.resolver.into()] } else { vec![] });
    Ok(Some(Outside { asked, link, uplink, publish: Vec::new() }))
}

/// What a container's own network is, as far as this host has it; nothing for one that is not its own.
pub fn own(network: &Network) -> Option<Uplink> {
    let mut asked = match network {
        Network::Default => Uplink::default(),
        Network::Uplink(asked) => (**asked).clone(),
        // networks/membership.rs
        Network::Shared(_) => return None,
        Network::None | Network::Host | Network::Container(_) | Network::Path(_) => return None,
    };
    // What was asked for by address stays, though it leads nowhere.
    if asked.v6 == Uplink::default().v6 && !host_has_v6() {
        asked.v6 = None;
    }
    Some(asked)
}

/// What is usual, as far as this host has it.
pub(super) fn default_uplink() -> Uplink {
    let mut uplink = Uplink::default();
    if !host_has_v6() {
        uplink.v6 = None;
    }
    uplink
}

/// The helpers that can do what was asked for, pasta first: it is the faster one.
pub(super) fn programs(asked: &Uplink) -> Result<Vec<Program>> {
    let beyond = asked.beyond_slirp();
    let wanted: &[Kind] = match (asked.helper, &beyond) {
        (Helper::Pasta, _) | (Helper::Auto, Some(_)) => &[Kind::Pasta],
        (Helper::Slirp, _) => &[Kind::Slirp],
        (Helper::Auto, None) => &[Kind::Pasta, Kind::Slirp],
    };
    let found = wanted.iter().filter_map(|kind| Some(Program { kind: *kind, path: program(kind.program())? }));
    let found: Vec<Program> = found.collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let names = wanted.iter().map(|kind| kind.program()).collect::<Vec<_>>().join(" nor ");
    let missing =
        if wanted.len() > 1 { format!("neither {names} is installed") } else { format!("{names} is not installed") };
    Err(anyhow!("network: {missing}")).hint(|| {
        "an administrator can install it: apt install passt (or slirp4netns); dnf install passt\n--network none and \
         --network host need neither"
            .to_owned()
    })
}

pub(super) fn uplink(asked: &Uplink, programs: Vec<Program>) -> uplink::Uplink {
    uplink::Uplink {
        programs,
        name: INTERFACE.to_owned(),
        mac: mac(asked),
        gateway_mac: asked.gateway_mac.map(|mac| mac.octets()),
        mtu: asked.mtu.into(),
        v4: asked.v4.map(family),
        v6: asked.v6.map(family),
        host_loopback: match asked.host_loopback {
            HostLoopback::Closed => uplink::HostLoopback::Closed,
            HostLoopback::Gateway => uplink::HostLoopback::Gateway,
            HostLoopback::At { v4, v6 } => {
                uplink::HostLoopback::At(v4.map(IpAddr::V4).into_iter().chain(v6.map(IpAddr::V6)).collect())
            }
        },
        outbound: asked.outbound.clone(),
    }
}

fn family<A>(addresses: Addresses<A>) -> Family<A> {
    let Addresses { address, prefix, gateway } = addresses;
    Family { address, prefix, gateway }
}

/// The hardware address of the interface. As docker makes it up: a prefix of locally administered addresses, then the IPv4
/// address.
pub fn mac(asked: &Uplink) -> [u8; 6] {
    if let Some(mac) = asked.mac {
        return mac.octets();
    }
    let [a, b, c, d] = match (asked.v4, asked.v6) {
        (Some(v4), _) => v4.address.octets(),
        (None, v6) => {
            let octets = v6.map(|v6| v6.address.octets()).unwrap_or_default();
            [octets[12], octets[13], octets[14], octets[15]]
        }
    };
    [0x02, 0x42, a, b, c, d]
}

/// Whether the host has an IPv6 address that others could know (proc(5), /proc/net/if_inet6: the scope is the fourth word,
/// 00 for global).
fn host_has_v6() -> bool {
    let text = fs_err::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    text.lines().any(|line| line.split_whitespace().nth(3) == Some("00"))
}

/// What the options and the image ask for.
pub(super) fn published(options: &Options, image: Option<&ImageConfiguration>) -> Result<Vec<port::Publish>> {
    let mut all = options.publish.clone();
    if options.publish_all {
        let exposed = image.and_then(|image| image.config().as_ref()).and_then(|config| config.exposed_ports().clone());
        all.extend(publish_all(&options.publish, &options.exposed, &exposed.unwrap_or_default())?);
    }
    let usual = match all.iter().any(|publish| publish.host_ip.is_none()) {
        true => config::read()?.network.publish_address,
        false => None,
    };
    // Those that can be another give way.
    all.sort_by_key(|publish| match publish.host_port {
        HostPort::Fixed(_) => 0,
        HostPort::FirstFree(_) => 1,
        HostPort::Random => 2,
    });
    Ok(all.iter().map(|publish| wanted(publish, usual)).collect())
}

fn wanted(publish: &Publish, usual: Option<IpAddr>) -> port::Publish {
    port::Publish {
        host: publish.host_ip.or(usual),
        host_ports: match &publish.host_port {
            HostPort::Random => (0, 0),
            HostPort::Fixed(port) => (*port, *port),
            HostPort::FirstFree(range) => (*range.start(), *range.end()),
        },
        container_port: publish.container_port,
        protocol: publish.protocol,
    }
}
