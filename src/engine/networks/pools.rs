//! Which addresses a new network gets.

use crate::engine::record;
use crate::error::Advise;
use crate::net::shared::definition::Pool;
use crate::net::shared::subnet::Subnet;
use anyhow::{Context, Result, anyhow};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What no network may have, and why.
pub const SPECIAL: [(&str, &str); 9] = [
    ("10.0.2.0/24", "where the way out of all networks begins"),
    ("0.0.0.0/8", "addresses of nobody"),
    ("127.0.0.0/8", "addresses of loopback interfaces"),
    ("224.0.0.0/3", "addresses of groups"),
    ("fd00::/64", "where the way out of all networks begins"),
    ("::/8", "addresses of nobody"),
    ("fe80::/10", "addresses of links"),
    ("fec0::/10", "addresses that are no longer in use (RFC 3879)"),
    ("ff00::/8", "addresses of groups"),
];

/// Where subnets are taken from, in this order: podman's pools (containers/common, `default_subnet_pools`), then the
/// other private addresses of RFC 1918, for hosts whose VPN has all of 10.0.0.0/8. First and last of each.
const PRIVATE: [(&str, &str); 3] =
    [("10.89.0.0/24", "10.255.255.0/24"), ("172.16.0.0/24", "172.31.255.0/24"), ("192.168.0.0/24", "192.168.255.0/24")];

/// A subnet of IPv4 that overlaps with none of `taken`.
pub fn free_v4(taken: &[Subnet]) -> Result<Pool> {
    for (first, last) in PRIVATE {
        let last: Subnet = last.parse()?;
        let mut next = first.parse::<Subnet>().ok();
        while let Some(subnet) = next {
            if !taken.iter().any(|other| other.overlaps(subnet)) {
                return Ok(pool(subnet));
            }
            next = if subnet == last { None } else { subnet.next() };
        }
    }
    Err(anyhow!("all private addresses are taken by networks or lead elsewhere from this host"))
        .hint(|| "`rbox network prune` removes networks; --subnet names one".to_owned())
}

/// A subnet of IPv6 that overlaps with none of `taken`: a unique local one with a random number (RFC 4193, section
/// 3.2).
pub fn free_v6(taken: &[Subnet]) -> Result<Pool> {
    loop {
        let id = record::random_id()?;
        // 40 bits of global id, 16 of subnet id.
        let bits = id.get(..14).and_then(|digits| u128::from_str_radix(digits, 16).ok()).context("no random number")?;
        let subnet = Subnet::around(Ipv6Addr::from((0xfd << 120) | (bits << 64)).into(), 64)?;
        let is_special = SPECIAL.iter().any(|(text, _)| text.parse().is_ok_and(|special| subnet.overlaps(special)));
        if !is_special && !taken.iter().any(|other| other.overlaps(subnet)) {
            return Ok(pool(subnet));
        }
    }
}

fn pool(subnet: Subnet) -> Pool {
    Pool { subnet, gateway: subnet.first_host(), lease_range: None }
}

/// What this host has routes to, the default ones left out (proc_pid_net(5), `/proc/net/route`, `ipv6_route`).
pub fn of_host() -> Vec<Subnet> {
    // A kernel without IPv6 has no such file.
    let read = |path| fs_err::read_to_string(path).unwrap_or_default();
    let v4 = read("/proc/self/net/route");
    let v6 = read("/proc/self/net/ipv6_route");
    v4.lines()
        .filter_map(route_v4)
        .chain(v6.lines().filter_map(route_v6))
        .filter(|subnet| subnet.prefix() > 0)
        .collect()
}

/// A line of `/proc/net/route`: interface, destination, gateway, flags, three numbers, mask. Addresses are numbers of
/// the machine whose bytes are in the order of the wire.
fn route_v4(line: &str) -> Option<Subnet> {
    let mut fields = line.split_whitespace();
    let number = |text: &str| u32::from_str_radix(text, 16).ok().map(u32::to_ne_bytes);
    let address: Ipv4Addr = number(fields.nth(1)?)?.into();
    let mask = u32::from_be_bytes(number(fields.nth(5)?)?);
    let prefix = u8::try_from(mask.leading_ones()).ok()?;
    Subnet::around(IpAddr::V4(address), prefix).ok()
}

/// A line of `/proc/net/ipv6_route`: destination, length of its prefix, and more.
fn route_v6(line: &str) -> Option<Subnet> {
    let mut fields = line.split_whitespace();
    let address = u128::from_str_radix(fields.next()?, 16).ok()?;
    let prefix = u8::from_str_radix(fields.next()?, 16).ok()?;
    Subnet::around(IpAddr::V6(address.into()), prefix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnets(text: &str) -> Vec<Subnet> {
        text.split_whitespace().map(|word| word.parse().expect(word)).collect()
    }

    #[test]
    fn the_first_that_is_free() {
        for (taken, found) in [
            ("", "10.89.0.0/24"),
            ("10.89.0.0/24", "10.89.1.0/24"),
            ("10.89.0.0/24 10.89.2.0/24", "10.89.1.0/24"),
            ("10.88.0.0/14", "10.92.0.0/24"),
            ("10.89.0.77/32 fd00::/8", "10.89.1.0/24"),
            ("10.0.0.0/8", "172.16.0.0/24"),
            ("10.0.0.0/8 172.16.0.0/12 192.168.0.0/23", "192.168.2.0/24"),
        ] {
            let pool = free_v4(&subnets(taken)).expect(found);
            assert_eq!((pool.subnet.to_string().as_str(), pool.gateway), (found, pool.subnet.first_host()), "{taken}");
        }
        for taken in ["10.0.0.0/8 172.16.0.0/12 192.168.0.0/16", "0.0.0.0/0"] {
            let error = crate::error::Failure::from(&free_v4(&subnets(taken)).expect_err(taken));
            assert!(error.message.starts_with("all private addresses are taken"), "{error:?}");
        }
    }

    #[test]
    fn a_random_one() {
        let pool = free_v6(&[]).expect("a random one");
        let (text, gateway) = (pool.subnet.to_string(), pool.gateway.to_string());
        assert!(text.starts_with("fd") && text.ends_with("::/64") && gateway.ends_with("::1"), "{text} {gateway}");
        assert_ne!(free_v6(&[]).expect("another one").subnet, pool.subnet);
    }

    #[test]
    fn lines_of_the_kernel() {
        let bytes = |a: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(a));
        let line =
            |address, mask| format!("eth0\t{}\t00000000\t0001\t0\t0\t0\t{}\t0\t0\t0", bytes(address), bytes(mask));
        let shown = |line: &str| route_v4(line).map(|subnet| subnet.to_string());
        assert_eq!(shown(&line([192, 168, 7, 0], [255, 255, 254, 0])).as_deref(), Some("192.168.6.0/23"));
        assert_eq!(shown(&line([0; 4], [0; 4])).as_deref(), Some("0.0.0.0/0"));
        assert_eq!(shown("Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask"), None);
        assert_eq!(shown(""), None);
        let v6 = "fd050000000000000000000000000000 40 00000000000000000000000000000000 00 0 0 0 0 eth0";
        assert_eq!(route_v6(v6).map(|subnet| subnet.to_string()).as_deref(), Some("fd05::/64"));
        assert_eq!(route_v6("fd05 ff"), None);
        // Whatever this host has.
        assert!(of_host().iter().all(|subnet| subnet.prefix() > 0));
    }
}
