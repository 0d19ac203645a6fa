//! `ADDRESS/PREFIX`: a range of addresses (RFC 4632).

use super::address;
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address of either family, counted with.
pub trait Address: Copy + Eq + Into<IpAddr> + fmt::Display + fmt::Debug {
    /// How many bits it has.
    const BITS: u8;
    /// Which one of its range a container has [default: 100, as in slirp4netns(1), and 0x100 of IPv6].
    const CONTAINER: u16;
    /// As a number.
    fn number(self) -> u128;
    /// Of a number; what is above the bits is lost.
    fn of(number: u128) -> Self;
}

impl Address for Ipv4Addr {
    const BITS: u8 = 32;
    const CONTAINER: u16 = 100;

    fn number(self) -> u128 {
        u32::from(self).into()
    }

    fn of(number: u128) -> Ipv4Addr {
        // The low 32 bits.
        (number as u32).into()
    }
}

impl Address for Ipv6Addr {
    const BITS: u8 = 128;
    const CONTAINER: u16 = 0x100;

    fn number(self) -> u128 {
        self.into()
    }

    fn of(number: u128) -> Ipv6Addr {
        number.into()
    }
}

/// A range that shares its first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet<A> {
    /// Its lowest address.
    pub network: A,
    /// How many bits are shared.
    pub prefix: u8,
}

impl<A: Address> Subnet<A> {
    /// The range around an address. `prefix`: at most [`Address::BITS`].
    pub fn around(address: A, prefix: u8) -> Subnet<A> {
        Subnet { network: A::of(address.number() & !hosts::<A>(prefix)), prefix }
    }

    /// True if the address is one of these.
    pub fn contains(self, address: A) -> bool {
        Subnet::around(address, self.prefix) == self
    }

    /// The highest address: with IPv4 the one for broadcasts.
    pub fn last(self) -> A {
        A::of(self.network.number() | hosts::<A>(self.prefix))
    }

    /// The address so many after the lowest, if it is one between the lowest and the highest.
    pub fn host(self, number: u16) -> Option<A> {
        let number = u128::from(number);
        (number > 0 && number < hosts::<A>(self.prefix)).then(|| A::of(self.network.number() + number))
    }
}

impl<A: fmt::Display> fmt::Display for Subnet<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

/// The bits that are not shared.
fn hosts<A: Address>(prefix: u8) -> u128 {
    let all = u128::MAX >> (128 - u32::from(A::BITS));
    all.checked_shr(prefix.into()).unwrap_or(0)
}

/// A range of either family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AnySubnet {
    /// Of IPv4.
    V4(Subnet<Ipv4Addr>),
    /// Of IPv6.
    V6(Subnet<Ipv6Addr>),
}

/// Reads a subnet: its lowest address, and 1 to 29 bits of IPv4 or 1 to 125 of IPv6, so that there is room for a gateway,
/// a resolver and a container.
pub fn parse(text: &str) -> Result<AnySubnet> {
    let (address, prefix) = text.split_once('/').context("not of the form ADDRESS/PREFIX")?;
    let (address, prefix) = (address::ip(address)?, bits(prefix)?);
    match address {
        IpAddr::V4(address) => checked(address, prefix).map(AnySubnet::V4),
        IpAddr::V6(address) => checked(address, prefix).map(AnySubnet::V6),
    }
}

/// Reads a subnet of IPv4.
pub fn v4(text: &str) -> Result<Subnet<Ipv4Addr>> {
    match parse(text)? {
        AnySubnet::V4(subnet) => Ok(subnet),
        AnySubnet::V6(_) => bail!("not a range of IPv4 addresses"),
    }
}

fn checked<A: Address>(address: A, prefix: u8) -> Result<Subnet<A>> {
    check_prefix::<A>(prefix)?;
    let subnet = Subnet::around(address, prefix);
    ensure!(subnet.network == address, "not the lowest address of a range: {subnet} is one");
    let address: IpAddr = address.into();
    let is_special = address.is_unspecified() || address.is_loopback() || address.is_multicast();
    ensure!(!is_special, "not a range for addresses of machines");
    Ok(subnet)
}

/// Checks how many bits a container's subnet shares.
pub fn check_prefix<A: Address>(prefix: u8) -> Result<()> {
    let most = A::BITS - 3;
    ensure!((1..=most).contains(&prefix), "/{prefix}: a container's network has a prefix of 1 to {most} bits");
    Ok(())
}

/// Reads a number of bits.
pub fn bits(text: &str) -> Result<u8> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number).with_context(|| format!("\"{text}\" is not a number of bits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound(text: &str) -> Subnet<Ipv4Addr> {
        v4(text).expect(text)
    }

    #[test]
    fn ranges() {
        let subnet = sound("10.0.2.0/24");
        assert_eq!((subnet.to_string().as_str(), subnet.last()), ("10.0.2.0/24", Ipv4Addr::new(10, 0, 2, 255)));
        assert!(subnet.contains(Ipv4Addr::new(10, 0, 2, 255)) && !subnet.contains(Ipv4Addr::new(10, 0, 3, 0)));
        assert_eq!(subnet.host(100), Some(Ipv4Addr::new(10, 0, 2, 100)));
        assert_eq!((subnet.host(0), subnet.host(255)), (None, None));
        assert_eq!((sound("10.0.0.0/29").host(6), sound("10.0.0.0/29").host(7)), (Some([10, 0, 0, 6].into()), None));
        let AnySubnet::V6(wide) = parse("fd00::/64").expect("v6") else { panic!("v6") };
        assert_eq!((wide.host(2).expect("2").to_string().as_str(), wide.prefix), ("fd00::2", 64));
        assert!(
            wide.contains("fd00::ffff".parse().expect("v6")) && !wide.contains("fd00:0:0:1::".parse().expect("v6"))
        );
        assert_eq!(Subnet::around(Ipv4Addr::BROADCAST, 0).to_string(), "0.0.0.0/0");
        assert_eq!(Subnet::around(Ipv4Addr::BROADCAST, 32).last(), Ipv4Addr::BROADCAST);
        assert_eq!(Subnet::around(Ipv6Addr::LOCALHOST, 128).host(1), None);
    }

    #[test]
    fn what_is_refused() {
        let long = format!("10.0.2.0/{}", "9".repeat(100_000));
        for text in [
            "",
            "/",
            "10.0.2.0",
            "10.0.2.0/",
            "/24",
            "10.0.2/24",
            "10.0.2.0/0",
            "10.0.2.0/30",
            "10.0.2.0/33",
            "10.0.2.0/256",
            "10.0.2.0/-1",
            "127.0.0.0/8",
            "224.0.0.0/4",
            "0.0.0.0/8",
            "::/64",
            "ff02::/64",
            "10.0.2.0/+24",
            "10.0.2.0/24/24",
            "10.0.2.0/２4",
            "fd00::/126",
            "fd00::/0",
            long.as_str(),
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        let error = parse("10.0.2.5/24").expect_err("not the lowest");
        assert_eq!(error.to_string(), "not the lowest address of a range: 10.0.2.0/24 is one");
        assert!(v4("fd00::/64").is_err());
    }
}
