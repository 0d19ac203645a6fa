//! What a container reaches.

use crate::env::bed::{CLIENT, Echo, RBOX, SERVER};
use crate::env::{self, Env};
use crate::{SHARED, in_each_mode, requires};

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
            if [&["--network=pasta"], SHARED].contains(&mode) && done.stdout == "error=TimedOut\n" {
                // That of Debian 12 (2023-03-09) does; that of Debian 13 does not.
                return env::skip("a_refusal_arrives", "this pasta keeps refusals for itself");
            }
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
        // libslirp answers echo requests of IPv4 alone.
        let slirp = mode.contains(&"--network=slirp4netns");
        for to in SERVER.addresses().into_iter().filter(|to| to.is_ipv4() || !slirp) {
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
        let nowhere = env.guest(mode, &["resolve", "nowhere.test"]);
        assert!(nowhere.status == 1 && nowhere.stdout.starts_with("error="), "{mode:?} {nowhere:?}");
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
    let (to, port) = (CLIENT.v4().to_string(), "8071");
    let service = CLIENT.listen(&["tcp", port]);
    in_each_mode(|env, mode| {
        let verb = ["connect", "tcp", &CLIENT.v4().to_string(), "8071", "hello"];
        assert_eq!(Echo::read(&env.guest(mode, &verb).ok().stdout).text, "hello", "{mode:?}");
    });
    drop(service);
    env::eventually("the service has ended", || {
        SERVER.guest(&["connect", "tcp", &to, port, "hello"]) == "error=ConnectionRefused\n"
    });
}
