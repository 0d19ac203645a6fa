//! What separates networks: rules (ip-rule(8)) by the bridge that a packet comes in from. It finds the bridge's own subnet,
//! and otherwise the way out alone; nothing else exists for it. Nor does anything exist for a packet whose source is not of the
//! bridge's subnet: an answer to it would go where its sender may not.
//!
//! Runs in: the user and network namespaces of all networks.

use super::definition::Definition;
use super::message::Friend;
use super::subnet::Subnet;
use crate::sys::netlink::{self, Message, Socket, family};
use anyhow::{Context, Result};
use linux_raw_sys::netlink as raw;
use rustix::io::Errno;
use std::net::{IpAddr, Ipv6Addr};

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
        let here = |priority| Rule { family, from: None, to: None, source: None, table: Some(LOCAL), priority };
        change(&socket, libc::RTM_NEWRULE, here(HERE))?;
        change(&socket, libc::RTM_DELRULE, here(0))?;
    }
    Ok(())
}

/// For a network whose first container comes.
pub fn add(network: &Definition, resolvers: &[IpAddr], friends: &[Friend]) -> Result<()> {
    change_all(libc::RTM_NEWRULE, network, resolvers, friends)
}

/// For a network whose last container has gone.
pub fn remove(network: &Definition, resolvers: &[IpAddr], friends: &[Friend]) -> Result<()> {
    change_all(libc::RTM_DELRULE, network, resolvers, friends)
}

fn change_all(verb: u16, network: &Definition, resolvers: &[IpAddr], friends: &[Friend]) -> Result<()> {
    let socket = Socket::open()?;
    of(network, resolvers, friends).into_iter().try_for_each(|rule| change(&socket, verb, rule))
}

/// The first bits of an address, and how many.
type Range = (IpAddr, u8);

fn range(subnet: Subnet) -> Range {
    (subnet.network(), subnet.prefix())
}

fn of<'a>(network: &'a Definition, resolvers: &[IpAddr], friends: &'a [Friend]) -> Vec<Rule<'a>> {
    let bridge = network.network_interface.as_str();
    let rule = |from: &'a str, source: Range, to: Range, table, priority| Rule {
        family: family(source.0),
        from: Some(from),
        to: Some(to),
        source: Some(source),
        table: Some(table),
        priority,
    };
    let mut all = Vec::new();
    let own: Vec<Range> = network.subnets.iter().map(|pool| range(pool.subnet)).collect();
    let is_like = |one: &Range, other: &Range| one.0.is_ipv4() == other.0.is_ipv4();
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
        source: None,
        table: None,
        priority: LOOPBACK,
    }));
    let whole = |address: &IpAddr| (*address, if address.is_ipv4() { 32 } else { 128 });
    let resolvers: Vec<Range> = resolvers.iter().map(whole).collect();
    let link = |first| (IpAddr::V6(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0)), 10);
    let (near, group) = (link(0xfe80), (link(0xff00).0, 8));
    for own in &own {
        all.push(rule(bridge, *own, *own, LOCAL, OWN));
        // Whoever may ask them for what, they know.
        all.extend(resolvers.iter().filter(|to| is_like(own, to)).map(|to| rule(bridge, *own, *to, LOCAL, OWN)));
        // Neighbours are asked for by addresses of the link and of groups, and from there.
        if own.0.is_ipv6() {
            all.extend([near, group].map(|to| rule(bridge, *own, to, LOCAL, OWN)));
        }
        if !network.internal {
            all.push(Rule { to: None, ..rule(bridge, *own, *own, WAY_OUT, OUT) });
        }
        for friend in friends {
            let theirs = friend.bridge.as_str();
            for their in friend.subnets.iter().map(|subnet| range(*subnet)).filter(|their| is_like(own, their)) {
                all.push(rule(bridge, *own, their, MAIN, FRIENDS));
                all.push(rule(theirs, their, *own, MAIN, FRIENDS));
            }
        }
    }
    for source in [near, (Ipv6Addr::UNSPECIFIED.into(), 128)] {
        let own = own.iter().filter(|own| own.0.is_ipv6()).copied();
        all.extend(own.chain([near, group]).map(|to| rule(bridge, source, to, LOCAL, OWN)));
    }
    for family in [V4, V6] {
        all.push(Rule { family, from: Some(bridge), to: None, source: None, table: None, priority: NOTHING });
    }
    all
}

struct Rule<'a> {
    family: u8,
    /// The interface that packets come in from.
    from: Option<&'a str>,
    to: Option<Range>,
    source: Option<Range>,
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
        let length = |range: Option<Range>| range.map_or(0, |(_, prefix)| prefix);
        let action = if self.table.is_some() { netlink::TO_TABLE } else { UNREACHABLE };
        let rule = Message::rule(verb, self.family, (length(self.to), length(self.source)), action);
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
        if let Some((address, _)) = self.source {
            message = message.address(raw::FRA_SRC as u32, address);
        }
        message
    }
}

/// Leads to single addresses, each by the gateway beside it, over an interface of this thread's network namespace.
pub fn lead(interface: &str, pairs: &[(IpAddr, IpAddr)], metric: u32) -> Result<()> {
    let socket = Socket::open()?;
    let index = socket.index(interface)?.with_context(|| format!("{interface}: gone"))?;
    let (scope, table) = (raw::rt_scope_t::RT_SCOPE_UNIVERSE as u32, MAIN);
    let routes = pairs.iter().map(|(to, by)| {
        let whole = if to.is_ipv4() { 32 } else { 128 };
        Message::route("add route", family(*to), whole, raw::RTN_UNICAST as u32, scope, table)
            .address(raw::rtattr_type_t::RTA_DST as u32, *to)
            .address(raw::rtattr_type_t::RTA_GATEWAY as u32, *by)
            .number(raw::rtattr_type_t::RTA_OIF as u32, index)
            .number(raw::rtattr_type_t::RTA_PRIORITY as u32, metric)
    });
    Ok(socket.request(routes.collect())?)
}

fn default_route(interface: u32, gateway: IpAddr) -> Message {
    let scope = raw::rt_scope_t::RT_SCOPE_UNIVERSE as u32;
    Message::route("add route", family(gateway), 0, raw::RTN_UNICAST as u32, scope, 0)
        .number(raw::rtattr_type_t::RTA_TABLE as u32, WAY_OUT)
        .address(raw::rtattr_type_t::RTA_GATEWAY as u32, gateway)
        .number(raw::rtattr_type_t::RTA_OIF as u32, interface)
}
