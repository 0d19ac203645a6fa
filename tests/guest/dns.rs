//! A name server with a zone of a few names, and raw questions to one (RFC 1035, section 4).

use crate::ask;
use std::io::{Read, Result, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};

const A: u16 = 1;
const AAAA: u16 = 28;
const HEADER: usize = 12;
/// A longer answer is truncated over UDP.
const DATAGRAM: usize = 512;
const TRUNCATED: u8 = 2;
const NO_SUCH_NAME: u8 = 3;

/// The zone; `local` is the address that the server has been asked by.
fn zone(name: &str, local: IpAddr) -> Option<Vec<IpAddr>> {
    let host = |number: u8| {
        vec![IpAddr::from([192, 0, 2, number]), IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, number.into()])]
    };
    match name {
        "rbox.test" => Some(host(1)),
        "server.test" => Some(host(2)),
        "client.test" => Some(host(3)),
        "v4.test" => Some(vec![host(2)[0]]),
        "v6.test" => Some(vec![host(2)[1]]),
        // Whichever server is asked.
        "here.test" => Some(vec![local]),
        // More than fits into a datagram, and less than a resolver has room for.
        "big.test" => Some((1..=40).map(|number| Ipv4Addr::new(192, 0, 2, number).into()).collect()),
        _ => None,
    }
}

/// The answer to a datagram.
pub fn over_udp(query: &[u8], _: SocketAddr, local: IpAddr) -> Option<Vec<u8>> {
    let mut answer = answer(query, local)?;
    if answer.len() > DATAGRAM {
        let question = question(query)?.2;
        answer.truncate(question);
        answer[2] |= TRUNCATED;
        answer[6..8].copy_from_slice(&[0, 0]);
    }
    Some(answer)
}

/// Answers what comes over a connection.
pub fn over_tcp(mut stream: TcpStream) {
    let Ok(local) = stream.local_addr() else { return };
    while let Ok(query) = receive(&mut stream) {
        let Some(answer) = answer(&query, local.ip().to_canonical()) else { return };
        if send(&mut stream, &answer).is_err() {
            return;
        }
    }
}

fn answer(query: &[u8], local: IpAddr) -> Option<Vec<u8>> {
    let (name, kind, end) = question(query)?;
    let found = zone(&name, local);
    let mut answer = query.get(..end)?.to_vec();
    // An answer, with authority; recursion is there for those who want it.
    answer[2] = 0x84 | (query[2] & 1);
    answer[3] = 0x80 | if found.is_none() { NO_SUCH_NAME } else { 0 };
    answer[6..HEADER].fill(0);
    let found = found.unwrap_or_default();
    let found = found.iter().filter(|address| kind == if address.is_ipv4() { A } else { AAAA });
    for address in found {
        answer[7] += 1;
        let bytes = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        // The name of the question, the type, the class IN, no second to live.
        answer.extend([0xc0, HEADER as u8, 0, kind as u8, 0, 1, 0, 0, 0, 0, 0, bytes.len() as u8]);
        answer.extend(bytes);
    }
    Some(answer)
}

/// The name asked for, its type, and where the question ends.
fn question(message: &[u8]) -> Option<(String, u16, usize)> {
    let mut labels = Vec::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(message.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]);
    Some((labels.join("."), kind, at + 4))
}

/// Messages over TCP have their length first (section 4.2.2).
fn receive(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message)?;
    Ok(message)
}

fn send(stream: &mut TcpStream, message: &[u8]) -> Result<()> {
    stream.write_all(&[&(message.len() as u16).to_be_bytes(), message].concat())
}

/// Asks a server and prints what it answers, also what a resolver would not show.
pub fn query(protocol: &str, server: &str, name: &str, kind: &str) {
    let kind = match kind {
        "A" => A,
        "AAAA" => AAAA,
        _ => panic!("guest: {kind}: A or AAAA?"),
    };
    let mut query = vec![0x47, 0x11, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(label.len() as u8);
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, kind as u8, 0, 1]);
    let server = SocketAddr::new(server.parse().expect("an address"), 53);
    ask::tell(
        match protocol {
            "tcp" => ask::stream(server).and_then(|mut stream| {
                send(&mut stream, &query)?;
                receive(&mut stream)
            }),
            "udp" => ask::datagram(server, &query, ask::LONG),
            _ => panic!("guest: {protocol}: tcp or udp?"),
        }
        .map(|answer| {
            assert_eq!(answer[..2], query[..2]);
            format!("status={}\ntruncated={}\nanswers={}", answer[3] & 15, answer[2] & TRUNCATED != 0, answer[7])
        }),
    );
}
