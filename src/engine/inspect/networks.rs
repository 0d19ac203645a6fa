//! Which networks a container is on, in docker's words (moby, `api/types/network`, `EndpointSettings`).

use crate::engine::container::Found;
use crate::engine::network;
use crate::engine::networks::{self, Definition, membership};
use crate::net::shared::message::Connected;
use crate::spec::address::Mac;
use crate::spec::network::{Membership, Network};
use crate::spec::uplink::Helper;
use anyhow::Result;
use serde_json::{Map, Value, json};
use std::net::IpAddr;

/// What is known of the networks that containers share, asked for once.
#[derive(Debug, Default)]
pub struct Networks {
    definitions: Vec<Definition>,
    connected: Vec<Connected>,
}

/// A container's part in one network.
#[derive(Debug, Clone, Default)]
pub struct Endpoint {
    /// The network's name; for one that is the container's own, docker's word for it.
    pub network: String,
    /// The id of one that containers share, if it is there.
    pub id: String,
    mac: String,
    aliases: Vec<String>,
    addresses: Vec<Address>,
    /// What was asked for.
    wanted: Option<Membership>,
}

#[derive(Debug, Clone)]
struct Address {
    address: IpAddr,
    prefix: u8,
    gateway: IpAddr,
}

/// What `--network` was, in docker's words (`HostConfig.NetworkMode`). docker's default network is called bridge, which is
/// also typed for rbox's.
pub fn mode(network: &Network) -> String {
    match network {
        Network::Default => "bridge".to_owned(),
        Network::None => "none".to_owned(),
        Network::Host => "host".to_owned(),
        Network::Container(name) => format!("container:{name}"),
        Network::Path(path) => format!("ns:{}", path.display()),
        Network::Uplink(uplink) => match uplink.helper {
            Helper::Auto => "bridge".to_owned(),
            Helper::Pasta => "pasta".to_owned(),
            Helper::Slirp => "slirp4netns".to_owned(),
        },
        Network::Shared(memberships) => memberships.first().map(|one| one.network.clone()).unwrap_or_default(),
    }
}

/// True if ports of it can be published.
pub fn has_ports(network: &Network) -> bool {
    matches!(network, Network::Default | Network::Uplink(_) | Network::Shared(_))
}

impl Networks {
    /// Asks for what is known.
    pub fn read() -> Result<Networks> {
        Ok(Networks { definitions: networks::list()?, connected: membership::connected()? })
    }

    /// Those that a container is on. One that does not run has no addresses.
    pub fn of(&self, found: &Found, network: &Network, runs: bool) -> Vec<Endpoint> {
        let named = || Endpoint { network: mode(network), ..Endpoint::default() };
        match network {
            Network::None | Network::Host => vec![named()],
            // It is on another's.
            Network::Container(_) | Network::Path(_) => vec![],
            Network::Default | Network::Uplink(_) => {
                let mut endpoint = named();
                if let Some(own) = network::own(network).filter(|_| runs) {
                    let v4 = own.v4.map(|own| address(own.address.into(), own.prefix, own.gateway.into()));
                    let v6 = own.v6.map(|own| address(own.address.into(), own.prefix, own.gateway.into()));
                    endpoint.mac = Mac::of(network::mac(&own)).to_string();
                    endpoint.addresses = v4.into_iter().chain(v6).collect();
                }
                vec![endpoint]
            }
            Network::Shared(memberships) => self.shared(found, memberships, runs),
        }
    }

    /// While it runs whoever keeps the networks knows what it is on, which may have changed since.
    fn shared(&self, found: &Found, memberships: &[Membership], runs: bool) -> Vec<Endpoint> {
        let here = self.connected.iter().find(|connected| connected.container.id == found.container.id);
        let Some(connected) = here.filter(|_| runs) else {
            let asked = memberships.iter().map(|one| {
                let definition = self.definitions.iter().find(|network| network.name == one.network);
                Endpoint {
                    network: one.network.clone(),
                    id: definition.map(|network| network.id.clone()).unwrap_or_default(),
                    aliases: one.aliases.clone(),
                    wanted: Some(one.clone()),
                    ..Endpoint::default()
                }
            });
            return asked.collect();
        };
        let attached = connected.to.iter().map(|attached| {
            let definition = self.definitions.iter().find(|network| network.id == attached.network);
            let name = definition.map(|network| network.name.clone()).unwrap_or_default();
            let wanted = memberships.iter().find(|one| one.network == name).cloned();
            Endpoint {
                network: name,
                id: attached.network.clone(),
                mac: attached.mac.clone(),
                aliases: wanted.as_ref().map(|one| one.aliases.clone()).unwrap_or_default(),
                addresses: attached
                    .addresses
                    .iter()
                    .map(|place| address(place.address, place.subnet.prefix(), place.gateway))
                    .collect(),
                wanted,
            }
        });
        attached.collect()
    }
}

fn address(address: IpAddr, prefix: u8, gateway: IpAddr) -> Address {
    Address { address, prefix, gateway }
}

impl Endpoint {
    /// The addresses, as they are in `Networks` and, for docker's default network, in `NetworkSettings` itself.
    pub fn addresses(&self) -> Map<String, Value> {
        let of = |ipv6: bool| self.addresses.iter().find(|place| place.address.is_ipv6() == ipv6);
        let text = |address: Option<IpAddr>| address.map(|address| address.to_string()).unwrap_or_default();
        let (v4, v6) = (of(false), of(true));
        let all = json!({
            "EndpointID": "",
            "Gateway": text(v4.map(|place| place.gateway)),
            "IPAddress": text(v4.map(|place| place.address)),
            "IPPrefixLen": v4.map_or(0, |place| place.prefix),
            "IPv6Gateway": text(v6.map(|place| place.gateway)),
            "GlobalIPv6Address": text(v6.map(|place| place.address)),
            "GlobalIPv6PrefixLen": v6.map_or(0, |place| place.prefix),
            "MacAddress": self.mac,
        });
        all.as_object().cloned().unwrap_or_default()
    }

    /// The whole object. `names`: what others on a network that is shared find the container by, beside its aliases.
    pub fn shown(&self, names: &[&str]) -> Value {
        let list = |texts: Vec<&str>| if texts.is_empty() { Value::Null } else { json!(texts) };
        let aliases: Vec<&str> = self.aliases.iter().map(String::as_str).collect();
        let is_shared = !self.id.is_empty() || self.wanted.is_some();
        let dns = if is_shared { names.iter().copied().chain(aliases.iter().copied()).collect() } else { Vec::new() };
        let mut shown = self.addresses();
        shown.insert("IPAMConfig".to_owned(), self.wanted_addresses());
        shown.insert("Links".to_owned(), Value::Null);
        shown.insert("Aliases".to_owned(), list(aliases));
        shown.insert("DriverOpts".to_owned(), Value::Null);
        shown.insert("GwPriority".to_owned(), json!(0));
        shown.insert("NetworkID".to_owned(), json!(self.id));
        shown.insert("DNSNames".to_owned(), list(dns));
        shown.into()
    }

    fn wanted_addresses(&self) -> Value {
        let mut addresses = Map::new();
        if let Some(wanted) = &self.wanted {
            addresses.extend(wanted.ipv4.map(|address| ("IPv4Address".to_owned(), json!(address))));
            addresses.extend(wanted.ipv6.map(|address| ("IPv6Address".to_owned(), json!(address))));
        }
        if addresses.is_empty() { Value::Null } else { addresses.into() }
    }
}
