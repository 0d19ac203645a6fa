//! The network of a container, on a host of the test network (scripts/bed). Without one these are skipped.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

#[path = "network/closed.rs"]
mod closed;
#[path = "network/end.rs"]
mod end;
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

/// A network that containers share, of both families.
const SHARED: &[&str] = &["--network=shared"];

/// A private world for the mode; none where the mode is not to be had.
fn world(mode: &[&str]) -> Option<Env> {
    let env = Env::new();
    if mode == SHARED {
        if let Some(missing) = env::shared::missing() {
            env::skip("networks_that_containers_share", missing);
            return None;
        }
        let done: env::Done = env.rbox().args(["network", "create", "--ipv6", "shared"]).output().unwrap().into();
        done.ok();
    }
    Some(env)
}

/// Runs a test in each mode in which a container reaches what the host reaches.
fn in_each_mode(test: fn(&Env, &[&str])) {
    for mode in [HOST, OWN, &[SHARED]].concat() {
        eprintln!("{mode:?}");
        if let Some(env) = world(mode) {
            test(&env, mode);
        }
    }
}

/// Runs a test in each mode with a network of the container's own.
fn in_each_mode_of_its_own(test: fn(&Env, &[&str])) {
    for mode in OWN {
        eprintln!("{mode:?}");
        test(&Env::new(), mode);
    }
}

/// Runs a test in each mode in which the container has other addresses than the host.
fn in_each_mode_apart(test: fn(&Env, &[&str])) {
    for mode in [OWN, &[SHARED]].concat() {
        eprintln!("{mode:?}");
        if let Some(env) = world(mode) {
            test(&env, mode);
        }
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
