//! `--network pasta[:OPTIONS]`: pasta's own options with commas for spaces, as podman takes them (passt(1), podman-run(1)).
//!
//! They are read, not handed through: what they ask for is the container's network whoever carries the packets.

use super::{Families, Helper, HostLoopback, Request, mtu, once};
use crate::error::Advise;
use crate::spec::address::{self, Mac};
use crate::spec::{port, subnet};
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::net::{IpAddr, Ipv4Addr};

/// What pasta of 2025 and later takes.
const MOST: u16 = 65520;

/// Options with a value: short, long.
const VALUES: [(&str, &str); 16] = [
    ("-a", "--address"),
    ("-n", "--netmask"),
    ("-g", "--gateway"),
    ("-m", "--mtu"),
    ("-M", "--mac-addr"),
    ("-i", "--interface"),
    ("-o", "--outbound"),
    ("-I", "--ns-ifname"),
    ("-t", "--tcp-ports"),
    ("-u", "--udp-ports"),
    ("-T", "--tcp-ns"),
    ("-U", "--udp-ns"),
    ("", "--ns-mac-addr"),
    ("", "--outbound-if4"),
    ("", "--outbound-if6"),
    ("", "--dns-forward"),
];
const MAP_HOST: &str = "--map-host-loopback";
const MAP_GUEST: &str = "--map-guest-addr";

/// Those without: short, long.
const FLAGS: [(&str, &str); 12] = [
    ("-4", "--ipv4-only"),
    ("-6", "--ipv6-only"),
    ("", "--map-gw"),
    ("", "--no-map-gw"),
    ("", "--config-net"),
    ("", "--no-dhcp"),
    ("", "--no-dhcpv6"),
    ("", "--no-ra"),
    ("", "--no-ndp"),
    ("", "--no-dhcp-dns"),
    ("", "--no-dhcp-search"),
    ("-q", "--quiet"),
];

/// Reads what follows `pasta:`.
///
/// The interface is configured before there is a helper, by rbox: `--config-net` is so in any case, and nobody asks by
/// DHCP. Published ports are not the helper's.
pub fn parse(text: &str) -> Result<Request> {
    let mut reading =
        Reading { request: Request { helper: Helper::Pasta, ..Request::default() }, ..Reading::default() };
    let mut words = text.split(',').filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        let (name, attached) = option(word)?;
        let takes_value = !FLAGS.iter().any(|(_, long)| *long == name);
        match (takes_value, attached) {
            (false, None) => reading.flag(name)?,
            (false, Some(_)) => bail!("{name}: takes no value"),
            (true, value) => {
                let value = value.or_else(|| words.next()).with_context(|| format!("{name}: no value"))?;
                reading.value(name, value).with_context(|| format!("{name} {value}"))?;
            }
        }
    }
    reading.request()
}

/// The long name of an option, and the value that is in the same word: `-a1.2.3.4`, `--address=1.2.3.4`.
fn option(word: &str) -> Result<(&'static str, Option<&str>)> {
    let known = || VALUES.iter().chain(&FLAGS).copied().chain([("", MAP_HOST), ("", MAP_GUEST)]);
    if word.starts_with("--") {
        let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        if let Some((_, long)) = known().find(|(_, long)| *long == name) {
            return Ok((long, value));
        }
    } else if let Some((short, long)) = known().find(|(short, _)| !short.is_empty() && word.starts_with(short)) {
        return Ok((long, word.strip_prefix(short).filter(|rest| !rest.is_empty())));
    }
    let instead = match word.split('=').next().unwrap_or(word) {
        "-D" | "--dns" => Some("--dns"),
        "-S" | "--search" => Some("--dns-search"),
        _ => None,
    };
    Err(anyhow!("unknown option for pasta: \"{word}\"")).hint(|| match instead {
        Some(option) => format!("{option} is an option of its own"),
        None => {
            let names: Vec<&str> = known().map(|(_, long)| long).collect();
            format!("{} are known", names.join(", "))
        }
    })
}

/// What was read so far.
#[derive(Default)]
struct Reading {
    request: Request,
    netmask: Option<u8>,
    map_gateway: Option<bool>,
    at: (Option<Ipv4Addr>, Option<std::net::Ipv6Addr>),
    no_ndp: bool,
}

impl Reading {
    fn flag(&mut self, name: &str) -> Result<()> {
        match name {
            "--ipv4-only" => self.only(Families::V4)?,
            "--ipv6-only" => self.only(Families::V6)?,
            "--map-gw" | "--no-map-gw" => {
                let on = name == "--map-gw";
                ensure!(
                    self.map_gateway.is_none_or(|before| before == on),
                    "--map-gw and --no-map-gw exclude each other"
                );
                self.map_gateway = Some(on);
            }
            "--no-ndp" => self.no_ndp = true,
            // So it is in any case.
            _ => {}
        }
        Ok(())
    }

    fn only(&mut self, families: Families) -> Result<()> {
        let is_other = self.request.families != Families::Usual && self.request.families != families;
        ensure!(!is_other, "--ipv4-only and --ipv6-only exclude each other");
        self.request.families = families;
        Ok(())
    }

    fn value(&mut self, name: &str, value: &str) -> Result<()> {
        let request = &mut self.request;
        match name {
            "--address" => {
                let (text, prefix) = value.split_once('/').map_or((value, None), |(text, bits)| (text, Some(bits)));
                let address = address::host(text)?;
                request.address(address)?;
                if let Some(bits) = prefix {
                    let bits = subnet::bits(bits)?;
                    match address {
                        IpAddr::V4(_) => once(&mut self.netmask, bits)?,
                        IpAddr::V6(_) => once(&mut request.v6.prefix, bits)?,
                    }
                }
            }
            "--netmask" => once(&mut self.netmask, netmask(value)?)?,
            "--gateway" => request.gateway(address::host(value)?)?,
            "--mtu" => once(&mut request.mtu, mtu(value, MOST)?)?,
            "--mac-addr" => once(&mut request.gateway_mac, value.parse::<Mac>()?)?,
            "--ns-mac-addr" => once(&mut request.mac, value.parse::<Mac>()?)?,
            "--interface" => once(&mut request.outbound.routes_of, interface(value)?)?,
            "--outbound-if4" => once(&mut request.outbound.interface4, interface(value)?)?,
            "--outbound-if6" => once(&mut request.outbound.interface6, interface(value)?)?,
            "--outbound" => match address::ip(value)? {
                IpAddr::V4(address) => once(&mut request.outbound.v4, address)?,
                IpAddr::V6(address) => once(&mut request.outbound.v6, address)?,
            },
            "--ns-ifname" => ensure!(value == "eth0", "the interface in the container is eth0"),
            "--dns-forward" => match address::host(value)? {
                IpAddr::V4(address) => once(&mut request.resolver, address)?,
                IpAddr::V6(_) => bail!("names are asked for at an IPv4 address"),
            },
            // pasta's word for "no such address".
            MAP_HOST | MAP_GUEST if value == "none" => {}
            MAP_HOST => match address::host(value)? {
                IpAddr::V4(address) => once(&mut self.at.0, address)?,
                IpAddr::V6(address) => once(&mut self.at.1, address)?,
            },
            MAP_GUEST => {
                return Err(anyhow!(
                    "the container's address is not the host's, and what is the host's is reached as it is"
                ))
                .hint(|| format!("{MAP_HOST},ADDRESS reaches the host's loopback interface"));
            }
            "--tcp-ns" | "--udp-ns" if value != "none" => {
                return Err(anyhow!("the container's loopback interface does not lead to the host"))
                    .hint(|| format!("{MAP_HOST},ADDRESS reaches the host's loopback interface"));
            }
            "--tcp-ports" | "--udp-ports" if value != "none" => {
                return Err(anyhow!("published ports are not the helper's")).hint(|| published(name, value));
            }
            _ => {}
        }
        Ok(())
    }

    fn request(mut self) -> Result<Request> {
        let request = &mut self.request;
        ensure!(!self.no_ndp || request.families == Families::V4, "--no-ndp: IPv6 needs it: only with --ipv4-only");
        request.v4.prefix = self.netmask;
        let is_at = self.at != (None, None);
        ensure!(!is_at || self.map_gateway != Some(true), "--map-gw and {MAP_HOST} exclude each other");
        if is_at {
            request.host_loopback = HostLoopback::At { v4: self.at.0, v6: self.at.1 };
        } else if self.map_gateway == Some(true) {
            request.host_loopback = HostLoopback::Gateway;
        }
        Ok(self.request)
    }
}

fn interface(text: &str) -> Result<String> {
    address::interface(text)?;
    Ok(text.to_owned())
}

/// A number of bits, or 255.255.255.0.
fn netmask(text: &str) -> Result<u8> {
    if !text.contains('.') {
        return subnet::bits(text);
    }
    let mask: Ipv4Addr = text.parse().ok().with_context(|| format!("\"{text}\" is not a netmask"))?;
    let mask = u32::from(mask);
    let ones = mask.leading_ones();
    ensure!(mask.count_ones() == ones, "not a netmask: its ones are not all at the beginning");
    Ok(u8::try_from(ones)?)
}

/// `-p` for `[ADDRESS/]PORT[:PORT]` (passt(1), `-t`), if that is what was asked for.
fn published(name: &str, spec: &str) -> String {
    let (address, ports) = spec.split_once('/').map_or((None, spec), |(address, ports)| (Some(address), ports));
    let (host, container) = ports.split_once(':').unwrap_or((ports, ports));
    let address = match address {
        Some(address) if address.contains(':') => format!("[{address}]:"),
        Some(address) => format!("{address}:"),
        None => String::new(),
    };
    let protocol = if name == "--udp-ports" { "/udp" } else { "" };
    let publish = format!("{address}{host}:{container}{protocol}");
    match port::publish(&[publish.as_str()]) {
        Ok(_) => format!("-p {publish} publishes them"),
        Err(_) => "-p HOST:CONTAINER publishes a port".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Uplink;
    use super::*;
    use crate::error::Failure;

    fn uplink(text: &str) -> Result<Uplink> {
        parse(text)?.uplink()
    }

    #[test]
    fn options() {
        let usual = Uplink { helper: Helper::Pasta, ..Uplink::default() };
        for text in [
            "",
            "-q,--config-net,--no-dhcp,--no-dhcpv6,--no-ra,--no-map-gw",
            "-t,none,-u,none,-T,none,-Unone,--map-guest-addr,none,--map-host-loopback=none,-I,eth0",
        ] {
            assert_eq!(uplink(text).expect(text), usual, "{text}");
        }
        // The example of podman-run(1), with an address for the container.
        let slirp = "--ipv4-only,-a,10.0.2.100,-n,24,-g,10.0.2.2,--dns-forward,10.0.2.3,-m,1500,--no-ndp,--no-dhcp";
        let slirp = uplink(slirp).expect("valid");
        assert_eq!(slirp, Uplink { v6: None, mtu: 1500, ..usual.clone() });
        let other =
            uplink("-a192.168.7.9,--netmask=255.255.0.0,--address,fd07::9/48,-g,fd07::1,--dns-forward,192.0.2.53");
        let other = other.expect("valid");
        let (v4, v6) = (other.v4.expect("IPv4"), other.v6.expect("IPv6"));
        assert_eq!((v4.address, v4.prefix, v4.gateway), ([192, 168, 7, 9].into(), 16, [192, 168, 0, 2].into()));
        assert_eq!(
            (v6.address.to_string().as_str(), v6.prefix, v6.gateway.to_string().as_str()),
            ("fd07::9", 48, "fd07::1")
        );
        assert_eq!(other.resolver, Ipv4Addr::new(192, 0, 2, 53));
        let alone = uplink("-6,--ns-mac-addr,02:00:00:00:00:01,-M,02:00:00:00:00:02").expect("valid");
        assert_eq!((alone.v4, alone.v6, alone.resolver), (None, usual.v6, usual.resolver));
        assert_eq!(alone.mac.map(|mac| mac.to_string()).as_deref(), Some("02:00:00:00:00:01"));
        assert_eq!(alone.gateway_mac.map(|mac| mac.to_string()).as_deref(), Some("02:00:00:00:00:02"));
        let out = uplink("-i,eth1,-o,192.0.2.1,-o,2001:db8::1,--outbound-if4,eth2,--outbound-if6=eth3").expect("valid");
        let out = out.outbound;
        assert_eq!((out.routes_of.as_deref(), out.v4), (Some("eth1"), Some([192, 0, 2, 1].into())));
        assert_eq!((out.interface4.as_deref(), out.interface6.as_deref()), (Some("eth2"), Some("eth3")));
    }

    #[test]
    fn loopback_of_the_host() {
        let loopback = |text: &str| uplink(text).map(|uplink| uplink.host_loopback);
        assert_eq!(loopback("--map-gw").expect("open"), HostLoopback::Gateway);
        let v4 = Some(Ipv4Addr::new(169, 254, 1, 2));
        assert_eq!(loopback("--map-host-loopback,169.254.1.2").expect("open"), HostLoopback::At { v4, v6: None });
        let both = loopback("--map-host-loopback,169.254.1.2,--map-host-loopback,fd00::7").expect("open");
        assert_eq!(both, HostLoopback::At { v4, v6: Some("fd00::7".parse().expect("v6")) });
        for text in ["--map-host-loopback,10.0.2.100", "--map-host-loopback,10.0.2.3", "--map-host-loopback,fd00::100"]
        {
            let message = loopback(text).expect_err(text).to_string();
            assert!(
                message.ends_with("is the container's own address: the host's loopback needs another one"),
                "{message}"
            );
        }
    }

    #[test]
    fn what_is_refused() {
        for (text, message) in [
            ("x", "unknown option for pasta: \"x\""),
            ("-", "unknown option for pasta: \"-\""),
            ("é", "unknown option for pasta: \"é\""),
            ("--addr,1.2.3.4", "unknown option for pasta: \"--addr\""),
            ("--netns,/x", "unknown option for pasta: \"--netns\""),
            ("-D,1.1.1.1", "unknown option for pasta: \"-D\""),
            ("-a", "--address: no value"),
            ("-a,", "--address: no value"),
            ("-a,x", "--address x: \"x\" is not an ip address"),
            ("-a,127.0.0.1", "--address 127.0.0.1: 127.0.0.1: not the address of one machine"),
            ("-a,10.0.2.0", "the address 10.0.2.0 is the subnet's own address"),
            ("-a,10.0.2.5,-a,10.0.2.6", "--address 10.0.2.6: given twice"),
            ("-a,10.0.2.5/24,-n,24", "--netmask 24: given twice"),
            ("-n,255.0.255.0", "--netmask 255.0.255.0: not a netmask: its ones are not all at the beginning"),
            ("-n,31", "/31: a container's network has a prefix of 1 to 29 bits"),
            ("-n,999", "--netmask 999: \"999\" is not a number of bits"),
            ("-m,0", "--mtu 0: \"0\" is not an MTU from 68 to 65520"),
            ("-M,x", "--mac-addr x: address x: invalid MAC address"),
            ("-i,a/b", "--interface a/b: \"a/b\" is not the name of an interface"),
            ("-4,-6", "--ipv4-only and --ipv6-only exclude each other"),
            ("-4x", "--ipv4-only: takes no value"),
            ("-4,-a,fd00::5", "IPv6 addresses with IPv4 alone"),
            ("-6,-g,10.0.2.5", "IPv4 addresses with IPv6 alone"),
            ("-6,-m,1000", "an MTU below 1280: IPv6 needs that"),
            ("--no-ndp", "--no-ndp: IPv6 needs it: only with --ipv4-only"),
            ("--map-gw,--no-map-gw", "--map-gw and --no-map-gw exclude each other"),
            ("--map-gw,--map-host-loopback,1.2.3.4", "--map-gw and --map-host-loopback exclude each other"),
            ("-4,--map-host-loopback,fd00::7", "the host's loopback by IPv6 with IPv4 alone"),
            ("-6,--map-host-loopback,10.0.2.7", "the host's loopback by IPv4 with IPv6 alone"),
            ("-I,tap0", "--ns-ifname tap0: the interface in the container is eth0"),
            ("--dns-forward,fd00::3", "--dns-forward fd00::3: names are asked for at an IPv4 address"),
            ("-T,5201", "--tcp-ns 5201: the container's loopback interface does not lead to the host"),
        ] {
            assert_eq!(Failure::from(&uplink(text).expect_err(text)).message, message);
        }
        assert!(uplink(&"-a,".repeat(100_000)).is_err());
        assert!(uplink(&"-".repeat(1 << 20)).is_err());
    }

    #[test]
    fn ports_are_published_with_another_option() {
        for (text, hint) in [
            ("-t,8080:80", "-p 8080:80 publishes them"),
            ("-u,53", "-p 53:53/udp publishes them"),
            ("-t,192.0.2.1/22-80:32-90", "-p 192.0.2.1:22-80:32-90 publishes them"),
            ("-t,::1/22", "-p [::1]:22:22 publishes them"),
            ("--tcp-ports=auto", "-p HOST:CONTAINER publishes a port"),
            ("-t,~25", "-p HOST:CONTAINER publishes a port"),
            ("-u,99999", "-p HOST:CONTAINER publishes a port"),
        ] {
            let failure = Failure::from(&uplink(text).expect_err(text));
            assert!(failure.message.ends_with("published ports are not the helper's"), "{}", failure.message);
            assert_eq!(failure.hints, [hint], "{text}");
        }
        let hints = Failure::from(&uplink("-D,1.1.1.1").expect_err("dns")).hints;
        assert_eq!(hints, ["--dns is an option of its own"]);
    }
}
