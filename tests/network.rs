//! The network of a container, on a host of the test network (scripts/bed). Without one these are skipped.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

#[path = "network/closed.rs"]
mod closed;
#[path = "network/helpers.rs"]
mod helpers;
#[path = "network/names.rs"]
mod names;
#[path = "network/outbound.rs"]
mod outbound;
#[path = "network/ports.rs"]
mod ports;

use env::Env;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

/// The mode with the host's network, as options.
const HOST: &[&[&str]] = &[&["--network=host"]];

/// The modes with a network of the container's own that leads to others.
const OWN: &[&[&str]] = &[&["--network=pasta"], &["--network=slirp4netns"]];

/// Runs a test in each mode in which a container reaches what the host reaches.
fn in_each_mode(test: fn(&Env, &[&str])) {
    for mode in [HOST, OWN].concat() {
        eprintln!("{mode:?}");
        test(&Env::new(), mode);
    }
}

/// Runs a test in each mode with a network of the container's own.
fn in_each_mode_of_its_own(test: fn(&Env, &[&str])) {
    for mode in OWN {
        eprintln!("{mode:?}");
        test(&Env::new(), mode);
    }
}

/// Services of this host, one of each protocol for each address, that nobody is to come to.
struct Open(Vec<(TcpListener, UdpSocket)>);

impl Open {
    fn new(addresses: &[&str]) -> Open {
        let bound = addresses.iter().map(|address| {
            let tcp = TcpListener::bind((address.parse::<IpAddr>().unwrap(), 0)).unwrap();
            // The same port, which nobody else has.
            let udp = UdpSocket::bind(tcp.local_addr().unwrap()).unwrap();
            tcp.set_nonblocking(true).unwrap();
            udp.set_nonblocking(true).unwrap();
            (tcp, udp)
        });
        Open(bound.collect())
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().map(|(tcp, _)| tcp.local_addr().unwrap()).collect()
    }

    /// Asserts that nobody has come.
    #[track_caller]
    fn heard_nothing(&self) {
        for (tcp, udp) in &self.0 {
            let address = tcp.local_addr().unwrap();
            assert!(tcp.accept().is_err(), "a connection to {address}");
            assert!(udp.recv(&mut [0; 64]).is_err(), "a datagram to {address}");
        }
    }

    /// Whether somebody has come.
    fn heard_something(&self) -> bool {
        self.0.iter().any(|(tcp, _)| tcp.accept().is_ok())
    }
}
