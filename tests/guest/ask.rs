//! One question over the network, and what came of it: the answer, or `error=` and the kind of error, with status 1.

use crate::server::plain;
use rustix::net::{AddressFamily, SocketType, ipproto, socket};
use std::io::{BufRead, BufReader, Error, ErrorKind, Result, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// For what must be answered: nothing takes so long, even where the processor is emulated and busy.
pub const LONG: Duration = Duration::from_secs(30);
/// For what must not be answered.
const SHORT: Duration = Duration::from_secs(3);

/// Sends a line and prints the one that comes back.
pub fn connect(protocol: &str, address: &str, port: &str, text: &str) {
    let to = SocketAddr::new(address.parse().expect("an address"), port.parse().expect("a port"));
    tell(match protocol {
        "tcp" => line(to, text),
        "udp" => datagram(to, text.as_bytes(), LONG).map(|answer| String::from_utf8_lossy(&answer).into_owned()),
        _ => panic!("guest: {protocol}: tcp or udp?"),
    });
}

pub fn tell(answer: Result<String>) {
    match answer {
        Ok(answer) => println!("{}", answer.trim_end()),
        Err(error) => {
            // A socket's own timeout reads as if it did not block.
            let kind = if error.kind() == ErrorKind::WouldBlock { ErrorKind::TimedOut } else { error.kind() };
            println!("error={kind:?}");
            std::process::exit(1);
        }
    }
}

fn line(to: SocketAddr, text: &str) -> Result<String> {
    let mut stream = stream(to)?;
    stream.write_all(format!("{text}\n").as_bytes())?;
    let mut answer = String::new();
    match BufReader::new(stream).read_line(&mut answer)? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        _ => Ok(answer),
    }
}

pub fn stream(to: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, LONG)?;
    stream.set_read_timeout(Some(LONG))?;
    Ok(stream)
}

/// Tries TCP and UDP to all of the targets (`ADDRESS:PORT`) at once; prints those that let a connection in or answered.
pub fn knock(targets: &[&str]) {
    let targets: Vec<SocketAddr> = targets.iter().map(|target| target.parse().expect("ADDRESS:PORT")).collect();
    let knocks = targets.into_iter().map(|to| {
        let tcp = std::thread::spawn(move || TcpStream::connect_timeout(&to, SHORT).is_ok());
        let udp = std::thread::spawn(move || datagram(to, b"knock", SHORT).is_ok());
        (to, tcp, udp)
    });
    for (to, tcp, udp) in knocks.collect::<Vec<_>>() {
        for (protocol, knock) in [("tcp", tcp), ("udp", udp)] {
            if knock.join().expect("no panic") {
                println!("{protocol} {to}");
            }
        }
    }
}

pub fn datagram(to: SocketAddr, bytes: &[u8], patience: Duration) -> Result<Vec<u8>> {
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    exchange(&UdpSocket::bind(any)?, to, bytes, patience)
}

fn exchange(socket: &UdpSocket, to: SocketAddr, bytes: &[u8], patience: Duration) -> Result<Vec<u8>> {
    socket.connect(to)?;
    socket.set_read_timeout(Some(patience))?;
    socket.send(bytes)?;
    let mut answer = vec![0; 1 << 16];
    let length = socket.recv(&mut answer)?;
    answer.truncate(length);
    Ok(answer)
}

/// Prints the addresses of a name as the C library finds them, one a line.
pub fn resolve(name: &str) {
    match (name, 0).to_socket_addrs() {
        Ok(found) => {
            let mut found: Vec<IpAddr> = found.map(|address| plain(address).ip()).collect();
            found.sort_unstable();
            found.dedup();
            found.iter().for_each(|address| println!("{address}"));
        }
        Err(error) => {
            println!("error={error}");
            std::process::exit(1);
        }
    }
}

/// An echo request without privileges: where the group is in net.ipv4.ping_group_range, which is IPv6's too (icmp(7)).
pub fn ping(address: &str) {
    let address: IpAddr = address.parse().expect("an address");
    tell(echo_request(address).map(|()| format!("answer from {address}")));
}

fn echo_request(address: IpAddr) -> Result<()> {
    // RFC 792 and RFC 4443, section 4.1.
    let (family, protocol, request, reply) = match address {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP, 8, 0),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6, 128, 129),
    };
    let socket: OwnedFd = socket(family, SocketType::DGRAM, Some(protocol))?;
    // Type, code, checksum and identifier, which are the kernel's, sequence number, data.
    let message = [request, 0, 0, 0, 0, 0, 0, 1, b'p', b'i', b'n', b'g'];
    let answer = exchange(&UdpSocket::from(socket), SocketAddr::new(address, 0), &message, LONG)?;
    if answer.first() == Some(&reply) && answer.get(6..) == message.get(6..) {
        Ok(())
    } else {
        Err(Error::from(ErrorKind::InvalidData))
    }
}

/// Prints the routers of the default routes, IPv4's first: the third column of /proc/net/route, in the byte order of the
/// machine, and the fifth of /proc/net/ipv6_route.
pub fn gateways() {
    let file = |name: &str| std::fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default();
    for line in file("route").lines() {
        if let [_, "00000000", router, ..] = line.split_whitespace().collect::<Vec<_>>()[..] {
            let router = u32::from_str_radix(router, 16).expect("hexadecimal");
            println!("{}", Ipv4Addr::from(router.to_ne_bytes()));
        }
    }
    for line in file("ipv6_route").lines() {
        if let [_, "00", _, _, router, ..] = line.split_whitespace().collect::<Vec<_>>()[..] {
            let router = Ipv6Addr::from(u128::from_str_radix(router, 16).expect("hexadecimal"));
            // The entry that refuses all has none.
            if !router.is_unspecified() {
                println!("{router}");
            }
        }
    }
}

/// Sends one datagram.
pub fn say_to(to: &str, text: &str) {
    let to: SocketAddr = to.parse().expect("ADDRESS:PORT");
    let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    UdpSocket::bind((any, 0)).and_then(|socket| socket.send_to(text.as_bytes(), to)).expect("sent");
}

/// Asks for a name as if somebody else did (raw(7), IP_HDRINCL): the answer goes there, if there is one.
pub fn forge(from: &str, to: &str) {
    let [from, to] = [from, to].map(|text| text.parse::<std::net::SocketAddrV4>().expect("ADDRESS:PORT"));
    let question = b"\x0b\x0b\x01\0\0\x01\0\0\0\0\0\0\x06secret\x04test\0\0\x01\0\x01";
    let udp = 8 + question.len() as u16;
    // RFC 791: version and length, whole length, a time to live, UDP; the kernel writes what is left 0.
    let mut packet = vec![0x45, 0];
    packet.extend((20 + udp).to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend(from.ip().octets());
    packet.extend(to.ip().octets());
    packet.extend([from.port(), to.port(), udp, 0].map(u16::to_be_bytes).concat());
    packet.extend(question);
    let socket = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW)).expect("a raw socket");
    rustix::net::sendto(&socket, &packet, rustix::net::SendFlags::empty(), &to).expect("sent");
}
