//! What separates networks: rules (ip-rule(8)) by the bridge that a packet comes in from. It finds the bridge's own subnet,
//! and otherwise the way out alone; nothing else exists for it.
//!
//! Runs in: the user and network namespaces of all networks.

use super::definition::Definition;
use super::subnet::Subnet;
use crate::sys::netlink::{self, Message, Socket, family};
use anyhow::{Context, Result};
use linux_raw_sys::netlink as raw;
use rustix::io::Errno;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The table with the default routes of the way out.
const WAY_OUT: u32 = 100;
/// Priorities: loopback addresses, which a helper takes for the host's own; the own subnet, that of friends, the way out,
/// nothing else; and where this namespace's own addresses are looked for, which the kernel does before all else.
const LOOPBACK: u32 = 90;
const OWN: u32 = 100;
const FRIENDS: u32 = 105;
const OUT: u32 = 110;
const NOTHING: u32 = 120;
const HERE: u32 = 200;
/// What leads nowhere, for a rule (FR_ACT_UNREACHABLE).
const UNREACHABLE: u8 = 7;
const LOCAL: u32 = raw::rt_class_t::RT_TABLE_LOCAL as u32;
const MAIN: u32 = raw::rt_class_t::RT_TABLE_MAIN as u32;
const V4: u8 = libc::AF_INET as u8;
const V6: u8 = libc::AF_INET6 as u8;

/// To begin with: the way out in a table of its own, and addresses of this namespace no longer before all else.
pub fn set_up(interface: &str, gateways: &[IpAddr]) -> Result<()> {
    let socket = Socket::open()?;
    let interface = socket.index(interface)?.with_context(|| format!("{interface}: gone"))?;
    socket.request(gateways.iter().map(|gateway| default_route(interface, *gateway)).collect())?;
    for family in [V4, V6] {
        let here = |priority| Rule { family, from: None, to: None, table: Some(LOCAL), priority };
        change(&socket, libc::RTM_NEWRULE, here(HERE))?;
        change(&socket, libc::RTM_DELRULE, here(0))?;
    }
    Ok(())
}

/// For a network whose first container comes.
pub fn add(network: &Definition, resolver: Ipv4Addr, friends: &[Definition]) -> Result<()> {
    change_all(libc::RTM_NEWRULE, network, resolver, friends)
}

/// For a network whose last container has gone.
pub fn remove(network: &Definition, resolver: Ipv4Addr, friends: &[Definition]) -> Result<()> {
    change_all(libc::RTM_DELRULE, network, resolver, friends)
}

fn change_all(verb: u16, network: &Definition, resolver: Ipv4Addr, friends: &[Definition]) -> Result<()> {
    let socket = Socket::open()?;
    of(network, resolver, friends).into_iter().try_for_each(|rule| change(&socket, verb, rule))
}

fn of<'a>(network: &'a Definition, resolver: Ipv4Addr, friends: &'a [Definition]) -> Vec<Rule<'a>> {
    let bridge = network.network_interface.as_str();
    let to = |from, address: IpAddr, prefix, table, priority| Rule {
        family: family(address),
        from: Some(from),
        to: Some((address, prefix)),
        table: Some(table),
        priority,
    };
    let subnet = |from, subnet: Subnet, table, priority| to(from, subnet.network(), subnet.prefix(), table, priority);
    let mut all: Vec<Rule<'_>> = network.subnets.iter().map(|pool| subnet(bridge, pool.subnet, LOCAL, OWN)).collect();
    let loopback = [
        (IpAddr::from([127, 0, 0, 0]), 8),
        ([0, 0, 0, 0].into(), 8),
        (Ipv6Addr::UNSPECIFIED.into(), 96),
        (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0).into(), 96),
    ];
    all.extend(loopback.into_iter().map(|to| Rule {
        family: family(to.0),
        from: Some(bridge),
        to: Some(to),
        table: None,
        priority: LOOPBACK,
    }));
    // Neighbours are asked for by addresses of the link and of groups.
    for (first, prefix) in [(0xfe80, 10), (0xff00, 8)] {
        all.push(to(bridge, Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0).into(), prefix, LOCAL, OWN));
    }
    if !network.internal && !network.dns_enabled {
        all.push(to(bridge, resolver.into(), 32, LOCAL, OWN));
    }
    for friend in friends {
        let theirs = friend.network_interface.as_str();
        all.extend(friend.subnets.iter().map(|pool| subnet(bridge, pool.subnet, MAIN, FRIENDS)));
        all.extend(network.subnets.iter().map(|pool| subnet(theirs, pool.subnet, MAIN, FRIENDS)));
    }
    for family in [V4, V6] {
        let any = |table, priority| Rule { family, from: Some(bridge), to: None, table, priority };
        if !network.internal {
            all.push(any(Some(WAY_OUT), OUT));
        }
        all.push(any(None, NOTHING));
    }
    all
}

struct Rule<'a> {
    family: u8,
    /// The interface that packets come in from.
    from: Option<&'a str>,
    to: Option<(IpAddr, u8)>,
    /// Without one they go nowhere.
    table: Option<u32>,
    priority: u32,
}

/// What is there already, or gone, is as it is to be; and a kernel without IPv6 has nothing to separate.
fn change(socket: &Socket, verb: u16, rule: Rule<'_>) -> Result<()> {
    match socket.request(vec![rule.message(verb)]) {
        Err(error) if matches!(error.errno, Errno::EXIST | Errno::NOENT | Errno::AFNOSUPPORT | Errno::OPNOTSUPP) => {
            Ok(())
        }
        result => Ok(result?),
    }
}

impl Rule<'_> {
    fn message(&self, verb: u16) -> Message {
        let length = self.to.map_or(0, |(_, prefix)| prefix);
        let action = if self.table.is_some() { netlink::TO_TABLE } else { UNREACHABLE };
        let rule = Message::rule(verb, self.family, length, action);
        let mut message = rule.number(raw::FRA_PRIORITY as u32, self.priority);
        if let Some(table) = self.table {
            message = message.number(raw::FRA_TABLE as u32, table);
        }
        if let Some(name) = self.from {
            message = message.name(raw::FRA_IIFNAME as u32, name);
        }
        if let Some((address, _)) = self.to {
            message = message.address(raw::FRA_DST as u32, address);
        }
        message
    }
}

fn default_route(interface: u32, gateway: IpAddr) -> Message {
    let scope = raw::rt_scope_t::RT_SCOPE_UNIVERSE as u32;
    Message::route("add route", family(gateway), 0, raw::RTN_UNICAST as u32, scope, 0)
        .number(raw::rtattr_type_t::RTA_TABLE as u32, WAY_OUT)
        .address(raw::rtattr_type_t::RTA_GATEWAY as u32, gateway)
        .number(raw::rtattr_type_t::RTA_OIF as u32, interface)
}
