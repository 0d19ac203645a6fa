//! What a container does not reach.

use crate::env::bed::{RBOX, SERVER};
use crate::env::{self, Env};
use crate::{Open, SHARED, in_each_mode_apart, requires};
use std::net::{IpAddr, SocketAddr};

/// As words for the guest.
fn texts(addresses: Vec<SocketAddr>) -> Vec<String> {
    addresses.iter().map(SocketAddr::to_string).collect()
}

/// Knocks at all the addresses from a container; who answered.
fn knock(env: &Env, mode: &[&str], addresses: &[String]) -> String {
    let verb: Vec<&str> = std::iter::once("knock").chain(addresses.iter().map(String::as_str)).collect();
    env.guest(mode, &verb).ok().stdout
}

#[test]
fn none_reaches_nobody() {
    requires!("none_reaches_nobody", bed);
    let env = Env::new();
    let others = texts(SERVER.addresses().map(|address| (address, 7).into()).to_vec());
    let answers = "tcp 192.0.2.2:7\nudp 192.0.2.2:7\ntcp [2001:db8::2]:7\nudp [2001:db8::2]:7\n";
    assert_eq!(knock(&env, &["--network=host"], &others), answers);
    assert_eq!(knock(&env, &["--network=none"], &others), "");
    let open = Open::new(&["127.0.0.1", "::1", "192.0.2.1", "2001:db8::1"]);
    assert_eq!(knock(&env, &["--network=none"], &texts(open.addresses())), "");
    open.heard_nothing();
    for to in SERVER.addresses() {
        let done = env.guest(&["--network=none"], &["ping", &to.to_string()]);
        assert!(done.status == 1 && done.stdout.starts_with("error="), "{to} {done:?}");
    }
}

/// The routers that the container's routes name.
fn gateways(env: &Env, mode: &[&str]) -> Vec<IpAddr> {
    let text = env.guest(mode, &["gateways"]).ok().stdout;
    text.lines().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn gateways_are_found() {
    requires!("gateways_are_found", bed);
    assert_eq!(gateways(&Env::new(), &["--network=host"]), SERVER.addresses());
}

/// A socket that is bound to an interface asks no routes (SO_BINDTODEVICE, which needs no privilege since Linux 5.7).
#[test]
fn the_hosts_loopback_is_closed_over_an_interface() {
    requires!("the_hosts_loopback_is_closed_over_an_interface", bed);
    in_each_mode_apart(|env, mode| {
        let open = Open::new(&["127.0.0.1", "::1"]);
        let ports: Vec<u16> = open.addresses().iter().map(SocketAddr::port).collect();
        let targets = [
            format!("127.0.0.1:{}", ports[0]),
            format!("127.1.2.3:{}", ports[0]),
            format!("0.0.0.0:{}", ports[0]),
            format!("[::1]:{}", ports[1]),
            format!("[::]:{}", ports[1]),
            format!("[::ffff:127.0.0.1]:{}", ports[0]),
        ];
        let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
        for options in [&[][..], &["--cap-drop=ALL", "--user=1000:1000"]] {
            // The helper's tap, where the container has it.
            let interfaces: &[&str] = if mode == SHARED { &["eth0"] } else { &["eth0", "rbox0"] };
            for interface in interfaces {
                let verb = [&["send-over", interface], targets.as_slice()].concat();
                env.guest(&[mode, options].concat(), &verb).ok();
                open.heard_nothing();
            }
        }
    });
}

#[test]
fn the_hosts_loopback_is_closed() {
    requires!("the_hosts_loopback_is_closed", bed);
    in_each_mode_apart(|env, mode| {
        let gateways = gateways(env, mode);
        assert!(gateways.iter().any(IpAddr::is_ipv4) && gateways.iter().any(IpAddr::is_ipv6), "{gateways:?}");
        // What listens on loopback alone cannot be reached by any address; what listens on all of them is reached by
        // those that other hosts use, as from other hosts, and by no other.
        let loopback = Open::new(&["127.0.0.1", "::1"]);
        let all = Open::new(&["0.0.0.0", "::"]);
        let own =
            ["127.0.0.1", "::1", "10.0.2.3", "169.254.1.1", "169.254.1.2"].map(|address| address.parse().unwrap());
        let inner: Vec<IpAddr> = own.into_iter().chain(gateways).collect();
        let with_hosts: Vec<IpAddr> = inner.iter().copied().chain(RBOX.addresses()).collect();
        for (open, addresses) in [(&loopback, &with_hosts), (&all, &inner)] {
            let targets = open
                .addresses()
                .iter()
                .flat_map(|bound| addresses.iter().map(|address| SocketAddr::new(*address, bound.port())))
                .collect();
            assert_eq!(knock(env, mode, &texts(targets)), "", "{mode:?}");
            open.heard_nothing();
        }
    });
}
