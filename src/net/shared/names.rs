//! Whether a container that was just connected gets names answered: aardvark-dns 1.4.0 binds its ports, and reads what is new,
//! a moment after netavark has ended, and a container whose first question is refused asks no more.
//!
//! Runs in: the namespaces of all networks.

use super::message::Work;
use crate::sys::clone::enter_network;
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Longer than it takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two questions.
const INTERVAL: Duration = Duration::from_millis(5);
/// Of a question's header (RFC 1035, section 4.1.1): any number, one question, no answers.
const HEADER: [u8; 12] = [b'r', b'b', 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
/// Type A, class IN.
const ADDRESS: [u8; 4] = [0, 1, 0, 1];

/// Waits until the container finds itself by the beginning of its id: it asks from its own network namespace, at its own
/// address, by which aardvark-dns knows it. A container with IPv6 alone is not waited for.
pub fn wait(work: &Work, namespace: &OwnedFd) -> Result<()> {
    let own = work.addresses.iter().find(|address| address.is_ipv4());
    let pool = work.network.subnets.iter().find(|pool| !pool.subnet.is_ipv6());
    let (Some(own), Some(pool)) = (own, pool) else { return Ok(()) };
    let name = work.aliases.last().context("no name")?;
    std::thread::scope(|scope| {
        let asked = std::thread::Builder::new().name("names".to_owned()).spawn_scoped(scope, || {
            enter_network(namespace)?;
            ask(*own, pool.gateway, name)
        });
        asked.context("thread")?.join().map_err(|_| anyhow!("names"))?
    })
}

fn ask(own: IpAddr, server: IpAddr, name: &str) -> Result<()> {
    let socket = UdpSocket::bind(SocketAddr::new(own, 0)).context("names")?;
    socket.connect(SocketAddr::new(server, 53)).context("names")?;
    socket.set_read_timeout(Some(INTERVAL))?;
    let question = question(name)?;
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let begun = Instant::now();
        let mut answer = [0; 512];
        // Refused, as long as nobody is there.
        let received = socket.send(&question).and_then(|_| socket.recv(&mut answer));
        if received.is_ok_and(|length| has_answers(&answer[..length])) {
            return Ok(());
        }
        std::thread::sleep(INTERVAL.saturating_sub(begun.elapsed()));
    }
    bail!("aardvark-dns: nobody answers names at {server}")
}

fn question(name: &str) -> Result<Vec<u8>> {
    ensure!((1..64).contains(&name.len()) && !name.contains('.'), "{name}: not a name");
    let mut message = HEADER.to_vec();
    message.push(name.len() as u8);
    message.extend(name.bytes());
    message.push(0);
    message.extend(ADDRESS);
    Ok(message)
}

/// Its header's number is ours, it is an answer, and it has some (RFC 1035, section 4.1.1).
fn has_answers(message: &[u8]) -> bool {
    match message {
        [b'r', b'b', flags, _, _, _, high, low, ..] => flags & 0x80 != 0 && (*high, *low) != (0, 0),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_and_answered() {
        let question = question("0123456789ab").unwrap();
        assert_eq!(&question[12..], b"\x0c0123456789ab\0\0\x01\0\x01");
        assert!(!has_answers(&question));
        for (header, is) in
            [(*b"rb\x80\0\0\x01\0\x01", true), (*b"rb\x80\x03\0\x01\0\0", false), (*b"rx\x80\0\0\x01\0\x01", false)]
        {
            assert_eq!(has_answers(&header), is, "{header:?}");
        }
        assert!(!has_answers(b"rb\x80"));
        for name in ["", "a.b", &"x".repeat(64)] {
            assert!(super::question(name).is_err(), "{name}");
        }
    }
}
