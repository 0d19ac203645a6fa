//! The container's interface, made with what its first process has opened, while that is at work, and with nobody at the other
//! end yet.

use super::closed;
use super::uplink::{Family, Uplink};
use crate::error::Advise;
use crate::sys::netlink::{self, Message, Socket, family};
use crate::sys::{Named, Result as Called, loopback, tap};
use anyhow::{Context, Result};
use linux_raw_sys::netlink as raw;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// What the interface is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its name, for instance `eth0`; at most 15 bytes.
    pub name: String,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// The largest packet, bytes.
    pub mtu: u32,
    /// Its IPv4 address.
    pub v4: Option<Family<Ipv4Addr>>,
    /// Its IPv6 address.
    pub v6: Option<Family<Ipv6Addr>>,
    /// Addresses of the loopback interface where names are asked for.
    pub resolvers: Vec<IpAddr>,
}

/// The outer ends of what was made. They work from any namespace.
#[derive(Debug)]
pub struct Ends {
    /// Where a helper comes in.
    pub tap: Tap,
    /// Readable when somebody sends, and when an interface changes: see [`Told`].
    pub told: OwnedFd,
    /// For questions about this network namespace.
    pub requests: Socket,
    /// Port 53 of the resolvers' addresses.
    pub resolvers: Vec<Resolver>,
}

/// The interface in the container's network namespace whose other end is the helper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tap {
    /// Its name.
    pub name: String,
    /// Its number.
    pub index: u32,
}

/// Where names are asked for.
#[derive(Debug)]
pub struct Resolver {
    /// A datagram socket.
    pub datagrams: OwnedFd,
    /// A listening stream socket.
    pub streams: OwnedFd,
}

/// The name of the tap, if the container's interface is another one.
pub const TAP: &str = "rbox0";
/// Its number. The kernel gives the first ones to what it makes by itself.
const TAP_INDEX: u32 = 1000;
/// That of the container's interface.
const INDEX: u32 = 1001;

/// How often the kernel asks for a neighbour whose packets wait, beside the question to this program, and every how many
/// milliseconds: for half a minute.
const PROBES: u32 = 3000;
const PROBE_INTERVAL: u64 = 10;
/// As long as that packets wait.
pub const WAIT: Duration = Duration::from_millis(PROBES as u64 * PROBE_INTERVAL);

/// What may wait for a neighbour, bytes (`unres_qlen_bytes` in arp(7)).
const WAITING: u32 = 1 << 20;

impl Link {
    /// What an uplink's other end expects.
    pub fn of(uplink: &Uplink, resolvers: Vec<IpAddr>) -> Link {
        let Uplink { name, mac, mtu, v4, v6, .. } = uplink;
        Link { name: name.clone(), mac: *mac, mtu: *mtu, v4: *v4, v6: *v6, resolvers }
    }

    /// The tap: it answers for nobody, and has no IPv6 address by itself.
    fn lower(&self, index: u32) -> Vec<Message> {
        let mut all = Vec::with_capacity(16);
        if self.v6.is_some() {
            let mode = raw::in6_addr_gen_mode::IN6_ADDR_GEN_MODE_NONE as u8;
            let quiet = Message::link("set up tap", libc::RTM_SETLINK, 0, index, 0);
            // Before it is up, which is when addresses come.
            all.push(quiet.nest(raw::IFLA_AF_SPEC as u32, |families| {
                families.nest(libc::AF_INET6 as u32, |v6| v6.with(raw::IFLA_INET6_ADDR_GEN_MODE as u32, &[mode]))
            }));
        }
        let flags = (libc::IFF_UP | libc::IFF_NOARP) as u32;
        all.push(
            Message::link("set up tap", libc::RTM_SETLINK, 0, index, flags).number(raw::IFLA_MTU as u32, self.mtu),
        );
        all
    }

    /// The container's interface is a macvlan and not the tap itself: the design says why.
    fn upper(&self, lower: u32, index: u32) -> Message {
        let link = Message::link("make interface", libc::RTM_NEWLINK, netlink::NEW, index, libc::IFF_UP as u32)
            .name(raw::IFLA_IFNAME as u32, &self.name)
            .number(raw::IFLA_LINK as u32, lower)
            .number(raw::IFLA_MTU as u32, self.mtu)
            .with(raw::IFLA_ADDRESS as u32, &self.mac);
        link.nest(raw::IFLA_LINKINFO as u32, |info| {
            info.name(raw::IFLA_INFO_KIND as u32, "macvlan").nest(raw::IFLA_INFO_DATA as u32, |data| {
                data.number(raw::IFLA_MACVLAN_MODE as u32, raw::macvlan_mode::MACVLAN_MODE_PRIVATE as u32)
            })
        })
    }

    /// The tap as the container's interface. Its name and address can be changed while it is down.
    fn alone(&self, index: u32) -> Message {
        Message::link("set up interface", libc::RTM_SETLINK, 0, index, libc::IFF_UP as u32)
            .name(raw::IFLA_IFNAME as u32, &self.name)
            .number(raw::IFLA_MTU as u32, self.mtu)
            .with(raw::IFLA_ADDRESS as u32, &self.mac)
    }

    fn addresses(&self, index: u32) -> Vec<Message> {
        let mut all = Vec::with_capacity(8);
        all.push(Message::link("set up loopback", libc::RTM_SETLINK, 0, loopback::INDEX, libc::IFF_UP as u32));
        let v4 = self.v4.map(|Family { address, prefix, gateway }| (IpAddr::V4(address), prefix, IpAddr::V4(gateway)));
        let v6 = self.v6.map(|Family { address, prefix, gateway }| (IpAddr::V6(address), prefix, IpAddr::V6(gateway)));
        for (address, prefix, gateway) in [v4, v6].into_iter().flatten() {
            all.push(patience(index, address));
            all.push(new_address(index, address, prefix));
            all.push(default_route(index, gateway));
        }
        for (interface, metric) in [(index, 10), (TAP_INDEX, 11)] {
            all.extend(closed::loopback_is_here(interface, metric, self.v6.is_some()));
        }
        all.extend(self.v6.map(|_| closed::nobody_is_unspecified()));
        let whole = |address: &IpAddr| if address.is_ipv4() { 32 } else { 128 };
        all.extend(self.resolvers.iter().map(|address| new_address(loopback::INDEX, *address, whole(address))));
        all
    }
}

/// What a network is made with. It belongs to the network namespace that it was opened in, wherever it is used.
#[derive(Debug)]
pub struct Opened {
    tun: OwnedFd,
    requests: Socket,
    told: Socket,
    resolvers: Vec<Resolver>,
}

impl Opened {
    /// Runs in: the container's network namespace.
    pub fn open(link: &Link) -> Result<Opened> {
        let tun = tap::open().maybe_hint(|| {
            Some(format!(
                "an administrator can let users have it: modprobe tun; chmod 0666 {}\n--network none and --network host do \
                 without",
                tap::DEVICE
            ))
        })?;
        // New interfaces take no addresses from anybody but rbox. If /proc is read-only here, they may.
        let _ = fs_err::write("/proc/sys/net/ipv6/conf/default/accept_ra", "0");
        let resolvers = link.resolvers.iter().map(|address| Resolver::open(*address)).collect::<Called<_>>()?;
        Ok(Opened { tun, requests: Socket::open()?, told: Socket::open()?, resolvers })
    }

    /// All of it, to be sent.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let first = [self.tun.as_fd(), self.requests.as_fd(), self.told.as_fd()];
        first.into_iter().chain(Resolver::descriptors(&self.resolvers)).collect()
    }

    /// What [`Opened::descriptors`] was, when it has come.
    pub fn received(descriptors: Vec<OwnedFd>) -> Result<Opened> {
        let mut all = descriptors.into_iter();
        let mut next = || all.next().context("a descriptor is missing");
        let (tun, requests, told) = (next()?, next()?.into(), next()?.into());
        Ok(Opened { tun, requests, told, resolvers: Resolver::received(all) })
    }

    /// Makes the interface with its addresses and routes, and sets it up. Packets for its gateway wait for whoever comes.
    ///
    /// Runs in: the container's user namespace, or as who made it in the one above.
    pub fn set_up(self, link: &Link) -> Result<Ends> {
        let Opened { tun, requests, told, resolvers } = self;
        tap::make(&tun, TAP, TAP_INDEX)?;
        // Set up with a carrier, it would be thought to be at work, and the kernel would take up to a second to notice the next
        // one (linkwatch_urgent_event in net/core/link_watch.c).
        drop(tun);
        let mut interface = link.lower(TAP_INDEX);
        interface.push(link.upper(TAP_INDEX, INDEX));
        interface.extend(link.addresses(INDEX));
        let mut name = TAP;
        match requests.request(interface) {
            // A kernel without macvlan: the first packet waits for its second try.
            Err(error) if error.errno == Errno::OPNOTSUPP => {
                let mut interface = vec![link.alone(TAP_INDEX)];
                interface.extend(link.addresses(TAP_INDEX));
                requests.request_unless(interface, Errno::EXIST)?;
                name = &link.name;
            }
            made => made?,
        }
        match requests.request(closed::filter(TAP_INDEX)) {
            // A kernel without it: who may make frames may send them to the host's loopback interface.
            Err(error) if matches!(error.errno, Errno::OPNOTSUPP | Errno::NOENT) => {}
            closed => closed?,
        }
        let tap = Tap { name: name.to_owned(), index: TAP_INDEX };
        // That there is no carrier yet: noticed later, it would take away what waits by then.
        for index in [TAP_INDEX, INDEX] {
            requests.state(index)?;
        }
        // Not before: it would be told what was made here.
        told.listen(&[raw::rtnetlink_groups::RTNLGRP_NEIGH as u32, raw::rtnetlink_groups::RTNLGRP_LINK as u32])?;
        for (resolver, address) in resolvers.iter().zip(&link.resolvers) {
            resolver.bind(*address)?;
        }
        Ok(Ends { tap, told: told.into(), requests, resolvers })
    }
}

impl Ends {
    /// All of it but the tap, to be sent.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let first = [self.told.as_fd(), self.requests.as_fd()];
        first.into_iter().chain(Resolver::descriptors(&self.resolvers)).collect()
    }

    /// What [`Ends::descriptors`] was, when it has come.
    pub fn received(tap: Tap, descriptors: Vec<OwnedFd>) -> Result<Ends> {
        let mut all = descriptors.into_iter();
        let (told, requests) = all.next().zip(all.next()).context("a descriptor is missing")?;
        Ok(Ends { tap, told, requests: requests.into(), resolvers: Resolver::received(all) })
    }
}

/// What the kernel has told since it was last asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// It looks for a neighbour: somebody sends, and waits.
    pub wanted: bool,
    /// The interface in question has changed.
    pub changed: bool,
}

impl Told {
    /// Reads it; nothing if nothing was told. `tap` is the number of the interface in question.
    pub fn read(socket: BorrowedFd<'_>, tap: u32) -> Called<Option<Told>> {
        let mut told = Told { wanted: false, changed: false };
        let any = netlink::told(socket, |message| match message {
            // What was lost may have been either.
            None => told = Told { wanted: true, changed: true },
            Some((libc::RTM_GETNEIGH, _)) => told.wanted = true,
            Some((libc::RTM_NEWLINK, body)) => {
                told.changed |= netlink::LinkState::read(body).is_some_and(|link| link.index == tap);
            }
            Some(_) => {}
        })?;
        Ok(any.then_some(told))
    }
}

impl Tap {
    /// Whether somebody is at its other end. What is above it then knows, too.
    pub fn is_open(&self, requests: &Socket) -> Called<bool> {
        let is_open = self.has_carrier(requests)?;
        if is_open {
            requests.state(INDEX)?;
        }
        Ok(is_open)
    }

    /// Whoever was at the other end has gone: has the kernel notice before the next one comes, who has another hardware
    /// address than the one that neighbours are known by.
    pub fn is_left(&self, requests: &Socket) -> Called<()> {
        self.has_carrier(requests)?;
        requests.state(INDEX).map(drop)
    }

    fn has_carrier(&self, requests: &Socket) -> Called<bool> {
        Ok(requests.state(self.index)?.is_some_and(|link| link.flags & LOWER_UP != 0))
    }
}

/// netdevice(7): somebody is at the other end (`IFF_LOWER_UP`).
const LOWER_UP: u32 = 1 << 16;

impl Resolver {
    fn open(address: IpAddr) -> Called<Resolver> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = |kind| {
            rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None).named(|| "socket(resolver)".to_owned())
        };
        Ok(Resolver { datagrams: socket(SocketType::DGRAM)?, streams: socket(SocketType::STREAM)? })
    }

    fn bind(&self, address: IpAddr) -> Called<()> {
        let to = SocketAddr::new(address, 53);
        for socket in [&self.datagrams, &self.streams] {
            rustix::net::bind(socket, &to).named(|| format!("bind({to})"))?;
        }
        rustix::net::listen(&self.streams, 128).named(|| format!("listen({to})"))
    }

    fn descriptors(all: &[Resolver]) -> impl Iterator<Item = BorrowedFd<'_>> {
        all.iter().flat_map(|Resolver { datagrams, streams }| [datagrams.as_fd(), streams.as_fd()])
    }

    fn received(mut descriptors: impl Iterator<Item = OwnedFd>) -> Vec<Resolver> {
        let mut next = || descriptors.next().zip(descriptors.next());
        std::iter::from_fn(|| next().map(|(datagrams, streams)| Resolver { datagrams, streams })).collect()
    }
}

/// `struct ifaddrmsg`. Nobody else is on the link who could have the address: duplicates are not looked for.
fn new_address(index: u32, address: IpAddr, prefix: u8) -> Message {
    let mut header = vec![family(address), prefix, raw::IFA_F_NODAD as u8, 0];
    header.extend(index.to_ne_bytes());
    Message::new("add address", libc::RTM_NEWADDR, netlink::NEW, &header)
        .address(raw::IFA_LOCAL as u32, address)
        .address(raw::IFA_ADDRESS as u32, address)
}

fn default_route(index: u32, gateway: IpAddr) -> Message {
    let (scope, table) = (raw::rt_scope_t::RT_SCOPE_UNIVERSE as u32, raw::rt_class_t::RT_TABLE_MAIN as u32);
    Message::route("add route", family(gateway), 0, raw::RTN_UNICAST as u32, scope, table)
        .address(raw::rtattr_type_t::RTA_GATEWAY as u32, gateway)
        .number(raw::rtattr_type_t::RTA_OIF as u32, index)
}

/// `struct ndtmsg`: first this program is asked for a neighbour, by message, then the link, often and for long.
fn patience(index: u32, address: IpAddr) -> Message {
    let table = if address.is_ipv4() { "arp_cache" } else { "ndisc_cache" };
    let kind = libc::RTM_SETNEIGHTBL;
    Message::new("set neighbour table", kind, raw::NLM_F_REPLACE as u16, &[family(address), 0, 0, 0])
        .name(raw::NDTA_NAME as u32, table)
        .nest(raw::NDTA_PARMS as u32, |parameters| {
            parameters
                .number(raw::NDTPA_IFINDEX as u32, index)
                .number(raw::NDTPA_APP_PROBES as u32, 1)
                .number(raw::NDTPA_MCAST_PROBES as u32, PROBES)
                .with(raw::NDTPA_RETRANS_TIME as u32, &PROBE_INTERVAL.to_ne_bytes())
                .number(raw::NDTPA_QUEUE_LENBYTES as u32, WAITING)
        })
}
