use super::*;
use crate::error::Failure;
use crate::spec::subnet;
use crate::spec::uplink::{Helper, HostLoopback};

fn read(texts: &[&str], own: Own) -> Result<Network> {
    parse(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), own)
}

fn message(texts: &[&str], own: Own) -> String {
    Failure::from(&read(texts, own).expect_err("refused")).message
}

fn own(change: impl Fn(&mut Own)) -> Own {
    let mut own = Own::default();
    change(&mut own);
    own
}

fn with_ip(ip: [u8; 4]) -> Own {
    own(|own| own.ip = Some(ip.into()))
}

#[test]
fn modes() {
    for (text, network, namespace) in [
        ("none", Network::None, Namespace::Private),
        ("host", Network::Host, Namespace::Host),
        ("container:ada", Network::Container("ada".into()), Namespace::Container("ada".into())),
        ("ns:/proc/1/ns/net", Network::Path("/proc/1/ns/net".into()), Namespace::Path("/proc/1/ns/net".into())),
    ] {
        assert_eq!(read(&[text], Own::default()).expect(text), network);
        assert_eq!(network.namespace(), namespace);
    }
    assert_eq!(read(&[], Own::default()).expect("nothing"), Network::Default);
    for text in ["", "bridge", "default", "private", "bridge:", "name=bridge"] {
        let Network::Uplink(uplink) = read(&[text], Own::default()).expect(text) else { panic!("{text}") };
        assert_eq!(*uplink, Uplink::default());
    }
    for (text, helper) in [("pasta", Helper::Pasta), ("slirp4netns:", Helper::Slirp)] {
        let Network::Uplink(uplink) = read(&[text], Own::default()).expect(text) else { panic!("{text}") };
        assert_eq!(*uplink, Uplink { helper, ..Uplink::default() });
    }
}

#[test]
fn what_is_said_beside() {
    let all = own(|own| {
        own.ip = Some([10, 9, 0, 7].into());
        own.ip6 = "fd09::7".parse().ok();
        own.mac = "02:00:00:00:00:01".parse().ok();
        own.subnets = vec![subnet::parse("10.9.0.0/16").expect("v4"), subnet::parse("fd09::/64").expect("v6")];
        own.gateways = vec![[10, 9, 0, 1].into()];
    });
    for texts in [&[][..], &["private"], &["pasta:--map-gw"]] {
        let Network::Uplink(uplink) = read(texts, all.clone()).expect("valid") else { panic!("{texts:?}") };
        let (v4, v6) = (uplink.v4.expect("IPv4"), uplink.v6.expect("IPv6"));
        assert_eq!((v4.address, v4.prefix, v4.gateway), ([10, 9, 0, 7].into(), 16, [10, 9, 0, 1].into()));
        assert_eq!((v6.address.to_string().as_str(), v6.gateway.to_string().as_str()), ("fd09::7", "fd09::2"));
        assert_eq!(uplink.mac, all.mac);
        assert_eq!(uplink.host_loopback == HostLoopback::Gateway, !texts.is_empty() && texts[0] != "private");
    }
    let Network::Uplink(uplink) = read(&["bridge:ip=10.0.2.9,mac=02:00:00:00:00:01"], Own::default()).expect("valid")
    else {
        panic!("an uplink")
    };
    assert_eq!((uplink.v4.expect("IPv4").address, uplink.mac.is_some()), ([10, 0, 2, 9].into(), true));
    for (texts, expected) in [
        (&["pasta:-a,10.0.2.7"][..], "--ip: given twice"),
        (
            &["slirp4netns:cidr=10.7.0.0/24"],
            "the container's network: the address 10.9.0.7 is not in the subnet 10.7.0.0/24",
        ),
        (&["none"], "conflicting options: --ip and the network mode none"),
        (&["host"], "conflicting options: --ip and the network mode host"),
        (&["container:web"], "conflicting options: --ip and the network mode container"),
        (&["a", "b"], "--ip can only be set for a single network"),
        (&["a:ip=10.9.0.8"], "--ip: given twice"),
    ] {
        assert_eq!(message(texts, with_ip([10, 9, 0, 7])), expected);
    }
    let mac = || own(|own| own.mac = "02:00:00:00:00:01".parse().ok());
    assert_eq!(message(&["host"], mac()), "conflicting options: mac-address and the network mode");
    let alias = || own(|own| own.aliases = vec!["db".to_owned()]);
    for texts in [&[][..], &["none"], &["pasta"], &["bridge"]] {
        assert_eq!(message(texts, alias()), format!("--network-alias: {NO_ALIASES}"));
    }
    let twice = own(|own| own.gateways = vec![[10, 0, 2, 1].into(), [10, 0, 2, 2].into()]);
    assert_eq!(message(&[], twice), "--gateway: given twice");
    let gateway = own(|own| own.gateways = vec![[10, 0, 2, 1].into()]);
    assert!(message(&["web"], gateway).starts_with("--gateway: the networks have it already"));
}

#[test]
fn networks_by_name() {
    let named = |name: &str| Membership { network: name.to_owned(), ..Membership::default() };
    let shared = |texts: &[&str]| match read(texts, Own::default()).expect("valid") {
        Network::Shared(memberships) => memberships,
        other => panic!("{other:?}"),
    };
    assert_eq!(shared(&["web"]), [named("web")]);
    assert_eq!(shared(&["web,db", "log"]), [named("web"), named("db"), named("log")]);
    let full = Membership {
        network: "web".to_owned(),
        ipv4: Some([10, 89, 0, 5].into()),
        ipv6: "fd01::5".parse().ok(),
        mac: "44:33:22:11:00:99".parse().ok(),
        aliases: vec!["a".to_owned(), "b.c".to_owned()],
        interface: Some("front0".to_owned()),
    };
    let text = "web:ip=10.89.0.5,ip6=fd01::5,mac=44:33:22:11:00:99,alias=a,alias=b.c,interface_name=front0";
    assert_eq!(shared(&[text, "db:"]), [full.clone(), named("db")]);
    let text = "name=web,ip=10.89.0.5,ip6=fd01::5,mac-address=44:33:22:11:00:99,alias=a,\"alias=b.c\"";
    assert_eq!(shared(&[text]), [Membership { interface: None, ..full }]);
    // Aliases are for all of them, an address for the only one.
    let aliases = own(|own| own.aliases = vec!["x".to_owned()]);
    let Network::Shared(all) = read(&["web", "db:alias=y"], aliases).expect("valid") else { panic!("shared") };
    assert_eq!(all.iter().map(|one| one.aliases.join(",")).collect::<Vec<_>>(), ["x", "y,x"]);
    let Network::Shared(all) = read(&["web"], with_ip([10, 89, 0, 7])).expect("valid") else { panic!("shared") };
    assert_eq!(all[0].ipv4, Some([10, 89, 0, 7].into()));
}

#[test]
fn what_is_refused() {
    for (texts, expected) in [
        (&["none:x"][..], "--network none:x: none: takes no options"),
        (&["container"], "--network container: container: not of the form container:NAME"),
        (&["container:"], "--network container:: container: not of the form container:NAME"),
        (&["ns:x"], "--network ns:x: x: the path of a namespace must be absolute"),
        (&[":ip=1.2.3.4"], "--network :ip=1.2.3.4: network name cannot be empty"),
        (&["a,"], "--network a,: network name cannot be empty"),
        (&["a,host"], "--network a,host: can only set extra network names, selected mode host conflicts with bridge"),
        (&["a", "host"], "--network: can only set extra network names, selected mode host conflicts with bridge"),
        (&["a", "pasta:-4"], "--network: can only set extra network names, selected mode pasta conflicts with bridge"),
        (&["none", "a"], "--network: cannot set multiple networks without bridge network mode, selected mode none"),
        (&["pasta", "a"], "--network pasta: excludes other networks: it is one of the container's own"),
        (&["a", "b", "a"], "--network a: network \"a\" is specified multiple times"),
        (
            &["a:ip=x"],
            "--network a:ip=x: invalid option for network a: invalid ip address \"x\": \"x\" is not an ip address",
        ),
        (&["a:foo=1"], "--network a:foo=1: invalid option for network a: unknown bridge network option: foo"),
        (&["a:alias="], "--network a:alias=: invalid option for network a: alias cannot be empty"),
        (&["a:mac=x"], "--network a:mac=x: invalid option for network a: address x: invalid MAC address"),
        (
            &["a:ip=10.0.0.5,ip=10.0.0.6"],
            "--network a:ip=10.0.0.5,ip=10.0.0.6: invalid option for network a: ip: given twice",
        ),
        (&["a:interface_name=eth0", "b:interface_name=eth0"], "interface_name=eth0: given to two networks"),
        (&["bridge:alias=x"], &format!("--network bridge:alias=x: {NO_ALIASES}")),
        (&["name=a,foo=1"], "--network name=a,foo=1: invalid field key foo"),
        (&["alias=a"], "--network alias=a: network name cannot be empty"),
        (&["pasta:x"], "--network pasta:x: unknown option for pasta: \"x\""),
    ] {
        assert_eq!(message(texts, Own::default()), expected);
    }
    for text in ["a/b", "../x", "é", "a b", "-a", "a\n", "name=é", "pod", &"a".repeat(1 << 20), &"a,".repeat(1 << 16)]
    {
        assert!(read(&[text], Own::default()).is_err(), "{text}");
    }
}
