//! Servers of lines and datagrams, a thread for each socket and connection.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};

/// What a UDP server answers to a datagram: the datagram, its sender, and the address that the answer comes from.
type Answer = fn(&[u8], SocketAddr, IpAddr) -> Option<Vec<u8>>;

/// Servers that tell who speaks to them: `tcp 80 127.0.0.1:81 udp 53`. All listen when it returns.
pub fn echo(ports: &[&str]) {
    let mut protocol = "";
    for word in ports {
        match (*word, protocol) {
            ("tcp" | "udp", _) => protocol = word,
            (port, "tcp") => tcp(port, echo_lines),
            (port, "udp") => udp(port, |datagram, peer, local| Some(echoed(peer, local, datagram))),
            _ => panic!("guest: {word}: tcp or udp?"),
        }
    }
}

/// Serves each connection.
pub fn tcp(port: &str, serve: fn(TcpStream)) {
    let listener = bound(port, TcpListener::bind(addresses(port).as_slice()));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
}

/// Answers each datagram.
pub fn udp(port: &str, answer: Answer) {
    let socket = bound(port, UdpSocket::bind(addresses(port).as_slice()));
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        loop {
            // Where an answer found nobody any more, the socket says so here.
            let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
            if let Some(answer) = answer(&buffer[..length], plain(peer), source_to(peer)) {
                let _ = socket.send_to(&answer, peer);
            }
        }
    });
}

/// A port alone is that of all addresses: of both families, where there are both.
fn addresses(port: &str) -> Vec<SocketAddr> {
    match port.parse() {
        Ok(port) => vec![(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()],
        Err(_) => vec![port.parse().expect("PORT or ADDRESS:PORT")],
    }
}

fn bound<T>(port: &str, result: std::io::Result<T>) -> T {
    result.unwrap_or_else(|error| {
        println!("error={:?} port={port}", error.kind());
        std::process::exit(1)
    })
}

fn echo_lines(mut stream: TcpStream) {
    let (Ok(peer), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else { return };
    let Ok(reader) = stream.try_clone() else { return };
    for line in BufReader::new(reader).split(b'\n') {
        let Ok(line) = line else { return };
        if stream.write_all(&echoed(plain(peer), plain(local).ip(), &line)).is_err() {
            return;
        }
    }
}

fn echoed(peer: SocketAddr, local: IpAddr, text: &[u8]) -> Vec<u8> {
    let mut line = format!("peer={peer} local={local} ").into_bytes();
    line.extend(text.trim_ascii_end());
    line.push(b'\n');
    line
}

/// A socket of both families shows IPv4 addresses as IPv6's.
pub fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The address that packets to `peer` come from: nothing is sent to find it out.
fn source_to(peer: SocketAddr) -> IpAddr {
    let any: SocketAddr = match plain(peer) {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let local = UdpSocket::bind(any).and_then(|socket| {
        socket.connect(plain(peer))?;
        socket.local_addr()
    });
    local.map_or(any.ip(), |local| local.ip())
}

/// Prints the first datagram that comes.
pub fn hear(port: &str) {
    let socket = bound(port, UdpSocket::bind(addresses(port).as_slice()));
    super::say("ready");
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).expect("a datagram");
    println!("{}", String::from_utf8_lossy(&buffer[..length]).trim_end());
}
