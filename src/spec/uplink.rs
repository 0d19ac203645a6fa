//! The way out of a container's own network: its addresses, and what the helper may do.
//!
//! pasta's options, slirp4netns' and rbox's own (`--ip`, `--subnet`, …) end in one [`Request`], which becomes an
//! [`Uplink`] once all of them are read. Nothing in it depends on the host, and nothing on the helper.

pub mod pasta;
pub mod slirp;

use super::address::Mac;
use super::subnet::{self, Address, Subnet};
use crate::error::Advise;
pub use crate::net::uplink::Outbound;
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The kernel drops IPv6 from an interface with less (RFC 8200, section 5).
const LEAST_FOR_V6: u16 = 1280;
/// What both helpers can (slirp4netns: 65521, pasta: 65520 since 2025).
const MTU: u16 = 65520;
/// slirp4netns knows no other range of IPv6 addresses, and its end is this one.
const SLIRP_GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);

/// Who carries the packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Helper {
    /// pasta if it works here, else slirp4netns.
    #[default]
    Auto,
    /// pasta(1).
    Pasta,
    /// slirp4netns(1).
    Slirp,
}

/// A container's own interface and what is behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uplink {
    /// Who carries the packets.
    pub helper: Helper,
    /// The container's IPv4 address [default: 10.0.2.100/24, gateway 10.0.2.2]; none with pasta's `-6`.
    pub v4: Option<Addresses<Ipv4Addr>>,
    /// The container's IPv6 address, where the host has IPv6 [default: fd00::100/64, gateway fd00::2]; none with pasta's
    /// `-4`, slirp4netns' `enable_ipv6=false`, or an MTU below 1280.
    pub v6: Option<Addresses<Ipv6Addr>>,
    /// Where names are asked for: an address of the container's own loopback interface [default: 10.0.2.3].
    pub resolver: Ipv4Addr,
    /// Bytes in a packet, 68 to 65521 [default: 65520].
    pub mtu: u16,
    /// The hardware address of the container's interface; the kernel makes one up.
    pub mac: Option<Mac>,
    /// pasta's `-M`: the hardware address that the gateway has.
    pub gateway_mac: Option<Mac>,
    /// Where connections come from on the host.
    pub outbound: Outbound,
    /// Whether the host's loopback interface is reached.
    pub host_loopback: HostLoopback,
}

/// Addresses of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses<A> {
    /// The container's.
    pub address: A,
    /// Bits that all addresses on this link share.
    pub prefix: u8,
    /// The next hop of the default route.
    pub gateway: A,
}

/// How services on the host's loopback interface are reached from the container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostLoopback {
    /// Not at all.
    #[default]
    Closed,
    /// By the gateway's address: pasta's `--map-gw`, slirp4netns' `allow_host_loopback`.
    Gateway,
    /// By addresses of their own: pasta's `--map-host-loopback`. One is there at least.
    At {
        /// For 127.0.0.1.
        v4: Option<Ipv4Addr>,
        /// For ::1.
        v6: Option<Ipv6Addr>,
    },
}

impl Default for Uplink {
    fn default() -> Uplink {
        let (v4, v6) = (Ipv4Addr::new(10, 0, 2, 100), Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x100));
        Uplink {
            helper: Helper::Auto,
            v4: Some(Addresses { address: v4, prefix: 24, gateway: Ipv4Addr::new(10, 0, 2, 2) }),
            v6: Some(Addresses { address: v6, prefix: 64, gateway: SLIRP_GATEWAY_V6 }),
            resolver: Ipv4Addr::new(10, 0, 2, 3),
            mtu: MTU,
            mac: None,
            gateway_mac: None,
            outbound: Outbound::default(),
            host_loopback: HostLoopback::Closed,
        }
    }
}

impl Uplink {
    /// What slirp4netns cannot do of this, if anything: its gateway is the second address of its range, and of IPv6 it
    /// has one range alone (slirp4netns(1)).
    pub fn beyond_slirp(&self) -> Option<String> {
        let Some(v4) = &self.v4 else { return Some("IPv6 alone".to_owned()) };
        let range = v4.subnet();
        if range.prefix > 25 {
            return Some(format!("the subnet {range}: a prefix of more than 25 bits"));
        }
        if range.host(2) != Some(v4.gateway) {
            return Some(format!("the gateway {}: it is always the second address of the subnet", v4.gateway));
        }
        if let Some(v6) = &self.v6 {
            if (v6.gateway, v6.prefix) != (SLIRP_GATEWAY_V6, 64) {
                return Some(format!("the subnet {}: with IPv6 it is always fd00::/64", v6.subnet()));
            }
        }
        if let HostLoopback::At { v4: Some(address), .. } = self.host_loopback {
            if address != v4.gateway {
                return Some(format!("the host's loopback at {address}: it can be at the gateway's address alone"));
            }
        }
        if let HostLoopback::At { v6: Some(address), .. } = self.host_loopback {
            return Some(format!("the host's loopback at {address}"));
        }
        self.gateway_mac.map(|mac| format!("the gateway's hardware address {mac}"))
    }

    /// Where the container finds the host: docker's `host-gateway`. Something answers there only if
    /// [`HostLoopback`] says so.
    pub fn host_gateway(&self) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
        match self.host_loopback {
            HostLoopback::At { v4, v6 } => (v4, v6),
            _ => (self.v4.map(|v4| v4.gateway), self.v6.map(|v6| v6.gateway)),
        }
    }
}

impl<A: Address> Addresses<A> {
    /// The link's range.
    pub fn subnet(&self) -> Subnet<A> {
        Subnet::around(self.address, self.prefix)
    }
}

/// What was asked for, by whichever option.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Who carries the packets.
    pub helper: Helper,
    /// Addresses of IPv4.
    pub v4: Wanted<Ipv4Addr>,
    /// Addresses of IPv6.
    pub v6: Wanted<Ipv6Addr>,
    /// pasta's `-4` and `-6`, slirp4netns' `enable_ipv6`.
    pub families: Families,
    /// Where names are asked for.
    pub resolver: Option<Ipv4Addr>,
    /// Checked by whoever read it.
    pub mtu: Option<u16>,
    /// Of the container's interface.
    pub mac: Option<Mac>,
    /// Of the gateway.
    pub gateway_mac: Option<Mac>,
    /// Where connections come from.
    pub outbound: Outbound,
    /// Whether the host's loopback interface is reached.
    pub host_loopback: HostLoopback,
}

/// Families of addresses that a container is to have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Families {
    /// IPv4, and IPv6 where it can be.
    #[default]
    Usual,
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
}

/// What was asked for in one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted<A> {
    /// The container's address.
    pub address: Option<A>,
    /// Bits that all addresses on the link share.
    pub prefix: Option<u8>,
    /// The link's range.
    pub subnet: Option<Subnet<A>>,
    /// The next hop of the default route.
    pub gateway: Option<A>,
}

impl<A> Default for Wanted<A> {
    fn default() -> Wanted<A> {
        Wanted { address: None, prefix: None, subnet: None, gateway: None }
    }
}

/// Sets what may be asked for once.
pub fn once<T>(slot: &mut Option<T>, value: T) -> Result<()> {
    ensure!(slot.replace(value).is_none(), "given twice");
    Ok(())
}

impl Request {
    /// Takes the container's address.
    pub fn address(&mut self, address: IpAddr) -> Result<()> {
        match address {
            IpAddr::V4(address) => once(&mut self.v4.address, address),
            IpAddr::V6(address) => once(&mut self.v6.address, address),
        }
    }

    /// Takes the gateway's address.
    pub fn gateway(&mut self, address: IpAddr) -> Result<()> {
        match address {
            IpAddr::V4(address) => once(&mut self.v4.gateway, address),
            IpAddr::V6(address) => once(&mut self.v6.gateway, address),
        }
    }

    /// Takes the link's range.
    pub fn subnet(&mut self, subnet: subnet::AnySubnet) -> Result<()> {
        match subnet {
            subnet::AnySubnet::V4(subnet) => once(&mut self.v4.subnet, subnet),
            subnet::AnySubnet::V6(subnet) => once(&mut self.v6.subnet, subnet),
        }
    }

    /// Checks all of it against each other, and fills in the rest.
    pub fn uplink(self) -> Result<Uplink> {
        let usual = Uplink::default();
        let has_v4 = self.families != Families::V6;
        let mut has_v6 = self.families != Families::V4;
        ensure!(has_v4 || self.v4 == Wanted::default(), "IPv4 addresses with IPv6 alone");
        ensure!(has_v6 || self.v6 == Wanted::default(), "IPv6 addresses with IPv4 alone");
        ensure!(has_v6 || !self.outbound.is_v6(), "outbound addresses of IPv6 with IPv4 alone");
        ensure!(has_v4 || !self.outbound.is_v4(), "outbound addresses of IPv4 with IPv6 alone");
        if self.mtu.is_some_and(|mtu| mtu < LEAST_FOR_V6) {
            let is_asked = !has_v4 || self.v6 != Wanted::default() || self.outbound.is_v6();
            ensure!(!is_asked, "an MTU below {LEAST_FOR_V6}: IPv6 needs that");
            has_v6 = false;
        }
        let (v4, mut free) = self.v4.complete(usual.v4, self.resolver)?;
        let resolver = match self.resolver {
            Some(resolver) => resolver,
            None => free.find(|address| *address != v4.address).context("no address is left for the resolver")?,
        };
        let (v6, _) = self.v6.complete(usual.v6, None)?;
        let uplink = Uplink {
            helper: self.helper,
            v4: has_v4.then_some(v4),
            v6: has_v6.then_some(v6),
            resolver,
            mtu: self.mtu.unwrap_or(usual.mtu),
            mac: self.mac,
            gateway_mac: self.gateway_mac,
            outbound: self.outbound,
            host_loopback: self.host_loopback,
        };
        uplink.check_loopback()?;
        match uplink.beyond_slirp().filter(|_| uplink.helper == Helper::Slirp) {
            Some(what) => Err(anyhow!("slirp4netns cannot have {what}")).hint(|| "--network pasta can".to_owned()),
            None => Ok(uplink),
        }
    }
}

impl Uplink {
    /// The container's own addresses reach the container, and those of a family that it has not reach nothing.
    fn check_loopback(&self) -> Result<()> {
        let HostLoopback::At { v4, v6 } = self.host_loopback else { return Ok(()) };
        ensure!(v4.is_none() || self.v4.is_some(), "the host's loopback by IPv4 with IPv6 alone");
        ensure!(v6.is_none() || self.v6.is_some(), "the host's loopback by IPv6 with IPv4 alone");
        let own = self.v4.map(|own| own.address);
        if let Some(address) = v4.filter(|address| Some(*address) == own || *address == self.resolver) {
            bail!("{address} is the container's own address: the host's loopback needs another one");
        }
        if let Some(address) = v6.filter(|address| self.v6.is_some_and(|own| own.address == *address)) {
            bail!("{address} is the container's own address: the host's loopback needs another one");
        }
        Ok(())
    }
}

impl<A: Address> Wanted<A> {
    /// Fills in what was not asked for: the gateway is the second address of the range and the container has
    /// [`Address::CONTAINER`], or the next ones where those are taken. Returns what a resolver could have, too.
    fn complete(
        self,
        usual: Option<Addresses<A>>,
        resolver: Option<A>,
    ) -> Result<(Addresses<A>, impl Iterator<Item = A>)> {
        let usual = usual.context("no addresses")?;
        let subnet = self.range(usual)?;
        for (address, what) in [(self.address, "address"), (self.gateway, "gateway")] {
            let Some(address) = address else { continue };
            ensure!(subnet.contains(address), "the {what} {address} is not in the subnet {subnet}");
            ensure!(address != subnet.network, "the {what} {address} is the subnet's own address");
            // IPv6 has no broadcasts.
            let is_broadcast = A::BITS == 32 && address == subnet.last();
            ensure!(!is_broadcast, "the {what} {address} is the subnet's broadcast address");
        }
        if let Some(address) = self.address {
            ensure!(Some(address) != self.gateway, "{address} is the gateway's address, too");
            ensure!(Some(address) != resolver, "{address} is the resolver's address, too");
        }
        if let Some(gateway) = self.gateway {
            ensure!(Some(gateway) != resolver, "{gateway} is the resolver's address, too");
        }
        let first = |hosts: [u16; 4], taken: [Option<A>; 2]| {
            let mut hosts = hosts.into_iter().filter_map(|number| subnet.host(number));
            hosts.find(|host| !taken.contains(&Some(*host))).context("no address is left")
        };
        let gateway = match self.gateway {
            Some(gateway) => gateway,
            None => first([2, 1, 3, 4], [self.address, resolver])?,
        };
        let address = match self.address {
            Some(address) => address,
            None => first([A::CONTAINER, 4, 5, 6], [Some(gateway), resolver])?,
        };
        let free = [3, 2, 1, 4].into_iter().filter_map(move |number| subnet.host(number));
        Ok((Addresses { address, prefix: subnet.prefix, gateway }, free.filter(move |host| *host != gateway)))
    }

    /// The link's range: as asked for, around the address or the gateway, or the usual one.
    fn range(&self, usual: Addresses<A>) -> Result<Subnet<A>> {
        let one = self.address.or(self.gateway);
        let subnet = match (self.subnet, self.prefix, one) {
            (Some(subnet), Some(prefix), _) if subnet.prefix != prefix => {
                bail!("the subnet {subnet} has a prefix of {} bits, not of {prefix}", subnet.prefix)
            }
            (Some(subnet), _, _) => subnet,
            (None, None, Some(one)) if !usual.subnet().contains(one) => Subnet::around(one, usual.prefix),
            (None, prefix, one) => {
                let prefix = prefix.unwrap_or(usual.prefix);
                Subnet::around(one.unwrap_or(usual.address), prefix)
            }
        };
        subnet::check_prefix::<A>(subnet.prefix)?;
        Ok(subnet)
    }
}

/// Reads an MTU from 68 (RFC 791) to `most` bytes.
pub fn mtu(text: &str, most: u16) -> Result<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let mtu = text.parse().ok().filter(|mtu| is_number && (68..=most).contains(mtu));
    mtu.with_context(|| format!("\"{text}\" is not an MTU from 68 to {most}"))
}

#[cfg(test)]
mod tests;
