use super::*;
use crate::error::Failure;
use crate::spec::subnet;

/// A request of `KEY=VALUE` words.
fn request(words: &[&str]) -> Request {
    let mut request = Request::default();
    for word in words {
        let (key, value) = word.split_once('=').expect("a pair");
        match key {
            "ip" => request.address(value.parse().expect(value)).expect("once"),
            "gateway" => request.gateway(value.parse().expect(value)).expect("once"),
            "subnet" => request.subnet(subnet::parse(value).expect(value)).expect("once"),
            "prefix" => request.v4.prefix = Some(value.parse().expect(value)),
            "resolver" => request.resolver = Some(value.parse().expect(value)),
            "mtu" => request.mtu = Some(value.parse().expect(value)),
            _ => panic!("{key}"),
        }
    }
    request
}

fn uplink(words: &[&str]) -> Result<Uplink> {
    request(words).uplink()
}

/// `ADDRESS/PREFIX GATEWAY RESOLVER`.
fn v4(words: &[&str]) -> String {
    let uplink = uplink(words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
    let v4 = uplink.v4.expect("IPv4");
    format!("{}/{} {} {}", v4.address, v4.prefix, v4.gateway, uplink.resolver)
}

#[test]
fn nothing_asked_for() {
    let usual = uplink(&[]).expect("valid");
    assert_eq!(usual, Uplink::default());
    assert_eq!(v4(&[]), "10.0.2.100/24 10.0.2.2 10.0.2.3");
    let v6 = usual.v6.expect("IPv6");
    assert_eq!(format!("{}/{} {}", v6.address, v6.prefix, v6.gateway), "fd00::100/64 fd00::2");
    assert_eq!(usual.host_gateway(), (Some([10, 0, 2, 2].into()), Some(SLIRP_GATEWAY_V6)));
}

#[test]
fn the_rest_goes_around_what_is_asked_for() {
    for (words, expected) in [
        (&["ip=10.0.2.7"][..], "10.0.2.7/24 10.0.2.2 10.0.2.3"),
        (&["ip=10.0.2.2"], "10.0.2.2/24 10.0.2.1 10.0.2.3"),
        (&["ip=10.0.2.3"], "10.0.2.3/24 10.0.2.2 10.0.2.1"),
        (&["ip=192.168.9.7"], "192.168.9.7/24 192.168.9.2 192.168.9.3"),
        (&["gateway=10.0.2.1"], "10.0.2.100/24 10.0.2.1 10.0.2.3"),
        (&["gateway=10.0.2.3"], "10.0.2.100/24 10.0.2.3 10.0.2.2"),
        (&["gateway=10.0.2.100"], "10.0.2.4/24 10.0.2.100 10.0.2.3"),
        (&["gateway=172.20.0.1"], "172.20.0.100/24 172.20.0.1 172.20.0.3"),
        (&["subnet=10.5.0.0/16"], "10.5.0.100/16 10.5.0.2 10.5.0.3"),
        (&["subnet=10.5.0.0/26"], "10.5.0.4/26 10.5.0.2 10.5.0.3"),
        (&["subnet=10.5.0.0/29"], "10.5.0.4/29 10.5.0.2 10.5.0.3"),
        (&["subnet=10.5.0.0/29", "ip=10.5.0.3", "gateway=10.5.0.2"], "10.5.0.3/29 10.5.0.2 10.5.0.1"),
        (&["subnet=10.5.0.0/24", "gateway=10.5.0.254", "ip=10.5.0.253"], "10.5.0.253/24 10.5.0.254 10.5.0.3"),
        (&["prefix=16"], "10.0.0.100/16 10.0.0.2 10.0.0.3"),
        (&["prefix=16", "ip=10.0.2.9"], "10.0.2.9/16 10.0.0.2 10.0.0.3"),
        (&["resolver=10.0.2.2"], "10.0.2.100/24 10.0.2.1 10.0.2.2"),
        (&["resolver=10.0.2.100"], "10.0.2.4/24 10.0.2.2 10.0.2.100"),
        (&["resolver=169.254.1.1"], "10.0.2.100/24 10.0.2.2 169.254.1.1"),
    ] {
        assert_eq!(v4(words), expected, "{words:?}");
    }
    let v6 = uplink(&["subnet=fd07::/48", "ip=fd07::2"]).expect("valid").v6.expect("IPv6");
    assert_eq!(format!("{}/{} {}", v6.address, v6.prefix, v6.gateway), "fd07::2/48 fd07::1");
    // IPv6 has no broadcasts.
    let last = uplink(&["ip=fd00::ffff:ffff:ffff:ffff"]).expect("valid").v6.expect("IPv6");
    assert_eq!(last.gateway, SLIRP_GATEWAY_V6);
}

#[test]
fn what_does_not_fit() {
    for (words, message) in [
        (&["ip=10.0.2.0"][..], "the address 10.0.2.0 is the subnet's own address"),
        (&["ip=10.0.2.255"], "the address 10.0.2.255 is the subnet's broadcast address"),
        (&["gateway=10.0.2.255"], "the gateway 10.0.2.255 is the subnet's broadcast address"),
        (&["gateway=10.0.3.1", "ip=10.0.2.7"], "the gateway 10.0.3.1 is not in the subnet 10.0.2.0/24"),
        (&["subnet=10.5.0.0/24", "ip=10.6.0.7"], "the address 10.6.0.7 is not in the subnet 10.5.0.0/24"),
        (&["subnet=10.5.0.0/24", "prefix=25"], "the subnet 10.5.0.0/24 has a prefix of 24 bits, not of 25"),
        (&["ip=10.0.2.7", "gateway=10.0.2.7"], "10.0.2.7 is the gateway's address, too"),
        (&["ip=10.0.2.7", "resolver=10.0.2.7"], "10.0.2.7 is the resolver's address, too"),
        (&["gateway=10.0.2.7", "resolver=10.0.2.7"], "10.0.2.7 is the resolver's address, too"),
        (&["ip=fd00::"], "the address fd00:: is the subnet's own address"),
        (&["ip=fd00::2", "gateway=fd00::2"], "fd00::2 is the gateway's address, too"),
        (&["prefix=30"], "/30: a container's network has a prefix of 1 to 29 bits"),
        (&["prefix=0"], "/0: a container's network has a prefix of 1 to 29 bits"),
        (&["prefix=255"], "/255: a container's network has a prefix of 1 to 29 bits"),
        (&["ip=fd00::7", "mtu=1279"], "an MTU below 1280: IPv6 needs that"),
    ] {
        assert_eq!(uplink(words).expect_err(message).to_string(), message);
    }
    assert!(request(&["ip=10.0.2.7"]).address(Ipv4Addr::new(10, 0, 2, 7).into()).is_err());
}

#[test]
fn small_packets_are_of_ipv4_alone() {
    let small = uplink(&["mtu=1279"]).expect("valid");
    assert_eq!((small.v6, small.mtu), (None, 1279));
    assert!(uplink(&["mtu=1280"]).expect("valid").v6.is_some());
}

#[test]
fn beyond_slirp() {
    let beyond = |words: &[&str]| uplink(words).expect("valid").beyond_slirp();
    for words in [&[][..], &["ip=10.0.2.7"], &["subnet=10.5.0.0/25"], &["ip=fd00::7"], &["mtu=1279"]] {
        assert_eq!(beyond(words), None, "{words:?}");
    }
    for words in [&["gateway=10.0.2.1"][..], &["subnet=10.5.0.0/26"], &["ip=fd01::7"], &["gateway=fd00::1"]] {
        let what = beyond(words).expect("too much");
        let failure = Failure::from(&Request { helper: Helper::Slirp, ..request(words) }.uplink().expect_err("slirp"));
        assert_eq!(failure.message, format!("slirp4netns cannot have {what}"));
        assert_eq!(failure.hints, ["--network pasta can"]);
    }
    let at = HostLoopback::At { v4: Some([10, 0, 2, 9].into()), v6: None };
    assert!(Uplink { host_loopback: at, ..Uplink::default() }.beyond_slirp().is_some());
    let at = HostLoopback::At { v4: Some([10, 0, 2, 2].into()), v6: None };
    assert!(Uplink { host_loopback: at, ..Uplink::default() }.beyond_slirp().is_none());
    assert!(Uplink { v4: None, ..Uplink::default() }.beyond_slirp().is_some());
}
