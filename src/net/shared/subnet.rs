//! `ADDRESS/PREFIX`: a range of addresses of either family (RFC 4632).

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range of addresses that share their first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Subnet {
    /// The lowest address.
    network: IpAddr,
    /// How many bits are shared.
    prefix: u8,
}

impl Subnet {
    /// The range around an address.
    ///
    /// # Errors
    /// The prefix has more bits than the address.
    pub fn around(address: IpAddr, prefix: u8) -> Result<Subnet> {
        ensure!(prefix <= bits(address), "/{prefix}: an address has no more than {} bits", bits(address));
        let network = of(number(address) & !hosts(address, prefix), address);
        Ok(Subnet { network, prefix })
    }

    /// The lowest address.
    pub fn network(self) -> IpAddr {
        self.network
    }

    /// How many bits are shared.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// True for IPv6.
    pub fn is_ipv6(self) -> bool {
        self.network.is_ipv6()
    }

    /// The highest address: with IPv4 the one for broadcasts.
    pub fn last(self) -> IpAddr {
        of(number(self.network) | hosts(self.network, self.prefix), self.network)
    }

    /// The lowest address that a machine can have.
    pub fn first_host(self) -> IpAddr {
        of(number(self.network).saturating_add(1).min(number(self.last())), self.network)
    }

    /// The highest address that a machine can have: with IPv4 the one before the broadcasts'.
    pub fn last_host(self) -> IpAddr {
        match self.last() {
            last @ IpAddr::V4(_) => of(number(last).saturating_sub(1).max(number(self.network)), last),
            last @ IpAddr::V6(_) => last,
        }
    }

    /// True if a machine can have this address here.
    pub fn has_host(self, address: IpAddr) -> bool {
        let same = address.is_ipv4() == self.network.is_ipv4();
        same && (number(self.first_host())..=number(self.last_host())).contains(&number(address))
    }

    /// True if all of the other one is in this one.
    pub fn contains(self, other: Subnet) -> bool {
        self.overlaps(other) && self.prefix <= other.prefix
    }

    /// True if an address is in both.
    pub fn overlaps(self, other: Subnet) -> bool {
        let shared = self.prefix.min(other.prefix);
        let start = |address: IpAddr| number(address) & !hosts(address, shared);
        self.is_ipv6() == other.is_ipv6() && start(self.network) == start(other.network)
    }

    /// The range of the same size that follows.
    pub fn next(self) -> Option<Subnet> {
        let after = number(self.last()).checked_add(1)?;
        let network = of(after, self.network);
        (number(network) == after).then_some(Subnet { network, prefix: self.prefix })
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = anyhow::Error;

    /// Reads `ADDRESS/PREFIX`; the address may be any of the range.
    fn from_str(text: &str) -> Result<Subnet> {
        let (address, prefix) = text.split_once('/').context("not of the form ADDRESS/PREFIX")?;
        let address: IpAddr = address.parse().ok().with_context(|| format!("\"{address}\" is not an ip address"))?;
        let is_number = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix = prefix.parse().ok().filter(|_| is_number);
        Subnet::around(address, prefix.context("the prefix is not a number of bits")?)
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> String {
        subnet.to_string()
    }
}

impl TryFrom<String> for Subnet {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Subnet> {
        text.parse()
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// The address of a number, of the family of another; what is above its bits is lost.
fn of(number: u128, family: IpAddr) -> IpAddr {
    match family {
        IpAddr::V4(_) => Ipv4Addr::from(number as u32).into(),
        IpAddr::V6(_) => Ipv6Addr::from(number).into(),
    }
}

/// The bits that are not shared.
fn hosts(family: IpAddr, prefix: u8) -> u128 {
    let all = if family.is_ipv4() { u128::from(u32::MAX) } else { u128::MAX };
    all.checked_shr(prefix.into()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().expect(text)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn ranges() {
        for (text, shown, first, last_host, last) in [
            ("10.89.0.7/24", "10.89.0.0/24", "10.89.0.1", "10.89.0.254", "10.89.0.255"),
            ("10.89.0.0/30", "10.89.0.0/30", "10.89.0.1", "10.89.0.2", "10.89.0.3"),
            ("10.1.2.3/32", "10.1.2.3/32", "10.1.2.3", "10.1.2.3", "10.1.2.3"),
            ("0.0.0.0/32", "0.0.0.0/32", "0.0.0.0", "0.0.0.0", "0.0.0.0"),
            ("255.255.255.255/32", "255.255.255.255/32", "255.255.255.255", "255.255.255.255", "255.255.255.255"),
            ("1.2.3.4/0", "0.0.0.0/0", "0.0.0.1", "255.255.255.254", "255.255.255.255"),
            ("fd00::5/64", "fd00::/64", "fd00::1", "fd00::ffff:ffff:ffff:ffff", "fd00::ffff:ffff:ffff:ffff"),
            ("ffff::/0", "::/0", "::1", &Ipv6Addr::from(u128::MAX).to_string(), &Ipv6Addr::from(u128::MAX).to_string()),
        ] {
            let range = subnet(text);
            let found = [range.first_host(), range.last_host(), range.last()].map(|address| address.to_string());
            assert_eq!((range.to_string().as_str(), found), (shown, [first, last_host, last].map(str::to_owned)));
        }
    }

    #[test]
    fn the_very_last() {
        let last = IpAddr::from(Ipv6Addr::from(u128::MAX));
        let range = Subnet::around(last, 128).expect("one address");
        assert_eq!((range.first_host(), range.last_host(), range.next()), (last, last, None));
    }

    #[test]
    fn hosts_of_a_range() {
        let range = subnet("10.89.0.0/24");
        for (address, is) in
            [("10.89.0.0", false), ("10.89.0.1", true), ("10.89.0.255", false), ("10.89.1.1", false), ("::1", false)]
        {
            assert_eq!(range.has_host(ip(address)), is, "{address}");
        }
        assert!(subnet("fd00::/64").has_host(ip("fd00::2")) && !subnet("fd00::/64").has_host(ip("fd00::")));
    }

    #[test]
    fn what_two_share() {
        for (a, b, overlap, a_has_b) in [
            ("10.0.0.0/8", "10.89.0.0/24", true, true),
            ("10.89.0.0/24", "10.0.0.0/8", true, false),
            ("10.89.0.0/24", "10.89.1.0/24", false, false),
            ("0.0.0.0/0", "192.168.0.0/16", true, true),
            ("0.0.0.0/0", "::/0", false, false),
            ("fd00::/64", "fd00::/64", true, true),
            ("fd00::/64", "fd00:0:0:1::/64", false, false),
        ] {
            assert_eq!((subnet(a).overlaps(subnet(b)), subnet(a).contains(subnet(b))), (overlap, a_has_b), "{a} {b}");
        }
    }

    #[test]
    fn what_follows() {
        assert_eq!(subnet("10.89.255.0/24").next(), Some(subnet("10.90.0.0/24")));
        assert_eq!(
            (subnet("255.255.255.0/24").next(), subnet("0.0.0.0/0").next(), subnet("::/0").next()),
            (None, None, None)
        );
    }

    #[test]
    fn what_is_no_range() {
        let long = format!("10.0.0.0/{}", "9".repeat(100_000));
        for text in [
            "",
            "/",
            "10.0.0.0",
            "10.0.0.0/",
            "/8",
            "10.0.0/8",
            "10.0.0.0/33",
            "10.0.0.0/256",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/8/8",
            "fd00::/129",
            "web/24",
            long.as_str(),
        ] {
            assert!(text.parse::<Subnet>().is_err(), "{text}");
            assert!(serde_json::from_value::<Subnet>(text.into()).is_err(), "{text}");
        }
    }
}
