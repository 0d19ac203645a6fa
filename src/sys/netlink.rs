//! rtnetlink(7): requests about interfaces, addresses, routes and neighbours, in the wire's own form.

use super::{Named, Result, socket};
use linux_raw_sys::netlink as raw;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::Timeout;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// More than the kernel answers to anything that is asked here (netlink(7) advises 8192).
const ANSWER: usize = 32 * 1024;

/// How long the kernel may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The number of an address's family.
pub fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { libc::AF_INET as u8 } else { libc::AF_INET6 as u8 }
}

/// "Look in that table", for a rule (FR_ACT_TO_TBL).
pub const TO_TABLE: u8 = 1;

/// Make it, and fail if it is there already.
pub const NEW: u16 = (raw::NLM_F_CREATE | raw::NLM_F_EXCL) as u16;

/// A request in the making: the kind's own header, then attributes.
///
/// Numbers are in the machine's byte order; addresses and ports, which are not numbers here, come as bytes.
#[derive(Debug)]
pub struct Message {
    bytes: Vec<u8>,
    about: &'static str,
}

impl Message {
    /// `kind` is RTM_*, `flags` NLM_F_* beside REQUEST and ACK, `header` the kind's own structure, and `about` what an
    /// error says was asked for.
    pub fn new(about: &'static str, kind: u16, flags: u16, header: &[u8]) -> Message {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend(0u32.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(((raw::NLM_F_REQUEST | raw::NLM_F_ACK) as u16 | flags).to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(header);
        let mut message = Message { bytes, about };
        message.pad();
        message
    }

    /// `struct ifinfomsg`: an interface by number, 0 for one that is new or named, and flags (IFF_*) that it is to have
    /// beside those that it has.
    pub fn link(about: &'static str, kind: u16, flags: u16, index: u32, set: u32) -> Message {
        let mut header = [0; 16];
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        header[8..12].copy_from_slice(&set.to_ne_bytes());
        header[12..16].copy_from_slice(&set.to_ne_bytes());
        Message::new(about, kind, flags, &header)
    }

    /// `struct rtmsg`: a new route (RTN_*) of a scope (RT_SCOPE_*) for the first `length` bits of an address of this family,
    /// which comes as an attribute, as does the table unless it is the main one or that of local addresses.
    pub fn route(about: &'static str, family: u8, length: u8, kind: u32, scope: u32, table: u32) -> Message {
        let [table, kind, scope] = [table, kind, scope].map(|number| number as u8);
        let header = [family, length, 0, 0, table, raw::RTPROT_BOOT as u8, scope, kind, 0, 0, 0, 0];
        Message::new(about, libc::RTM_NEWROUTE, NEW, &header)
    }

    /// `struct fib_rule_hdr`: a rule (ip-rule(8)) to be made or removed (RTM_NEWRULE, RTM_DELRULE), for the first bits of a
    /// destination and of a source of this family: `lengths`. `action` is a number of FR_ACT_*.
    pub fn rule(verb: u16, family: u8, lengths: (u8, u8), action: u8) -> Message {
        let flags = if verb == libc::RTM_NEWRULE { NEW } else { 0 };
        let (to, from) = lengths;
        Message::new("rule", verb, flags, &[family, to, from, 0, 0, 0, 0, action, 0, 0, 0, 0])
    }

    /// Adds an attribute.
    pub fn with(mut self, attribute: u32, value: &[u8]) -> Message {
        let start = self.begin(attribute);
        self.bytes.extend(value);
        self.end(start);
        self
    }

    /// Adds an attribute that is a number.
    pub fn number(self, attribute: u32, value: u32) -> Message {
        self.with(attribute, &value.to_ne_bytes())
    }

    /// Adds an attribute that is an address.
    pub fn address(self, attribute: u32, address: IpAddr) -> Message {
        match address {
            IpAddr::V4(address) => self.with(attribute, &address.octets()),
            IpAddr::V6(address) => self.with(attribute, &address.octets()),
        }
    }

    /// Adds an attribute that is a name, which ends with a zero.
    pub fn name(mut self, attribute: u32, value: &str) -> Message {
        let start = self.begin(attribute);
        self.bytes.extend(value.as_bytes());
        self.bytes.push(0);
        self.end(start);
        self
    }

    /// Adds an attribute that consists of others.
    pub fn nest(mut self, attribute: u32, inner: impl FnOnce(Message) -> Message) -> Message {
        let start = self.begin(attribute);
        self = inner(self);
        self.end(start);
        self
    }

    fn begin(&mut self, attribute: u32) -> usize {
        let start = self.bytes.len();
        self.bytes.extend(0u16.to_ne_bytes());
        self.bytes.extend((attribute as u16).to_ne_bytes());
        start
    }

    fn end(&mut self, start: usize) {
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// A connection to the kernel about the network namespace that it was made in, from wherever it is used. The kernel
/// looks at who made it and at who uses it: both must be root of that namespace, or have made its user namespace.
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl Socket {
    /// For requests.
    pub fn open() -> Result<Socket> {
        let call = || "socket(AF_NETLINK)".to_owned();
        // The protocol of routing is number 0, which is also the default.
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
            .named(call)?;
        // With the kernel alone: otherwise root of the namespace could send here, too.
        rustix::net::connect(&socket, &SocketAddrNetlink::new(0, 0)).named(|| "connect(AF_NETLINK)".to_owned())?;
        // The kernel answers at once. Where an answer was lost, somebody in the namespace takes all the room.
        rustix::net::sockopt::set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE)).named(call)?;
        Ok(Socket(socket))
    }

    /// From now on it is told what happens in these groups (RTNLGRP_*).
    pub fn listen(&self, groups: &[u32]) -> Result<()> {
        for group in groups {
            socket::set(self.0.as_fd(), libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, *group as i32)
                .named(|| format!("setsockopt(NETLINK_ADD_MEMBERSHIP, {group})"))?;
        }
        Ok(())
    }

    /// Asks for all of these, in this order, in one call. The first that is refused is the error; the kernel tries the
    /// others nevertheless.
    pub fn request(&self, messages: Vec<Message>) -> Result<()> {
        self.ask(messages, None)
    }

    /// The same, where one refusal is as good as none.
    pub fn request_unless(&self, messages: Vec<Message>, forgiven: Errno) -> Result<()> {
        self.ask(messages, Some(forgiven))
    }

    fn ask(&self, messages: Vec<Message>, forgiven: Option<Errno>) -> Result<()> {
        let mut all = Vec::with_capacity(messages.iter().map(|message| message.bytes.len()).sum());
        let mut abouts = Vec::with_capacity(messages.len());
        for Message { mut bytes, about } in messages {
            let length = bytes.len() as u32;
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            bytes[8..12].copy_from_slice(&(abouts.len() as u32).to_ne_bytes());
            abouts.push(about);
            all.extend(bytes);
        }
        self.send(&all)?;
        let mut answered = 0;
        let mut refused = None;
        while answered < abouts.len() {
            let answer = self.receive()?;
            for (kind, sequence, body) in parts(&answer) {
                if kind != raw::NLMSG_ERROR as u16 {
                    continue;
                }
                answered += 1;
                let Some(errno) = refusal(body).filter(|errno| Some(*errno) != forgiven) else { continue };
                refused =
                    refused.or_else(|| Some((abouts.get(sequence as usize).copied().unwrap_or("request"), errno)));
            }
        }
        match refused {
            Some((about, errno)) => Err(errno).named(|| format!("netlink({about})")),
            None => Ok(()),
        }
    }

    /// The number of an interface that has this name, if there is one.
    pub fn index(&self, name: &str) -> Result<Option<u32>> {
        let question = Message::link("find", libc::RTM_GETLINK, 0, 0, 0).name(raw::IFLA_IFNAME as u32, name);
        Ok(self.find(question)?.map(|link| link.index))
    }

    /// What an interface is like, if there is one of this number. Where somebody has just come to its other end or left it,
    /// the kernel, which else may wait up to a second, takes notice at once (linkwatch_sync_dev in net/core, Linux 5.17).
    pub fn state(&self, index: u32) -> Result<Option<LinkState>> {
        self.find(Message::link("find", libc::RTM_GETLINK, 0, index, 0))
    }

    fn find(&self, question: Message) -> Result<Option<LinkState>> {
        let mut bytes = question.bytes;
        let length = bytes.len() as u32;
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.send(&bytes)?;
        let mut found = None;
        loop {
            let answer = self.receive()?;
            for (kind, _, body) in parts(&answer) {
                if kind == libc::RTM_NEWLINK {
                    found = LinkState::read(body);
                } else if kind == raw::NLMSG_ERROR as u16 {
                    return match refusal(body) {
                        None => Ok(found),
                        Some(Errno::NODEV) => Ok(None),
                        Some(errno) => Err(errno).named(|| "netlink(find)".to_owned()),
                    };
                }
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> Result<()> {
        rustix::io::retry_on_intr(|| rustix::net::send(&self.0, bytes, SendFlags::empty()))
            .named(|| "send(AF_NETLINK)".to_owned())?;
        Ok(())
    }

    fn receive(&self) -> Result<Vec<u8>> {
        let mut buffer = vec![0; ANSWER];
        let (length, _) = rustix::io::retry_on_intr(|| rustix::net::recv(&self.0, &mut buffer[..], RecvFlags::empty()))
            .named(|| "recv(AF_NETLINK)".to_owned())?;
        buffer.truncate(length);
        Ok(buffer)
    }
}

impl From<OwnedFd> for Socket {
    fn from(fd: OwnedFd) -> Socket {
        Socket(fd)
    }
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> OwnedFd {
        socket.0
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Calls `each` with the kind and body of every message that a socket's groups have brought, without waiting, and with
/// `None` if there was more than the kernel could keep. True if there was any.
pub fn told(socket: BorrowedFd<'_>, mut each: impl FnMut(Option<(u16, &[u8])>)) -> Result<bool> {
    let mut any = false;
    let mut buffer = [0; ANSWER];
    loop {
        match rustix::net::recv(socket, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((length, _)) => parts(&buffer[..length]).for_each(|(kind, _, body)| each(Some((kind, body)))),
            Err(Errno::NOBUFS) => each(None),
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => return Ok(any),
            Err(errno) => return Err(errno).named(|| "recv(AF_NETLINK)".to_owned()),
        }
        any = true;
    }
}

/// What a message about an interface begins with, `struct ifinfomsg`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkState {
    /// Its number.
    pub index: u32,
    /// IFF_*.
    pub flags: u32,
}

impl LinkState {
    /// Reads it from a message's body, if that is long enough.
    pub fn read(body: &[u8]) -> Option<LinkState> {
        Some(LinkState { index: number(body.get(4..)?)?, flags: number(body.get(8..)?)? })
    }
}

/// The messages in a datagram: kind, sequence number, what follows the header.
fn parts(mut bytes: &[u8]) -> impl Iterator<Item = (u16, u32, &[u8])> {
    std::iter::from_fn(move || {
        let length = number(bytes)? as usize;
        let message = bytes.get(..length).filter(|_| length >= HEADER)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        let kind = u16::from_ne_bytes([message[4], message[5]]);
        Some((kind, number(&message[8..])?, &message[HEADER..]))
    })
}

/// Why not, from the body of an NLMSG_ERROR; none if all is well.
fn refusal(body: &[u8]) -> Option<Errno> {
    let errno = number(body).map_or(libc::EPROTO, |errno| (errno as i32).wrapping_neg());
    // The kernel's are from 1 to 4095.
    (errno != 0).then(|| Errno::from_raw_os_error(errno.clamp(1, 4095)))
}

fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_counted_without_the_padding() {
        let message = Message::new("x", 16, 0, &[]).nest(7, |inner| inner.name(3, "lo").with(1, &[9]));
        let body = &message.bytes[HEADER..];
        assert_eq!(body[..4], [&20u16.to_ne_bytes()[..], &7u16.to_ne_bytes()].concat());
        assert_eq!(body[4..8], [&((4 + 3) as u16).to_ne_bytes()[..], &3u16.to_ne_bytes()].concat());
        assert_eq!(body[8..12], *b"lo\0\0");
        assert_eq!(body[12..14], ((4 + 1) as u16).to_ne_bytes());
        assert_eq!(body.len(), 20);
    }

    #[test]
    fn answers_that_lie_about_their_length() {
        for length in [0u32, 1, 15, 17, u32::MAX] {
            let mut bytes = [0; HEADER];
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(parts(&bytes).count(), 0, "{length}");
        }
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&16u32.to_ne_bytes());
        assert_eq!(parts(&bytes).count(), 1);
    }

    #[test]
    fn the_loopback_interface_is_the_first() {
        let socket = Socket::open().unwrap();
        assert_eq!(socket.index("lo").unwrap(), Some(1));
        assert_eq!(socket.index("no-such-if").unwrap(), None);
        let kind = libc::RTM_DELLINK;
        let error = socket.request(vec![Message::link("remove x", kind, 0, 0x7fff_fff0, 0)]).unwrap_err();
        assert!(matches!(error.errno, Errno::NODEV | Errno::PERM), "{error}");
        assert!(!told(socket.as_fd(), |_| ()).unwrap());
    }
}
