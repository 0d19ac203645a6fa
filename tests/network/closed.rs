//! What a container does not reach.

use crate::env::bed::SERVER;
use crate::env::{self, Env};
use crate::{Open, requires};
use std::net::SocketAddr;

/// As words for the guest.
fn texts(addresses: Vec<SocketAddr>) -> Vec<String> {
    addresses.iter().map(SocketAddr::to_string).collect()
}

/// Knocks at all the addresses from a container; who answered.
fn knock(env: &Env, mode: &str, addresses: &[String]) -> String {
    let verb: Vec<&str> = std::iter::once("knock").chain(addresses.iter().map(String::as_str)).collect();
    env.guest(&[mode], &verb).ok().stdout
}

#[test]
fn none_reaches_nobody() {
    requires!("none_reaches_nobody", bed);
    let env = Env::new();
    let others = texts(SERVER.addresses().map(|address| (address, 7).into()).to_vec());
    let answers = "tcp 192.0.2.2:7\nudp 192.0.2.2:7\ntcp [2001:db8::2]:7\nudp [2001:db8::2]:7\n";
    assert_eq!(knock(&env, "--network=host", &others), answers);
    assert_eq!(knock(&env, "--network=none", &others), "");
    let open = Open::new(&["127.0.0.1", "::1", "192.0.2.1", "2001:db8::1"]);
    assert_eq!(knock(&env, "--network=none", &texts(open.addresses())), "");
    open.heard_nothing();
    for to in SERVER.addresses() {
        let done = env.guest(&["--network=none"], &["ping", &to.to_string()]);
        assert!(done.status == 1 && done.stdout.starts_with("error="), "{to} {done:?}");
    }
}
