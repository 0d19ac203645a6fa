//! Hardware addresses (MAC) on networks that containers share. An address always has the same one, for neighbours remember it
//! for up to 40 seconds (`base_reachable_time_ms` in arp(7)): who comes with the address of another, or a bridge that changed
//! its own, would be sent packets that nobody hears.
//!
//! Runs in: the user and network namespaces of all networks; [`choose`] in the host's, the keeper.

use super::definition::Definition;
use crate::sys::netlink::{Message, Socket};
use anyhow::{Context, Result, ensure};
use linux_raw_sys::netlink as raw;
use std::net::IpAddr;

/// The first two bytes, as docker's are: "locally administered", and for one machine.
const FIRST: [u8; 2] = [0x02, 0x42];

/// That of a container with these addresses of a network: the wanted one, or theirs; any (`None`) if that is one of `others`, who
/// wanted it.
///
/// # Errors
/// The wanted one is somebody else's.
pub fn choose<'a>(
    network: &Definition,
    wanted: Option<String>,
    addresses: &[IpAddr],
    mut others: impl Iterator<Item = &'a str>,
) -> Result<Option<String>> {
    let bridge = of(network.subnets.iter().map(|pool| pool.gateway));
    let is_asked = wanted.is_some();
    let Some(mac) = wanted.or_else(|| of(addresses.iter().copied())) else { return Ok(None) };
    let is_taken = bridge.as_deref().into_iter().any(|bridge| bridge.eq_ignore_ascii_case(&mac))
        || others.any(|other| other.eq_ignore_ascii_case(&mac));
    ensure!(!(is_taken && is_asked), "requested mac address {mac} is already in use");
    Ok((!is_taken).then_some(mac))
}

/// That of whoever has these addresses of one network, with colons. `None` without one.
fn of(addresses: impl Iterator<Item = IpAddr> + Clone) -> Option<String> {
    Some(bytes(first(addresses)?).map(|byte| format!("{byte:02x}")).join(":"))
}

fn first(addresses: impl Iterator<Item = IpAddr> + Clone) -> Option<IpAddr> {
    addresses.clone().find(IpAddr::is_ipv4).or_else(|| addresses.clone().next())
}

/// Gives a bridge that of its addresses, for good: without one set, a bridge has the lowest of its members', and another
/// one as these come and go (`br_stp_recalculate_bridge_id` in net/bridge/br_stp_if.c).
pub fn keep(network: &Definition) -> Result<()> {
    let first = first(network.subnets.iter().map(|pool| pool.gateway)).context("a network without addresses")?;
    let (socket, bridge) = (Socket::open()?, &network.network_interface);
    let index = socket.index(bridge)?.with_context(|| format!("{bridge}: gone"))?;
    let message = Message::link("set hardware address", libc::RTM_SETLINK, 0, index, 0);
    Ok(socket.request(vec![message.with(raw::IFLA_ADDRESS as u32, &bytes(first))])?)
}

fn bytes(address: IpAddr) -> [u8; 6] {
    let [a, b, c, d] = match address {
        IpAddr::V4(address) => address.octets(),
        // All of it counts: two that differ above have the same end as likely as not (FNV-1a).
        IpAddr::V6(address) => {
            let mix = |sum: u32, byte: u8| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193);
            address.octets().into_iter().fold(0x811c_9dc5, mix).to_be_bytes()
        }
    };
    [FIRST[0], FIRST[1], a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_the_first_address_of_version_4() {
        let of = |all: &[&str]| of(all.iter().map(|text| text.parse().unwrap()));
        assert_eq!(of(&["fd00::1:2", "10.89.0.255"]).as_deref(), Some("02:42:0a:59:00:ff"));
        assert_eq!(of(&[]), None);
        let all =
            ["fd00:77::1:0:5", "fd00:77::2:0:5", "fd00:77::1:0:6", "fd00:78::1:0:5"].map(|one| of(&[one]).unwrap());
        assert!(all.iter().all(|one| one.starts_with("02:42:")), "{all:?}");
        assert_eq!(all.iter().collect::<std::collections::HashSet<_>>().len(), 4, "{all:?}");
    }
}
