//! `--network`, and the options that say more of the container's own network: `--ip`, `--mac-address`, `--subnet`, ….

use super::address::{self, Mac};
use super::name;
use super::options::Namespace;
use super::subnet::AnySubnet;
use super::uplink::{Request, Uplink, once, pasta, slirp};
use crate::error::Advise;
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// What a container is connected to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// Nothing was said: [`Uplink::default`].
    #[default]
    Default,
    /// A network of its own with a loopback interface alone.
    None,
    /// The host's.
    Host,
    /// That of another container.
    Container(String),
    /// `ns:PATH`.
    Path(PathBuf),
    /// A network of its own with a way out.
    Uplink(Box<Uplink>),
    /// Networks that containers share; at least one, each once.
    Shared(Vec<Membership>),
}

/// A container's part in one network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The network's name.
    pub network: String,
    /// An address of the network's range; none is any.
    pub ipv4: Option<Ipv4Addr>,
    /// Likewise.
    pub ipv6: Option<Ipv6Addr>,
    /// The hardware address of the interface.
    pub mac: Option<Mac>,
    /// Further names by which the network's other containers find this one.
    pub aliases: Vec<String>,
    /// The interface in the container; none is `eth` and the next number.
    pub interface: Option<String>,
}

/// What other options say of the network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Own {
    /// `--ip`.
    pub ip: Option<Ipv4Addr>,
    /// `--ip6`.
    pub ip6: Option<Ipv6Addr>,
    /// `--mac-address`.
    pub mac: Option<Mac>,
    /// `--subnet`, one for each family.
    pub subnets: Vec<AnySubnet>,
    /// `--gateway`, likewise.
    pub gateways: Vec<IpAddr>,
    /// `--network-alias`.
    pub aliases: Vec<String>,
}

impl Network {
    /// The network namespace that it takes: a new one if the network is the container's own.
    pub fn namespace(&self) -> Namespace {
        match self {
            Network::Host => Namespace::Host,
            Network::Container(name) => Namespace::Container(name.clone()),
            Network::Path(path) => Namespace::Path(path.clone()),
            Network::Default | Network::None | Network::Uplink(_) | Network::Shared(_) => Namespace::Private,
        }
    }

    /// The mode as it is typed, for messages.
    pub fn mode(&self) -> &'static str {
        match self {
            Network::Default => "default",
            Network::None => "none",
            Network::Host => "host",
            Network::Container(_) => "container",
            Network::Path(_) => "ns",
            Network::Uplink(_) => "private",
            Network::Shared(_) => "bridge",
        }
    }
}

/// Reads all `--network`, in order, together with what other options say.
pub fn parse(texts: &[String], own: Own) -> Result<Network> {
    let Some((first, others)) = texts.split_first() else {
        return if own == Own::default() { Ok(Network::Default) } else { uplink(Request::default(), own) };
    };
    match one(first).with_context(|| format!("--network {first}"))? {
        Typed::Other(network) if !others.is_empty() => {
            let mode = network.mode();
            bail!("--network: cannot set multiple networks without bridge network mode, selected mode {mode}")
        }
        Typed::Other(network) => own.refused_with(network.mode()).map(|()| network),
        Typed::Uplink(_) if !others.is_empty() => {
            bail!("--network {first}: excludes other networks: it is one of the container's own")
        }
        Typed::Uplink(request) => uplink(*request, own),
        Typed::Shared(mut memberships) => {
            for text in others {
                let Typed::Shared(more) = one(text).with_context(|| format!("--network {text}"))? else {
                    let mode = text.split(':').next().unwrap_or(text);
                    bail!("--network: can only set extra network names, selected mode {mode} conflicts with bridge");
                };
                memberships.extend(more);
            }
            shared(memberships, own)
        }
    }
}

/// One `--network`.
enum Typed {
    Other(Network),
    Uplink(Box<Request>),
    Shared(Vec<Membership>),
}

fn one(text: &str) -> Result<Typed> {
    let (word, options) = text.split_once(':').map_or((text, None), |(word, options)| (word, Some(options)));
    // docker's long form has no name first: `name=web,alias=db`.
    if word.contains('=') {
        return long(text);
    }
    match (word, options) {
        ("none", None) => Ok(Typed::Other(Network::None)),
        ("host", None) => Ok(Typed::Other(Network::Host)),
        ("none" | "host", Some(_)) => bail!("{word}: takes no options"),
        ("container", Some(name)) if !name.is_empty() => Ok(Typed::Other(Network::Container(name.to_owned()))),
        ("container", _) => bail!("container: not of the form container:NAME"),
        ("ns", Some(path)) if path.starts_with('/') => Ok(Typed::Other(Network::Path(path.into()))),
        ("ns", path) => bail!("{}: the path of a namespace must be absolute", path.unwrap_or_default()),
        ("pasta", options) => Ok(Typed::Uplink(pasta::parse(options.unwrap_or_default())?.into())),
        ("slirp4netns", options) => Ok(Typed::Uplink(slirp::parse(options.unwrap_or_default())?.into())),
        ("" | "default" | "private" | "bridge", options) => {
            ensure!(!(word.is_empty() && options.is_some()), "network name cannot be empty");
            usual(membership(word, options.unwrap_or_default())?)
        }
        ("pod", _) => bail!("pod: there are no pods"),
        (_, None) => {
            let names = text.split(',').map(|name| {
                refuse_mode(name)?;
                membership(name, "")
            });
            names.collect::<Result<_>>().map(Typed::Shared)
        }
        (_, Some(options)) => {
            name::network(word)?;
            Ok(Typed::Shared(vec![membership(word, options)?]))
        }
    }
}

/// A name in a list is a network's.
fn refuse_mode(name: &str) -> Result<()> {
    let modes = ["none", "host", "private", "bridge", "default", "pasta", "slirp4netns", "container", "ns", "pod"];
    if modes.contains(&name) {
        bail!("can only set extra network names, selected mode {name} conflicts with bridge");
    }
    name::network(name)
}

/// What docker's and podman's default network is asked for, of rbox's.
fn usual(asked: Membership) -> Result<Typed> {
    ensure!(asked.aliases.is_empty(), NO_ALIASES);
    ensure!(asked.interface.is_none_or(|name| name == "eth0"), "the interface in the container is eth0");
    let mut request = Request { mac: asked.mac, ..Request::default() };
    request.v4.address = asked.ipv4;
    request.v6.address = asked.ipv6;
    Ok(Typed::Uplink(request.into()))
}

const NO_ALIASES: &str = "network-scoped alias is supported only for containers in user defined networks";

/// Reads podman's options of one network, `ip=…,alias=…`.
fn membership(network: &str, options: &str) -> Result<Membership> {
    let mut membership = Membership { network: network.to_owned(), ..Membership::default() };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        membership.read(name, value).with_context(|| format!("invalid option for network {network}"))?;
    }
    Ok(membership)
}

/// Reads docker's long form (docker/cli, `opts/network.go`).
fn long(text: &str) -> Result<Typed> {
    let mut membership = Membership::default();
    for option in super::csv::split(text)? {
        let (key, value) = option.split_once('=').with_context(|| format!("invalid field {option}"))?;
        match key {
            "name" => {
                ensure!(membership.network.is_empty(), "name: given twice");
                value.clone_into(&mut membership.network);
            }
            "mac-address" => membership.read("mac", value)?,
            "ip" | "ip6" | "alias" => membership.read(key, value)?,
            _ => {
                return Err(anyhow!("invalid field key {key}"))
                    .hint(|| "name, alias, ip, ip6 and mac-address are known".to_owned());
            }
        }
    }
    match membership.network.as_str() {
        "default" | "bridge" | "private" => usual(membership),
        name => {
            refuse_mode(name)?;
            Ok(Typed::Shared(vec![membership]))
        }
    }
}

impl Membership {
    fn read(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            // Either family, as in podman.
            "ip" | "ip6" => match address::host(value).with_context(|| format!("invalid ip address \"{value}\""))? {
                IpAddr::V4(address) => once(&mut self.ipv4, address).context("ip"),
                IpAddr::V6(address) => once(&mut self.ipv6, address).context("ip6"),
            },
            "mac" => once(&mut self.mac, value.parse::<Mac>()?).context("mac"),
            "alias" => {
                ensure!(!value.is_empty(), "alias cannot be empty");
                name::dns(value).context("alias")?;
                self.aliases.push(value.to_owned());
                Ok(())
            }
            "interface_name" => {
                ensure!(!value.is_empty(), "interface_name cannot be empty");
                address::interface(value)?;
                ensure!(value != "lo", "interface_name: lo is the loopback interface");
                once(&mut self.interface, value.to_owned()).context("interface_name")
            }
            _ => Err(anyhow!("unknown bridge network option: {name}"))
                .hint(|| "ip, ip6, mac, alias and interface_name are known".to_owned()),
        }
    }
}

/// A network of the container's own with what was asked for.
fn uplink(mut request: Request, own: Own) -> Result<Network> {
    ensure!(own.aliases.is_empty(), "--network-alias: {NO_ALIASES}");
    if let Some(address) = own.ip {
        request.address(address.into()).context("--ip")?;
    }
    if let Some(address) = own.ip6 {
        request.address(address.into()).context("--ip6")?;
    }
    if let Some(mac) = own.mac {
        once(&mut request.mac, mac).context("--mac-address")?;
    }
    for subnet in own.subnets {
        request.subnet(subnet).context("--subnet")?;
    }
    for gateway in own.gateways {
        request.gateway(gateway).context("--gateway")?;
    }
    Ok(Network::Uplink(request.uplink().context("the container's network")?.into()))
}

/// Membership in each network; `--ip` and the like are for one.
fn shared(mut memberships: Vec<Membership>, own: Own) -> Result<Network> {
    let mut names = BTreeSet::new();
    if let Some(twice) = memberships.iter().find(|one| !names.insert(one.network.as_str())) {
        bail!("--network {0}: network \"{0}\" is specified multiple times", twice.network);
    }
    let mut interfaces = BTreeSet::new();
    if let Some(name) =
        memberships.iter().filter_map(|one| one.interface.as_ref()).find(|name| !interfaces.insert(*name))
    {
        bail!("interface_name={name}: given to two networks");
    }
    if let Some(option) = own.of_link() {
        return Err(anyhow!("{option}: the networks have it already: it is for a network of the container's own"))
            .hint(|| "`rbox network create` takes it".to_owned());
    }
    for membership in &mut memberships {
        membership.aliases.extend(own.aliases.iter().cloned());
    }
    match (own.of_address(), &mut memberships[..]) {
        (None, _) => {}
        (Some(_), [membership]) => {
            own.ip.map_or(Ok(()), |address| once(&mut membership.ipv4, address).context("--ip"))?;
            own.ip6.map_or(Ok(()), |address| once(&mut membership.ipv6, address).context("--ip6"))?;
            own.mac.map_or(Ok(()), |mac| once(&mut membership.mac, mac).context("--mac-address"))?;
        }
        (Some(option), _) => {
            return Err(anyhow!("{option} can only be set for a single network"))
                .hint(|| "--network NAME:ip=…,ip6=…,mac=… sets it for one of them".to_owned());
        }
    }
    Ok(Network::Shared(memberships))
}

impl Own {
    fn of_address(&self) -> Option<&'static str> {
        let ip = self.ip.map(|_| "--ip").or(self.ip6.map(|_| "--ip6"));
        ip.or(self.mac.map(|_| "--mac-address"))
    }

    fn of_link(&self) -> Option<&'static str> {
        let gateway = (!self.gateways.is_empty()).then_some("--gateway");
        gateway.or((!self.subnets.is_empty()).then_some("--subnet"))
    }

    /// With a network that is not the container's own, or none, nothing can be said of it.
    fn refused_with(&self, mode: &str) -> Result<()> {
        ensure!(self.aliases.is_empty(), "--network-alias: {NO_ALIASES}");
        // docker's words; its sentence on IP addresses is about its own default network.
        ensure!(self.mac.is_none(), "conflicting options: mac-address and the network mode");
        match self.of_address().or(self.of_link()) {
            Some(option) => bail!("conflicting options: {option} and the network mode {mode}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
