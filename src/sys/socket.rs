//! Sockets of the internet that do what the standard library's do not: come from an address of somebody else, answer
//! from the address that was asked.

use super::{Named, Result, check};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// A socket of the family of `local`, bound to it. Non-blocking, closed on exec.
///
/// For both families, `[::]` stands for every address of either (ipv6(7), IPV6_V6ONLY); it is IPv6 alone if there is none.
pub fn bound(kind: SocketType, local: SocketAddr, dual: bool) -> Result<OwnedFd> {
    let socket = new(kind, local)?;
    let call = || format!("bind({local})");
    if local.is_ipv6() {
        set(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, i32::from(!dual)).named(call)?;
    }
    if kind == SocketType::STREAM {
        // As every server: what is left of old connections is no hindrance.
        rustix::net::sockopt::set_socket_reuseaddr(&socket, true).named(call)?;
    } else {
        // With every datagram comes which address it was sent to.
        let (level, name) = match local {
            SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
            SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
        };
        set(socket.as_fd(), level, name, 1).named(call)?;
    }
    rustix::net::bind(&socket, &local).named(call)?;
    Ok(socket)
}

/// A socket that is bound to an address which need not be this namespace's (ip(7), IP_TRANSPARENT), and whose packets have a
/// mark. Whoever asks must be root of the namespace.
pub fn of_somebody_else(kind: SocketType, local: SocketAddr, mark: u32) -> Result<OwnedFd> {
    let socket = new(kind, local)?;
    let call = || format!("bind({local}, transparent)");
    let (level, name) = match local {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_TRANSPARENT),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT),
    };
    set(socket.as_fd(), level, name, 1).named(call)?;
    set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_MARK, mark as i32).named(call)?;
    rustix::net::sockopt::set_socket_reuseaddr(&socket, true).named(call)?;
    rustix::net::bind(&socket, &local).named(call)?;
    Ok(socket)
}

/// When the socket is closed, the other end is told that the connection broke.
pub fn break_on_close(socket: impl AsFd) -> Result<()> {
    let now = Some(std::time::Duration::ZERO);
    rustix::net::sockopt::set_socket_linger(socket, now).named(|| "setsockopt(LINGER)".to_owned())
}

fn new(kind: SocketType, like: SocketAddr) -> Result<OwnedFd> {
    let family = if like.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
        .named(|| "socket".to_owned())
}

/// Sets an option that is a number.
pub(super) fn set(socket: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> std::result::Result<(), Errno> {
    let length = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the kernel reads one int, which outlives the call.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), length) };
    check(result.into()).map(|_| ())
}

/// A datagram's way: who sent it, and to which address of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Way {
    /// The other end.
    pub peer: SocketAddr,
    /// This end's address.
    pub here: IpAddr,
}

/// The next datagram of a socket that [`bound`] has made: its length and its way; `None` if there is none now. What does not
/// fit is cut off. IPv4 addresses of a socket for both families come as IPv4.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Option<(usize, Way)>> {
    let mut space = nix::cmsg_space!(libc::in6_pktinfo, libc::in_pktinfo);
    let mut slices = [IoSliceMut::new(buffer)];
    let call = || "recvmsg".to_owned();
    let received =
        match recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::empty()) {
            Ok(received) => received,
            // Nobody is interrupted here: all signals are blocked.
            Err(nix::Error::EAGAIN) => return Ok(None),
            Err(error) => return Err(Errno::from_raw_os_error(error as i32)).named(call),
        };
    let peer = received.address.as_ref().and_then(address).ok_or(Errno::AFNOSUPPORT).named(call)?;
    let mut here = None;
    for message in received.cmsgs().map_err(|error| Errno::from_raw_os_error(error as i32)).named(call)? {
        match message {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                // Of this host, also where the datagram went to all.
                here = Some(IpAddr::V4(Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr))));
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                here = Some(IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr)).to_canonical());
            }
            _ => {}
        }
    }
    let here = here.ok_or(Errno::PROTO).named(call)?;
    Ok(Some((received.bytes, Way { peer, here })))
}

/// Answers a datagram: back on the way that it came. Whether it was taken, which UDP does not promise.
pub fn answer(socket: BorrowedFd<'_>, dual: bool, bytes: &[u8], way: Way) -> bool {
    let slices = [IoSlice::new(bytes)];
    let send = |peer: SocketAddr, message: ControlMessage<'_>| {
        sendmsg(socket.as_raw_fd(), &slices, &[message], MsgFlags::MSG_DONTWAIT, Some(&SockaddrStorage::from(peer)))
            .is_ok()
    };
    let zone = match way.peer {
        SocketAddr::V6(peer) => peer.scope_id(),
        SocketAddr::V4(_) => 0,
    };
    match (way.here, dual) {
        (IpAddr::V4(here), false) => {
            let from = libc::in_addr { s_addr: u32::from(here).to_be() };
            let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: from, ipi_addr: libc::in_addr { s_addr: 0 } };
            send(way.peer, ControlMessage::Ipv4PacketInfo(&info))
        }
        (here, _) => {
            let from = libc::in6_addr { s6_addr: mapped(here).octets() };
            let info = libc::in6_pktinfo { ipi6_addr: from, ipi6_ifindex: zone };
            let peer = SocketAddrV6::new(mapped(way.peer.ip()), way.peer.port(), 0, zone);
            send(peer.into(), ControlMessage::Ipv6PacketInfo(&info))
        }
    }
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|peer| SocketAddr::new(peer.ip().into(), peer.port()));
    v4.or_else(|| {
        let peer = storage.as_sockaddr_in6()?;
        Some(match peer.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(v4.into(), peer.port()),
            None => SocketAddrV6::new(peer.ip(), peer.port(), 0, peer.scope_id()).into(),
        })
    })
}
