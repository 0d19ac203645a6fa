//! Addresses and names of interfaces, as options have them.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The hardware address of one Ethernet interface (IEEE 802: the lowest bit of the first octet is clear).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mac([u8; 6]);

impl Mac {
    /// Of an interface that has these.
    pub fn of(octets: [u8; 6]) -> Mac {
        Mac(octets)
    }

    /// The octets in the order of the wire.
    pub fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl FromStr for Mac {
    type Err = anyhow::Error;

    /// Reads six octets with `:` or `-` between them. A group's address is refused, and so is zero, as the kernel does
    /// (linux/etherdevice.h, `is_valid_ether_addr`).
    fn from_str(text: &str) -> Result<Mac> {
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut octets = [0; 6];
        let mut parts = text.split(separator);
        for octet in &mut octets {
            *octet = parts.next().and_then(octet_of).with_context(|| format!("address {text}: invalid MAC address"))?;
        }
        if parts.next().is_some() {
            bail!("address {text}: invalid MAC address");
        }
        if octets == [0; 6] || octets[0] & 1 != 0 {
            bail!("address {text}: not the address of one interface: the first octet must be even, and not all zero");
        }
        Ok(Mac(octets))
    }
}

fn octet_of(text: &str) -> Option<u8> {
    let is_hex = text.len() == 2 && text.chars().all(|c| c.is_ascii_hexdigit());
    u8::from_str_radix(text, 16).ok().filter(|_| is_hex)
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Reads an address of either family; `::ffff:192.0.2.1` is 192.0.2.1.
pub fn ip(text: &str) -> Result<IpAddr> {
    let address: IpAddr = text.parse().ok().with_context(|| format!("\"{text}\" is not an ip address"))?;
    Ok(address.to_canonical())
}

/// Reads an IPv4 address that one machine can have.
pub fn v4(text: &str) -> Result<Ipv4Addr> {
    match host(text)? {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(_) => bail!("\"{text}\" is not an IPv4 address"),
    }
}

/// Reads an IPv6 address that one machine can have.
pub fn v6(text: &str) -> Result<Ipv6Addr> {
    match host(text)? {
        IpAddr::V6(address) => Ok(address),
        IpAddr::V4(_) => bail!("\"{text}\" is not an IPv6 address"),
    }
}

/// Reads an address that one machine can have.
pub fn host(text: &str) -> Result<IpAddr> {
    let address = ip(text)?;
    let is_broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() || is_broadcast {
        bail!("{address}: not the address of one machine");
    }
    Ok(address)
}

/// Checks the name of an interface: the kernel's rules (net/core/dev.c, `dev_valid_name`; IFNAMSIZ is 16 with the zero
/// at the end), less `%`, for which it would put in a number, and control characters.
pub fn interface(text: &str) -> Result<()> {
    if text.is_empty() || text.len() > 15 {
        bail!("\"{text}\" is not the name of an interface: it has 1 to 15 bytes");
    }
    let is_bad = |c: char| matches!(c, '/' | ':' | '%') || c.is_whitespace() || c.is_control();
    if matches!(text, "." | "..") || text.contains(is_bad) {
        bail!("\"{text}\" is not the name of an interface");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses() {
        for (text, shown) in [
            ("92:d0:c6:0a:29:33", "92:d0:c6:0a:29:33"),
            ("92-D0-C6-0A-29-33", "92:d0:c6:0a:29:33"),
            ("02:00:00:00:00:00", "02:00:00:00:00:00"),
        ] {
            let mac: Mac = text.parse().expect(text);
            assert_eq!(mac.to_string(), shown);
            assert_eq!(mac.to_string().parse::<Mac>().expect(shown).octets(), mac.octets());
        }
        let long = "02:".repeat(100_000);
        for text in [
            "",
            "x",
            ":::::",
            "92:d0:c6:0a:29",
            "92:d0:c6:0a:29:33:00",
            "92:d0:c6:0a:29:333",
            "92:d0:c6:0a:29:3",
            "92:d0:c6:0a:29:+3",
            "92:d0:c6:0a:29:3é",
            "92:d0-c6:0a:29:33",
            "92d0c60a2933",
            "fe:dc:ba:98:76:54:32:10",
            "00:00:00:00:00:00",
            "ff:ff:ff:ff:ff:ff",
            "01:00:5e:00:00:01",
            "93:d0:c6:0a:29:33",
            long.as_str(),
        ] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
        assert_eq!("x".parse::<Mac>().expect_err("x").to_string(), "address x: invalid MAC address");
    }

    #[test]
    fn internet_addresses() {
        assert_eq!(ip("192.0.2.1").expect("v4"), IpAddr::from([192, 0, 2, 1]));
        assert_eq!(ip("::ffff:192.0.2.1").expect("v4"), IpAddr::from([192, 0, 2, 1]));
        assert_eq!(v6("FD00::1").expect("v6"), "fd00::1".parse::<Ipv6Addr>().expect("v6"));
        for text in [
            "",
            "x",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.256",
            "01.2.3.4",
            "1.2.3.4 ",
            "0x1.2.3.4",
            "1.2.3.99999999999999999999",
            "[::1]",
            "fe80::1%eth0",
            ":::",
            "1::2::3",
            "fd00::12345",
            "１.2.3.4",
        ] {
            assert_eq!(ip(text).expect_err(text).to_string(), format!("\"{text}\" is not an ip address"));
        }
        assert_eq!(v4("fd00::1").expect_err("v6").to_string(), "\"fd00::1\" is not an IPv4 address");
        assert_eq!(v6("::ffff:1.2.3.4").expect_err("v4").to_string(), "\"::ffff:1.2.3.4\" is not an IPv6 address");
        for text in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "ff02::1"] {
            assert!(host(text).is_err(), "{text}");
        }
        assert_eq!(host("169.254.1.1").expect("link-local").to_string(), "169.254.1.1");
    }

    #[test]
    fn names_of_interfaces() {
        for text in ["eth0", "a", "0", "br-1.5@x", "-", "...", "é", "fifteen-bytes-x"] {
            interface(text).expect(text);
        }
        for text in ["", ".", "..", "a/b", "a b", "a:1", "a\n", "eth%d", "sixteen-bytes-xx", "ééééééééé", "a\u{7f}"]
        {
            assert!(interface(text).is_err(), "{text}");
        }
    }
}
