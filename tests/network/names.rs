//! What a container calls others, and itself: /etc/hosts, /etc/hostname, /etc/resolv.conf.

use crate::env::bed::{CLIENT, Echo, SERVER};
use crate::env::{self, Env};
use crate::{Open, in_each_mode_of_its_own, requires};
use std::net::IpAddr;

const RESOLV_CONF: &str = "/etc/resolv.conf";

fn read(env: &Env, options: &[&str], path: &str) -> String {
    env.guest(options, &["read", path]).ok().stdout
}

#[test]
fn a_container_knows_itself() {
    let env = Env::new();
    for mode in ["--network=none", "--network=private"] {
        if mode != "--network=none" && !env::bed::is_here() {
            continue;
        }
        let hosts = read(&env, &[mode, "--hostname", "box"], "/etc/hosts");
        assert!(hosts.starts_with("127.0.0.1\tlocalhost\n::1\tlocalhost "), "{hosts}");
        assert_eq!(hosts.contains("\n10.0.2.100\tbox\n"), mode != "--network=none", "{hosts}");
        assert!(!hosts.contains("internal"), "{hosts}");
        assert_eq!(read(&env, &[mode, "--hostname", "box"], "/etc/hostname"), "box\n");
    }
    // The host's own.
    let host = std::fs::read_to_string("/etc/hosts").unwrap();
    assert_eq!(read(&env, &["--network=host"], "/etc/hosts").trim_end(), host.trim_end());
}

#[test]
fn files_that_are_not_wanted_stay_the_images() {
    let env = Env::new();
    for (name, option) in [("hosts", "--no-hosts"), ("hostname", "--no-hostname")] {
        let path = format!("/etc/{name}");
        std::fs::write(env.rootfs().join(&path[1..]), "own\n").unwrap();
        assert_eq!(read(&env, &["--network=none", option], &path), "own\n");
        assert_ne!(read(&env, &["--network=none"], &path), "own\n");
    }
    std::fs::write(env.rootfs().join("etc/resolv.conf"), "own\n").unwrap();
    assert_eq!(read(&env, &["--network=host", "--dns=none"], RESOLV_CONF), "own\n");
    // The user's own mounts come before ours.
    std::fs::write(env.path("mine"), "mine\n").unwrap();
    let volume = format!("{}:/etc/hosts", env.path("mine").display());
    assert_eq!(read(&env, &["--network=none", "-v", &volume], "/etc/hosts"), "mine\n");
}

#[test]
fn hosts_that_are_added() {
    let env = Env::new();
    let options = ["--network=none", "--add-host=web;db:192.0.2.7", "--add-host=six=[2001:db8::7]"];
    let hosts = read(&env, &options, "/etc/hosts");
    assert!(hosts.contains("\n192.0.2.7\tweb db\n") && hosts.contains("\n2001:db8::7\tsix\n"), "{hosts}");
    let done = env.guest(&["--network=none", "--add-host=web;db:192.0.2.7"], &["resolve", "db"]).ok();
    assert_eq!(done.stdout, "192.0.2.7\n");
}

#[test]
fn resolvers_that_are_given() {
    requires!("resolvers_that_are_given", bed);
    in_each_mode_of_its_own(|env, mode| {
        let with = |options: &[&'static str]| [mode, options].concat();
        assert_eq!(read(env, mode, RESOLV_CONF), "nameserver 10.0.2.3\n");
        let options = with(&["--dns=192.0.2.3", "--dns-search=test", "--dns-option=ndots:2"]);
        assert_eq!(read(env, &options, RESOLV_CONF), "search test\nnameserver 192.0.2.3\noptions ndots:2\n");
        assert_eq!(env.guest(&options, &["resolve", "here"]).ok().stdout, "192.0.2.3\n");
        // Over IPv6, too.
        let options = with(&["--dns=2001:db8::3"]);
        assert_eq!(env.guest(&options, &["resolve", "here.test"]).ok().stdout, "2001:db8::3\n");
    });
}

/// The test network's resolv.conf may be written by everybody. Both hosts that it names here know the same names.
#[test]
fn a_change_of_the_hosts_resolver_reaches_containers() {
    requires!("a_change_of_the_hosts_resolver_reaches_containers", bed);
    let before = std::fs::read_to_string(RESOLV_CONF).unwrap();
    in_each_mode_of_its_own(|env, mode| {
        let mut asked = Vec::new();
        let _held = env.listen(&[mode, &["--name=held"]].concat(), &["tcp", "80"]);
        for host in [SERVER, CLIENT, SERVER] {
            std::fs::write(RESOLV_CONF, format!("nameserver {}\n", host.v4())).unwrap();
            let done = env.guest(&["--network=container:held"], &["resolve", "here.test"]).ok();
            asked.push(done.stdout.trim_end().parse::<IpAddr>().unwrap());
        }
        assert_eq!(asked, [SERVER.v4(), CLIENT.v4(), SERVER.v4()], "{mode:?}");
    });
    std::fs::write(RESOLV_CONF, before).unwrap();
}

#[test]
fn the_host_where_it_was_opened() {
    requires!("the_host_where_it_was_opened", bed);
    let env = Env::new();
    for mode in ["--network=pasta:--map-gw", "--network=slirp4netns:allow_host_loopback=true"] {
        let open = Open::new(&["127.0.0.1"]);
        let port = open.addresses()[0].port();
        let hosts = read(&env, &[mode], "/etc/hosts");
        assert!(hosts.contains("\n10.0.2.2\thost.containers.internal host.docker.internal\n"), "{hosts}");
        let gateway = format!("10.0.2.2:{port}");
        env.guest(&[mode], &["knock", &gateway]).ok();
        assert!(open.heard_something(), "{mode}");
        let hosts = read(&env, &[mode, "--add-host=me:host-gateway"], "/etc/hosts");
        assert!(hosts.contains("\n10.0.2.2\tme\n"), "{hosts}");
    }
}

#[test]
fn addresses_that_are_given() {
    requires!("addresses_that_are_given", bed);
    in_each_mode_of_its_own(|env, mode| {
        let options = [mode, &["--subnet=10.7.0.0/16", "--ip=10.7.8.9", "--mac-address=02:00:00:00:00:07"]].concat();
        assert_eq!(read(env, &options, "/sys/class/net/eth0/address"), "02:00:00:00:00:07\n");
        assert!(read(env, &options, "/etc/hosts").contains("\n10.7.8.9\t"), "{mode:?}");
        let echo = env.guest(&options, &["connect", "tcp", "192.0.2.2", "7", "hello"]).ok().stdout;
        assert_eq!(Echo::read(&echo).text, "hello", "{mode:?}");
        assert_eq!(env.guest(&options, &["resolve", "v4.test"]).ok().stdout, "192.0.2.2\n", "{mode:?}");
    });
}
