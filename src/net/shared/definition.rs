//! What is written down of a network: podman's file of it, which netavark reads (containers/netavark,
//! `src/network/types.rs`; the oldest that is known to be packaged is 1.4.0).

use super::subnet::Subnet;
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// 64 hexadecimal digits.
    pub id: String,
    /// Always `bridge`.
    pub driver: String,
    /// The bridge, in the namespace of networks: `br-` and twelve digits of the id, as docker calls it.
    pub network_interface: String,
    /// When it was made.
    pub created: Time,
    /// At most one of each family.
    pub subnets: Vec<Pool>,
    /// One of them is of IPv6.
    pub ipv6_enabled: bool,
    /// No way out of it.
    pub internal: bool,
    /// Names of containers are answered.
    pub dns_enabled: bool,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Options of the driver: `mtu`, `isolate`.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// Who gives out addresses: `driver` is `host-local`, which for netavark means the engine.
    pub ipam_options: BTreeMap<String, String>,
}

/// The addresses of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// All of them.
    pub subnet: Subnet,
    /// The bridge's own.
    pub gateway: IpAddr,
    /// Those that containers get which ask for none; without it all that machines can have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_range: Option<Lease>,
}

/// A range of addresses, both ends in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The lowest.
    pub start_ip: IpAddr,
    /// The highest.
    pub end_ip: IpAddr,
}
