//! A network that somebody wants: `network create`, checked.

use super::pools;
use crate::error::Advise;
use crate::net::shared::definition::{Lease, Pool};
use crate::net::shared::subnet::Subnet;
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What was asked for.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// Subnets; for a family without one, one is chosen.
    pub pools: Vec<Pool>,
    /// It has IPv6 also if no subnet of it was named.
    pub ipv6: bool,
    /// No way out of it.
    pub internal: bool,
    /// Names of containers are not answered.
    pub no_dns: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Options of the driver, of [`options`].
    pub options: BTreeMap<String, String>,
}

/// Words of `--network` that are no network of this kind.
const MODES: [&str; 10] =
    ["none", "host", "bridge", "default", "pasta", "slirp4netns", "private", "container", "ns", "pod"];
/// Checks the name of a new network (docker and podman: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`).
pub fn name(text: &str) -> Result<()> {
    ensure!(!text.is_empty(), "network name cannot be empty");
    let rest = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) || !text.chars().all(rest) {
        bail!("\"{text}\" is not the name of a network: only [a-zA-Z0-9][a-zA-Z0-9_.-]* is allowed");
    }
    // It is a part of names of files (NAME_MAX is 255).
    ensure!(text.len() <= 128, "not the name of a network: longer than 128 bytes");
    ensure!(!MODES.contains(&text), "operation is not permitted on predefined {text} network");
    Ok(())
}

/// Checks the name of a driver: there is one.
pub fn driver(text: &str) -> Result<()> {
    match text {
        "" | "bridge" => Ok(()),
        "macvlan" | "ipvlan" => Err(anyhow!("{text}: a device of the host's cannot be had without root"))
            .hint(|| "the driver bridge needs none; published ports lead into its networks".to_owned()),
        _ => bail!("{text}: no such network driver: bridge is the only one"),
    }
}

/// Checks options of the driver, and gives them netavark's names.
pub fn options(pairs: &BTreeMap<String, String>, has_ipv6: bool) -> Result<BTreeMap<String, String>> {
    let mut read = BTreeMap::new();
    for (key, value) in pairs {
        let key = match key.as_str() {
            "mtu" | "com.docker.network.driver.mtu" => {
                mtu(value, has_ipv6).with_context(|| format!("option {key}={value}"))?;
                "mtu"
            }
            "isolate" => {
                let known = ["true", "false", "strict"].contains(&value.as_str());
                ensure!(known, "option isolate={value}: true, false or strict is wanted");
                "isolate"
            }
            _ => {
                return Err(anyhow!("unsupported bridge network option {key}"))
                    .hint(|| "mtu and isolate are known".to_owned());
            }
        };
        let other = read.insert(key.to_owned(), value.clone());
        ensure!(other.is_none_or(|other| other == *value), "option {key}: two different values");
    }
    Ok(read)
}

/// Limits of the kernel for a veth (veth(4); `ETH_MIN_MTU`, `ETH_MAX_MTU`), and of IPv6 (RFC 8200, section 5).
fn mtu(text: &str, has_ipv6: bool) -> Result<()> {
    let least = if has_ipv6 { 1280 } else { 68 };
    let number: u32 = text.parse().ok().context("a number of bytes is wanted")?;
    ensure!((least..=65535).contains(&number), "a number from {least} to 65535 is wanted");
    Ok(())
}

/// What `--subnet`, `--gateway` and `--ip-range` say, each gateway and range with the subnet that it is in.
pub fn addresses(subnets: &[String], gateways: &[String], ranges: &[String]) -> Result<Vec<Pool>> {
    let mut found: Vec<Pool> = Vec::new();
    for text in subnets {
        let named = || format!("--subnet {text}");
        let subnet = text.parse().and_then(checked).with_context(named)?;
        if let Some(other) = found.iter().find(|other| other.subnet.is_ipv6() == subnet.is_ipv6()) {
            let other = other.subnet;
            return Err(anyhow!("{other} is there already: a network has one of each family")).with_context(named);
        }
        found.push(Pool { subnet, gateway: subnet.first_host(), lease_range: None });
    }
    let mut given = Vec::new();
    for text in gateways {
        let named = || format!("--gateway {text}");
        let address: IpAddr = text.parse().ok().context("not an ip address").with_context(named)?;
        let at = found.iter().position(|pool| pool.subnet.has_host(address));
        let at = at.context("no matching subnet for gateway").with_context(named)?;
        if given.contains(&at) {
            return Err(anyhow!("its subnet has another one already")).with_context(named);
        }
        given.push(at);
        if let Some(pool) = found.get_mut(at) {
            pool.gateway = address;
        }
    }
    for text in ranges {
        range(text, &mut found).with_context(|| format!("--ip-range {text}"))?;
    }
    Ok(found)
}

/// A network that machines can have: with room for a gateway and a container, and clear of what the uplink has.
fn checked(subnet: Subnet) -> Result<Subnet> {
    let most = if subnet.is_ipv6() { 126 } else { 30 };
    let prefix = subnet.prefix();
    ensure!((1..=most).contains(&prefix), "/{prefix}: a network has a prefix of 1 to {most} bits");
    for (special, what) in pools::SPECIAL {
        let special: Subnet = special.parse()?;
        ensure!(!special.overlaps(subnet), "overlaps with {special}, {what}");
    }
    Ok(subnet)
}

/// Reads `ADDRESS/PREFIX` or `FIRST-LAST`.
fn range(text: &str, pools: &mut [Pool]) -> Result<()> {
    let lease = match text.split_once('-') {
        None => {
            let range: Subnet = text.parse()?;
            // The ends of the subnet belong to nobody, those of a range in the middle of it do.
            let has = |pool: &&Pool| pool.subnet.contains(range);
            let subnet = pools.iter().find(has).context("no matching subnet for range")?.subnet;
            let start_ip = if subnet.has_host(range.network()) { range.network() } else { subnet.first_host() };
            let end_ip = if subnet.has_host(range.last()) { range.last() } else { subnet.last_host() };
            Lease { start_ip, end_ip }
        }
        Some((first, last)) => {
            let address = |text: &str| text.parse().ok().with_context(|| format!("\"{text}\" is not an ip address"));
            let lease = Lease { start_ip: address(first)?, end_ip: address(last)? };
            ensure!(lease.start_ip <= lease.end_ip, "ends before it begins");
            lease
        }
    };
    let has = |pool: &&mut Pool| pool.subnet.has_host(lease.start_ip) && pool.subnet.has_host(lease.end_ip);
    let pool = pools.iter_mut().find(has).context("no matching subnet for range")?;
    ensure!(pool.lease_range.is_none(), "its subnet has another one already");
    let is_gateway_alone = lease.start_ip == pool.gateway && lease.end_ip == pool.gateway;
    ensure!(!is_gateway_alone, "no address but the gateway's");
    pool.lease_range = Some(lease);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Failure;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn read(subnets: &str, gateways: &str, ranges: &str) -> Result<Vec<String>, String> {
        let found = addresses(&words(subnets), &words(gateways), &words(ranges));
        let shown = |pool: Pool| {
            let lease = pool.lease_range.map(|lease| format!(" {}-{}", lease.start_ip, lease.end_ip));
            format!("{} {}{}", pool.subnet, pool.gateway, lease.unwrap_or_default())
        };
        found.map(|found| found.into_iter().map(shown).collect()).map_err(|error| Failure::from(&error).message)
    }

    #[test]
    fn subnets() {
        for (subnets, gateways, ranges, expected) in [
            ("", "", "", &[][..]),
            ("10.5.0.9/16", "", "", &["10.5.0.0/16 10.5.0.1"]),
            ("10.5.0.0/30", "10.5.0.2", "10.5.0.1-10.5.0.1", &["10.5.0.0/30 10.5.0.2 10.5.0.1-10.5.0.1"]),
            (
                "10.5.0.0/16 fd05::/64",
                "fd05::9 10.5.1.1",
                "10.5.4.0/24 fd05::100-fd05::1ff",
                &["10.5.0.0/16 10.5.1.1 10.5.4.0-10.5.4.255", "fd05::/64 fd05::9 fd05::100-fd05::1ff"],
            ),
            ("10.5.0.0/24", "", "10.5.0.0/25", &["10.5.0.0/24 10.5.0.1 10.5.0.1-10.5.0.127"]),
            ("10.5.0.0/24", "", "10.5.0.128/25", &["10.5.0.0/24 10.5.0.1 10.5.0.128-10.5.0.254"]),
            ("fd05::/64", "", "", &["fd05::/64 fd05::1"]),
        ] {
            let expected = expected.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(read(subnets, gateways, ranges), Ok(expected), "{subnets} {gateways} {ranges}");
        }
    }

    #[test]
    fn what_is_refused() {
        for (subnets, gateways, ranges, message) in [
            ("10.5.0.0", "", "", "--subnet 10.5.0.0: not of the form ADDRESS/PREFIX"),
            ("10.5.0.0/31", "", "", "--subnet 10.5.0.0/31: /31: a network has a prefix of 1 to 30 bits"),
            ("fd05::/127", "", "", "--subnet fd05::/127: /127: a network has a prefix of 1 to 126 bits"),
            ("0.0.0.0/0", "", "", "--subnet 0.0.0.0/0: /0: a network has a prefix of 1 to 30 bits"),
            (
                "10.0.0.0/8",
                "",
                "",
                "--subnet 10.0.0.0/8: overlaps with 10.0.2.0/24, where the way out of all networks begins",
            ),
            (
                "127.1.0.0/16",
                "",
                "",
                "--subnet 127.1.0.0/16: overlaps with 127.0.0.0/8, addresses of loopback interfaces",
            ),
            ("ff05::/64", "", "", "--subnet ff05::/64: overlaps with ff00::/8, addresses of groups"),
            (
                "10.5.0.0/16 10.6.0.0/16",
                "",
                "",
                "--subnet 10.6.0.0/16: 10.5.0.0/16 is there already: a network has one of each family",
            ),
            ("", "10.5.0.1", "", "--gateway 10.5.0.1: no matching subnet for gateway"),
            ("10.5.0.0/16", "10.5.0.0", "", "--gateway 10.5.0.0: no matching subnet for gateway"),
            ("10.5.0.0/16", "10.5.255.255", "", "--gateway 10.5.255.255: no matching subnet for gateway"),
            ("10.5.0.0/16", "x", "", "--gateway x: not an ip address"),
            ("10.5.0.0/16", "10.5.0.1 10.5.0.2", "", "--gateway 10.5.0.2: its subnet has another one already"),
            ("", "", "10.5.0.0/24", "--ip-range 10.5.0.0/24: no matching subnet for range"),
            ("10.5.0.0/24", "", "10.5.0.0/16", "--ip-range 10.5.0.0/16: no matching subnet for range"),
            ("10.5.0.0/24", "", "10.5.0.9-10.5.0.2", "--ip-range 10.5.0.9-10.5.0.2: ends before it begins"),
            ("10.5.0.0/24", "", "10.5.0.9-10.5.1.2", "--ip-range 10.5.0.9-10.5.1.2: no matching subnet for range"),
            ("10.5.0.0/24", "", "10.5.0.1/32", "--ip-range 10.5.0.1/32: no address but the gateway's"),
            (
                "10.5.0.0/24",
                "",
                "10.5.0.0/25 10.5.0.128/25",
                "--ip-range 10.5.0.128/25: its subnet has another one already",
            ),
        ] {
            assert_eq!(read(subnets, gateways, ranges), Err(message.to_owned()));
        }
    }

    #[test]
    fn names() {
        for text in ["a", "web-1", "A_b.c", "hosts", &"a".repeat(128)] {
            name(text).expect(text);
        }
        let long = "a".repeat(129);
        for text in ["", "-a", ".a", "a b", "a/b", "é", "../x", &long] {
            assert!(name(text).is_err(), "{text}");
        }
        for text in MODES {
            let message = name(text).expect_err(text).to_string();
            assert_eq!(message, format!("operation is not permitted on predefined {text} network"));
        }
    }

    #[test]
    fn options_of_the_driver() {
        let of = |text: &str, has_ipv6| {
            let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
            let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            let shown = |(key, value)| format!("{key}={value}");
            let read = options(&pairs, has_ipv6).map_err(|error| Failure::from(&error).message)?;
            Ok(read.into_iter().map(shown).collect::<Vec<_>>().join(" "))
        };
        for (text, read) in [
            ("", Ok("")),
            ("mtu=1400 isolate=false", Ok("isolate=false mtu=1400")),
            ("com.docker.network.driver.mtu=9000", Ok("mtu=9000")),
            ("com.docker.network.driver.mtu=9000 mtu=9000", Ok("mtu=9000")),
            ("com.docker.network.driver.mtu=9000 mtu=9001", Err("option mtu: two different values")),
            ("mtu=67", Err("option mtu=67: a number from 68 to 65535 is wanted")),
            ("mtu=65536", Err("option mtu=65536: a number from 68 to 65535 is wanted")),
            ("mtu=big", Err("option mtu=big: a number of bytes is wanted")),
            ("isolate=yes", Err("option isolate=yes: true, false or strict is wanted")),
            ("vlan=5", Err("unsupported bridge network option vlan")),
        ] {
            assert_eq!(of(text, false), read.map(str::to_owned).map_err(str::to_owned), "{text}");
        }
        assert!(of("mtu=1279", true).is_err() && of("mtu=1280", true).is_ok());
    }
}
