//! Addresses that are given out. They are known here alone, as long as the keeper lives.

use super::definition::{Lease, Pool};
use super::subnet::Subnet;
use anyhow::{Context, Result, ensure};
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Those of all networks: no two have an address in common.
#[derive(Debug, Default)]
pub struct Leases {
    taken: HashSet<IpAddr>,
    /// The last one given out to somebody who did not ask for one. The next follows it, so that an address that has become
    /// free is not soon somebody else's.
    last: HashMap<String, IpAddr>,
}

impl Leases {
    /// Gives one out.
    ///
    /// # Errors
    /// The wanted one is not of the network or somebody else's; all are.
    pub fn take(&mut self, pool: &Pool, wanted: Option<IpAddr>) -> Result<IpAddr> {
        let Pool { subnet, gateway, .. } = pool;
        if let Some(address) = wanted {
            ensure!(subnet.has_host(address), "requested ip address {address} is not in subnet {subnet}");
            ensure!(address != *gateway, "requested ip address {address} is the gateway's");
            ensure!(self.taken.insert(address), "requested ip address {address} is already allocated");
            return Ok(address);
        }
        let Lease { start_ip: first, end_ip: end } =
            pool.lease_range.unwrap_or(Lease { start_ip: subnet.first_host(), end_ip: subnet.last_host() });
        let after = |address| if address == end { first } else { next(address).unwrap_or(first) };
        // It may be that of an earlier network with another range.
        let last = self.last.get(&subnet.to_string()).copied().filter(|last| (first..=end).contains(last));
        let start = last.map_or(first, after);
        let mut candidate = start;
        loop {
            if self.is_free(candidate, subnet, *gateway) {
                self.taken.insert(candidate);
                self.last.insert(subnet.to_string(), candidate);
                return Ok(candidate);
            }
            candidate = after(candidate);
            (candidate != start).then_some(()).with_context(|| format!("no available addresses in subnet {subnet}"))?;
        }
    }

    fn is_free(&self, address: IpAddr, subnet: &Subnet, gateway: IpAddr) -> bool {
        address != gateway && subnet.has_host(address) && !self.taken.contains(&address)
    }

    /// Takes one back.
    pub fn give_back(&mut self, address: IpAddr) {
        self.taken.remove(&address);
    }
}

fn next(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => u32::from(address).checked_add(1).map(|next| Ipv4Addr::from(next).into()),
        IpAddr::V6(address) => u128::from(address).checked_add(1).map(|next| Ipv6Addr::from(next).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(subnet: &str, range: Option<(&str, &str)>) -> Pool {
        let subnet: Subnet = subnet.parse().unwrap();
        let ip = |text: &str| text.parse().unwrap();
        let lease_range = range.map(|(first, last)| Lease { start_ip: ip(first), end_ip: ip(last) });
        Pool { subnet, gateway: subnet.first_host(), lease_range }
    }

    #[test]
    fn one_after_the_other() {
        let (mut leases, pool) = (Leases::default(), pool("10.89.0.0/29", None));
        let mut take = |wanted: Option<&str>| {
            leases.take(&pool, wanted.map(|text| text.parse().unwrap())).map(|address| address.to_string())
        };
        assert_eq!(take(None).unwrap(), "10.89.0.2");
        assert_eq!(take(Some("10.89.0.3")).unwrap(), "10.89.0.3");
        assert_eq!(take(None).unwrap(), "10.89.0.4");
        for (wanted, why) in [("10.89.0.3", "already"), ("10.89.0.1", "gateway"), ("10.89.0.8", "not in subnet")] {
            assert!(take(Some(wanted)).unwrap_err().to_string().contains(why), "{wanted}");
        }
        assert_eq!((take(None).unwrap(), take(None).unwrap()), ("10.89.0.5".to_owned(), "10.89.0.6".to_owned()));
        assert!(take(None).unwrap_err().to_string().contains("no available addresses"));
        leases.give_back("10.89.0.2".parse().unwrap());
        assert_eq!(leases.take(&pool, None).unwrap().to_string(), "10.89.0.2");
    }

    #[test]
    fn the_last_address_of_an_earlier_network_does_not_count() {
        let mut leases = Leases::default();
        leases.take(&pool("10.1.0.0/24", None), None).unwrap();
        let next = pool("10.1.0.0/24", Some(("10.1.0.200", "10.1.0.201")));
        let mut take = || leases.take(&next, None).map(|address| address.to_string()).ok();
        assert_eq!([take(), take(), take()], [Some("10.1.0.200".to_owned()), Some("10.1.0.201".to_owned()), None]);
    }

    #[test]
    fn a_range_of_the_network() {
        let mut leases = Leases::default();
        let six = pool("fd00:1::/64", Some(("fd00:1::ff", "fd00:1::100")));
        let mut take = || leases.take(&six, None).map(|address| address.to_string()).ok();
        assert_eq!([take(), take(), take()], [Some("fd00:1::ff".to_owned()), Some("fd00:1::100".to_owned()), None]);
        let one = pool("10.1.2.3/32", None);
        assert!(Leases::default().take(&one, None).is_err());
    }
}
