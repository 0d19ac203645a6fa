//! The network of a container, on a host of the test network (scripts/bed). Without one these are skipped.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

use env::Env;
use env::bed::{CLIENT, Echo, RBOX, SERVER, nobody};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

/// The modes in which a container reaches what the host reaches, as options.
const MODES: &[&[&str]] = &[
    // The host's resolver is to be named by hand so far.
    &["--network=host", "-v=/etc/resolv.conf:/etc/resolv.conf:ro"],
];

/// Runs a test in each of the modes.
fn in_each_mode(test: fn(&Env, &[&str])) {
    for mode in MODES {
        eprintln!("{mode:?}");
        test(&Env::new(), mode);
    }
}

#[test]
fn tcp_and_udp_to_another_host() {
    requires!("tcp_and_udp_to_another_host", bed);
    in_each_mode(|env, mode| {
        for protocol in ["tcp", "udp"] {
            for (to, from) in SERVER.addresses().into_iter().zip(RBOX.addresses()) {
                let verb = ["connect", protocol, &to.to_string(), "7", "hello"];
                let echo = Echo::read(&env.guest(mode, &verb).ok().stdout);
                // The other host sees this one, whatever the address of the container is.
                assert_eq!(
                    (echo.peer.ip(), echo.local, echo.text.as_str()),
                    (from, to, "hello"),
                    "{mode:?} {protocol}"
                );
            }
        }
    });
}

#[test]
fn a_refusal_arrives() {
    requires!("a_refusal_arrives", bed);
    in_each_mode(|env, mode| {
        for to in SERVER.addresses() {
            let done = env.guest(mode, &["connect", "tcp", &to.to_string(), "8", "hello"]);
            assert_eq!((done.status, done.stdout.as_str()), (1, "error=ConnectionRefused\n"), "{mode:?} {to}");
        }
    });
}

#[test]
fn a_page() {
    requires!("a_page", bed);
    in_each_mode(|env, mode| {
        for to in SERVER.addresses() {
            let done = env.guest(mode, &["connect", "tcp", &to.to_string(), "80", "GET / HTTP/1.1\r\n\r"]).ok();
            assert_eq!(done.stdout, "HTTP/1.1 200 OK\n", "{mode:?} {to}");
        }
    });
}

#[test]
fn ping() {
    requires!("ping", bed);
    in_each_mode(|env, mode| {
        for to in SERVER.addresses() {
            let done = env.guest(mode, &["ping", &to.to_string()]).ok();
            assert_eq!(done.stdout, format!("answer from {to}\n"), "{mode:?}");
        }
    });
}

#[test]
fn names() {
    requires!("names", bed);
    in_each_mode(|env, mode| {
        for (name, addresses) in [
            ("server.test", "192.0.2.2\n2001:db8::2\n"),
            ("CLIENT.test", "192.0.2.3\n2001:db8::3\n"),
            ("v4.test", "192.0.2.2\n"),
            ("v6.test", "2001:db8::2\n"),
        ] {
            assert_eq!(env.guest(mode, &["resolve", name]).ok().stdout, addresses, "{mode:?} {name}");
        }
        nobody(&env.guest(mode, &["resolve", "nowhere.test"]));
    });
}

#[test]
fn a_long_answer_is_truncated_and_there_over_tcp() {
    requires!("a_long_answer_is_truncated_and_there_over_tcp", bed);
    in_each_mode(|env, mode| {
        let resolver = resolver(env, mode);
        for (protocol, kind, answer) in [
            ("udp", "A", "status=0\ntruncated=true\nanswers=0\n"),
            ("tcp", "A", "status=0\ntruncated=false\nanswers=40\n"),
            ("udp", "AAAA", "status=0\ntruncated=false\nanswers=0\n"),
        ] {
            let done = env.guest(mode, &["dns", protocol, &resolver, "big.test", kind]).ok();
            assert_eq!(done.stdout, answer, "{mode:?} {protocol} {kind}");
        }
        let done = env.guest(mode, &["dns", "udp", &resolver, "nowhere.test", "A"]).ok();
        assert_eq!(done.stdout, "status=3\ntruncated=false\nanswers=0\n", "{mode:?}");
    });
}

/// Whom a container asks for names.
fn resolver(env: &Env, mode: &[&str]) -> String {
    let file = env.guest(mode, &["read", "/etc/resolv.conf"]).ok().stdout;
    let first = file.lines().find_map(|line| line.strip_prefix("nameserver "));
    first.unwrap_or_else(|| panic!("no resolver: {file:?}")).to_owned()
}

#[test]
fn none_reaches_nobody() {
    requires!("none_reaches_nobody", bed);
    let env = Env::new();
    let host = Open::new();
    for protocol in ["tcp", "udp"] {
        for to in SERVER.addresses() {
            nobody(&env.guest(&["--network=none"], &["knock", protocol, &to.to_string(), "7"]));
        }
        for to in host.addresses() {
            nobody(&env.guest(&["--network=none"], &["knock", protocol, &to.ip().to_string(), &to.port().to_string()]));
        }
    }
    for to in SERVER.addresses() {
        nobody(&env.guest(&["--network=none"], &["ping", &to.to_string()]));
    }
    host.heard_nothing();
}

/// Services of this host, one of each protocol for each address: those of loopback, and those that others see.
struct Open(Vec<(TcpListener, UdpSocket)>);

impl Open {
    fn new() -> Open {
        let loopback = ["127.0.0.1", "::1"].map(|address| address.parse::<IpAddr>().unwrap());
        let bound = loopback.into_iter().chain(RBOX.addresses()).map(|address| {
            let tcp = TcpListener::bind((address, 0)).unwrap();
            // The same port, where nobody else has it.
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
}

#[test]
fn a_container_on_the_hosts_network_is_reached() {
    requires!("a_container_on_the_hosts_network_is_reached", bed);
    let env = Env::new();
    // A port that the kernel takes for nobody.
    let _listener = env.listen(&["--network=host"], &["tcp", "8070", "udp", "8070"]);
    for protocol in ["tcp", "udp"] {
        for (to, from) in RBOX.addresses().into_iter().zip(CLIENT.addresses()) {
            let echo = Echo::read(&CLIENT.guest(&["connect", protocol, &to.to_string(), "8070", "hello"]));
            assert_eq!((echo.peer.ip(), echo.local, echo.text.as_str()), (from, to, "hello"), "{protocol}");
        }
    }
}

#[test]
fn a_service_of_another_host_for_a_while() {
    requires!("a_service_of_another_host_for_a_while", bed);
    in_each_mode(|env, mode| {
        let to = CLIENT.v4().to_string();
        let service = CLIENT.listen(&["tcp", "8071"]);
        let verb = ["connect", "tcp", &to, "8071", "hello"];
        assert_eq!(Echo::read(&env.guest(mode, &verb).ok().stdout).text, "hello", "{mode:?}");
        drop(service);
        env::eventually("the service has ended", || env.guest(mode, &verb).stdout == "error=ConnectionRefused\n");
    });
}
