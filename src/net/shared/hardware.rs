//! Hardware addresses (MAC) on networks that containers share. An address always has the same one, for neighbours remember it
//! for up to 40 seconds (`base_reachable_time_ms` in arp(7)): who comes with the address of another, or a bridge that changed
//! its own, would be sent packets that nobody hears.
//!
//! Runs in: the user and network namespaces of all networks; [`of_container`] in the host's, the keeper.

use crate::sys::netlink::{Message, Socket};
use anyhow::{Context, Result};
use linux_raw_sys::netlink as raw;
use std::net::IpAddr;

/// The first two bytes, as docker's are: "locally administered", and for one machine.
const FIRST: [u8; 2] = [0x02, 0x42];

/// That of a container with these addresses of one network, with colons. `None` without one.
pub fn of_container(addresses: &[IpAddr]) -> Option<String> {
    let address = addresses.iter().find(|address| address.is_ipv4()).or_else(|| addresses.first())?;
    let all = of(*address);
    Some(all.map(|byte| format!("{byte:02x}")).join(":"))
}

/// Gives a bridge that of its first address, for good: without one set, a bridge has the lowest of its members', and another
/// one as these come and go (`br_stp_recalculate_bridge_id` in net/bridge/br_stp_if.c).
pub fn keep(bridge: &str, gateway: IpAddr) -> Result<()> {
    let socket = Socket::open()?;
    let index = socket.index(bridge)?.with_context(|| format!("{bridge}: gone"))?;
    let message = Message::link("set hardware address", libc::RTM_SETLINK, 0, index, 0);
    Ok(socket.request(vec![message.with(raw::IFLA_ADDRESS as u32, &of(gateway))])?)
}

fn of(address: IpAddr) -> [u8; 6] {
    let [a, b, c, d] = match address {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(address) => {
            let [.., a, b, c, d] = address.octets();
            [a, b, c, d]
        }
    };
    [FIRST[0], FIRST[1], a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_the_first_address_of_version_4() {
        let of = |all: &[&str]| of_container(&all.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>());
        assert_eq!(of(&["fd00::1:2", "10.89.0.255"]).as_deref(), Some("02:42:0a:59:00:ff"));
        assert_eq!(of(&["fd00::1:2"]).as_deref(), Some("02:42:00:01:00:02"));
        assert_eq!(of(&[]), None);
    }
}
