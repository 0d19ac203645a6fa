//! `--network slirp4netns[:OPTIONS]`, with podman's names (podman-run(1)).

use super::{Families, Helper, HostLoopback, Request, mtu, once};
use crate::error::Advise;
use crate::spec::{address, subnet};
use anyhow::{Context, Result, anyhow, bail};

/// slirp4netns(1), `--mtu`.
const MOST: u16 = 65521;

const KNOWN: &str =
    "cidr, mtu, enable_ipv6, allow_host_loopback, outbound_addr, outbound_addr6 and port_handler are known";

/// Reads what follows `slirp4netns:`, `NAME=VALUE` with commas between.
///
/// `port_handler` is accepted and makes no difference: published ports are not the helper's, and the client's address is
/// true in any case.
pub fn parse(text: &str) -> Result<Request> {
    let mut request = Request { helper: Helper::Slirp, ..Request::default() };
    let mut seen = Vec::new();
    for option in text.split(',').filter(|option| !option.is_empty()) {
        let Some((name, value)) = option.split_once('=') else { return Err(unknown(option)) };
        if seen.contains(&name) {
            bail!("{name}: given twice");
        }
        read(&mut request, name, value)?;
        seen.push(name);
    }
    Ok(request)
}

fn read(request: &mut Request, name: &str, value: &str) -> Result<()> {
    match name {
        "cidr" => {
            let range = subnet::v4(value).and_then(|range| {
                if range.prefix > 25 {
                    bail!("prefix length needs to be 1-25");
                }
                Ok(range)
            });
            request.v4.subnet = Some(range.with_context(|| format!("invalid cidr {value}"))?);
        }
        "mtu" => request.mtu = Some(mtu(value, MOST)?),
        "enable_ipv6" => request.families = if boolean(name, value)? { Families::Usual } else { Families::V4 },
        "allow_host_loopback" if boolean(name, value)? => request.host_loopback = HostLoopback::Gateway,
        "allow_host_loopback" => {}
        "outbound_addr" => match value.parse() {
            Ok(address) => request.outbound.v4 = Some(address),
            Err(_) => once(&mut request.outbound.interface4, interface(name, value)?)?,
        },
        "outbound_addr6" => match value.parse() {
            Ok(address) => request.outbound.v6 = Some(address),
            Err(_) => once(&mut request.outbound.interface6, interface(name, value)?)?,
        },
        "port_handler" => match value {
            "rootlesskit" | "slirp4netns" => {}
            _ => bail!("unknown port_handler for slirp4netns: \"{value}\": rootlesskit or slirp4netns is wanted"),
        },
        _ => return Err(unknown(name)),
    }
    Ok(())
}

fn unknown(option: &str) -> anyhow::Error {
    let result: Result<()> = Err(anyhow!("unknown option for slirp4netns: \"{option}\"")).hint(|| KNOWN.to_owned());
    result.err().unwrap_or_else(|| anyhow!("unknown"))
}

fn boolean(name: &str, value: &str) -> Result<bool> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => bail!("invalid value of {name} for slirp4netns: \"{value}\": true or false is wanted"),
    }
}

fn interface(name: &str, value: &str) -> Result<String> {
    address::interface(value).with_context(|| format!("{name}: an address or an interface is wanted"))?;
    Ok(value.to_owned())
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
        let usual = Uplink { helper: Helper::Slirp, ..Uplink::default() };
        for text in ["", ",", "port_handler=slirp4netns", "port_handler=rootlesskit,enable_ipv6=true"] {
            assert_eq!(uplink(text).expect(text), usual, "{text}");
        }
        let other = uplink("cidr=10.7.0.0/16,mtu=1500,enable_ipv6=false,allow_host_loopback=true,outbound_addr=eth0");
        let other = other.expect("valid");
        let v4 = other.v4.expect("IPv4");
        assert_eq!((v4.address, v4.prefix), ([10, 7, 0, 100].into(), 16));
        assert_eq!((v4.gateway, other.resolver), ([10, 7, 0, 2].into(), [10, 7, 0, 3].into()));
        assert_eq!((other.v6, other.mtu, other.host_loopback), (None, 1500, HostLoopback::Gateway));
        assert_eq!(other.outbound.interface4.as_deref(), Some("eth0"));
        let outbound = uplink("outbound_addr=192.0.2.1,outbound_addr6=2001:db8::1").expect("valid").outbound;
        assert_eq!((outbound.v4, outbound.interface4), (Some([192, 0, 2, 1].into()), None));
        assert_eq!(outbound.v6.map(|address| address.to_string()).as_deref(), Some("2001:db8::1"));
    }

    #[test]
    fn what_is_refused() {
        for (text, message) in [
            ("foo=1", "unknown option for slirp4netns: \"foo\""),
            ("cidr", "unknown option for slirp4netns: \"cidr\""),
            ("é=é", "unknown option for slirp4netns: \"é\""),
            ("mtu=1500,mtu=1500", "mtu: given twice"),
            ("mtu=67", "\"67\" is not an MTU from 68 to 65521"),
            ("mtu=65522", "\"65522\" is not an MTU from 68 to 65521"),
            ("mtu=+1500", "\"+1500\" is not an MTU from 68 to 65521"),
            ("mtu=", "\"\" is not an MTU from 68 to 65521"),
            ("mtu=99999999999999999999", "\"99999999999999999999\" is not an MTU from 68 to 65521"),
            ("cidr=x", "invalid cidr x: not of the form ADDRESS/PREFIX"),
            ("cidr=10.0.2.0/26", "invalid cidr 10.0.2.0/26: prefix length needs to be 1-25"),
            ("cidr=10.0.2.5/24", "invalid cidr 10.0.2.5/24: not the lowest address of a range: 10.0.2.0/24 is one"),
            ("cidr=fd00::/64", "invalid cidr fd00::/64: not a range of IPv4 addresses"),
            ("enable_ipv6=yes", "invalid value of enable_ipv6 for slirp4netns: \"yes\": true or false is wanted"),
            ("port_handler=x", "unknown port_handler for slirp4netns: \"x\": rootlesskit or slirp4netns is wanted"),
            (
                "outbound_addr=2001:db8::1",
                "outbound_addr: an address or an interface is wanted: \"2001:db8::1\" is not the name of an interface",
            ),
            ("enable_ipv6=false,outbound_addr6=eth0", "outbound addresses of IPv6 with IPv4 alone"),
            ("mtu=1000,outbound_addr6=eth0", "an MTU below 1280: IPv6 needs that"),
        ] {
            assert_eq!(Failure::from(&uplink(text).expect_err(text)).message, message);
        }
        let failure = Failure::from(&uplink("foo=1").expect_err("unknown"));
        assert_eq!(failure.hints, [KNOWN]);
        assert!(uplink(&"x".repeat(1 << 20)).is_err());
    }
}
