//! Published ports: bound on the host before the payload starts, and closed with the supervisor.
//!
//! Runs in: the host's namespaces.

use super::holder;
use crate::error::Advise;
use crate::sys::socket::bound;
use crate::sys::{self, CallError, Named};
use anyhow::{Result, anyhow};
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::SocketType;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

/// What is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

/// A port of the container that is to be reached by ports of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// The host's address; none is all of them, of both families.
    pub host: Option<IpAddr>,
    /// The host's ports to try, the first one that is free: one, or a range, or `0..=0`, the kernel's choice.
    pub host_ports: (u16, u16),
    /// The container's port.
    pub container_port: u16,
    /// Which kind.
    pub protocol: Protocol,
}

/// A port that was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The host's address; 0.0.0.0 or `[::]` for all of a family.
    pub host: IpAddr,
    /// With `[::]`: also all of IPv4.
    pub dual: bool,
    /// The host's port.
    pub host_port: u16,
    /// The container's port.
    pub container_port: u16,
    /// Which kind.
    pub protocol: Protocol,
}

impl Published {
    /// Where it is reached on the host: an address for each family, as docker has them.
    pub fn places(&self) -> impl Iterator<Item = SocketAddr> {
        let port = self.host_port;
        let v4 = self.dual.then_some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        v4.into_iter().chain([self.host]).map(move |host| SocketAddr::new(host, port))
    }

    /// The container's side of it: `80/tcp`.
    pub fn inner(&self) -> String {
        format!("{}/{}", self.container_port, self.protocol)
    }
}

/// Its socket, which listens if it is for connections.
#[derive(Debug)]
pub struct Door {
    /// What it is.
    pub published: Published,
    /// Non-blocking.
    pub socket: OwnedFd,
}

/// All of a container's, and a descriptor that is readable when somebody is at one of them.
#[derive(Debug)]
pub struct Doors {
    /// In the order asked for.
    pub doors: Vec<Door>,
    /// Their epoll(7).
    pub knocks: OwnedFd,
}

impl Doors {
    /// Opens them. A port that is taken is the error, and none is open then.
    pub fn open(wanted: &[Publish]) -> Result<Doors> {
        let call = || "epoll".to_owned();
        let knocks = epoll::create(epoll::CreateFlags::CLOEXEC).named(call)?;
        let mut doors: Vec<Door> = Vec::with_capacity(wanted.len());
        for publish in wanted {
            let door = Door::open(publish)?;
            epoll::add(&knocks, &door.socket, epoll::EventData::new_u64(0), epoll::EventFlags::IN).named(call)?;
            doors.push(door);
        }
        Ok(Doors { doors, knocks })
    }

    /// What is open.
    pub fn published(&self) -> Vec<Published> {
        self.doors.iter().map(|door| door.published).collect()
    }
}

impl Door {
    fn open(publish: &Publish) -> Result<Door> {
        let (first, last) = publish.host_ports;
        let mut refused = None;
        for port in first..=last {
            match Door::at(publish, port) {
                Ok(door) => return Ok(door),
                Err(error) if error.errno == Errno::ADDRINUSE => _ = refused.get_or_insert((port, error)),
                Err(error) => return Err(explained(publish, port, error)),
            }
        }
        let (port, error) = refused.ok_or_else(|| anyhow!("no port"))?;
        Err(explained(publish, port, error))
    }

    fn at(publish: &Publish, port: u16) -> sys::Result<Door> {
        let Publish { container_port, protocol, .. } = *publish;
        let kind = match protocol {
            Protocol::Tcp => SocketType::STREAM,
            Protocol::Udp => SocketType::DGRAM,
        };
        let everywhere =
            |host: IpAddr, dual: bool| bound(kind, (host, port).into(), dual).map(|socket| (host, dual, socket));
        let (host, dual, socket) = match publish.host {
            Some(host) => everywhere(host, false)?,
            None => match everywhere(Ipv6Addr::UNSPECIFIED.into(), true) {
                // The host has no IPv6 at all, or has it turned off.
                Err(error) if matches!(error.errno, Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) => {
                    everywhere(Ipv4Addr::UNSPECIFIED.into(), false)?
                }
                bound => bound?,
            },
        };
        let call = || format!("listen({})", SocketAddr::new(host, port));
        if protocol == Protocol::Tcp {
            // The kernel cuts it to net.core.somaxconn.
            rustix::net::listen(&socket, 4096).named(call)?;
        }
        let own = rustix::net::getsockname(socket.as_fd()).named(call)?;
        let own = SocketAddr::try_from(own).named(call)?;
        Ok(Door { published: Published { host, dual, host_port: own.port(), container_port, protocol }, socket })
    }
}

/// Says what is in the way, and who can mend it.
fn explained(publish: &Publish, port: u16, error: CallError) -> anyhow::Error {
    let protocol = publish.protocol;
    let place = match publish.host {
        Some(host) => SocketAddr::new(host, port).to_string(),
        None => port.to_string(),
    };
    let errno = error.errno;
    let result: Result<()> = match errno {
        Errno::ADDRINUSE => {
            let who = holder::of(protocol, port).map(|who| format!(" by {who}")).unwrap_or_default();
            Err(anyhow!("publish port {place}/{protocol}: already in use{who}")).hint(|| {
                let kind = if protocol == Protocol::Tcp { "-t" } else { "-u" };
                let container = publish.container_port;
                format!("`ss -lnp {kind} sport = :{port}` shows who has it; -p {container} takes any free port")
            })
        }
        Errno::ACCESS | Errno::PERM => {
            let first = fs_err::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
            let first = first.trim();
            Err(anyhow!("publish port {place}/{protocol}: not allowed: normal users have ports from {first} on"))
                .hint(|| format!("an administrator can allow it: sysctl net.ipv4.ip_unprivileged_port_start={port}"))
        }
        Errno::ADDRNOTAVAIL => Err(anyhow!("publish port {place}/{protocol}: this host does not have the address"))
            .hint(|| "`ip address` shows those that it has".to_owned()),
        Errno::MFILE => Err(anyhow!("publish port {place}/{protocol}: too many open files"))
            .hint(|| "ulimit -n raises how many this user may have".to_owned()),
        _ => Err(anyhow!(error).context(format!("publish port {place}/{protocol}"))),
    };
    result.err().unwrap_or_else(|| anyhow!("refused"))
}
