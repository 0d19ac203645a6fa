//! Names of containers on networks that containers share: whoever asks finds those of its own networks.

use super::message::{A, AAAA, NXDOMAIN, PTR, Query, Record, SERVFAIL};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// What is known at this moment. Changed by whoever connects containers, read with each query.
#[derive(Debug, Default)]
pub struct Names(Mutex<Arc<Known>>);

/// All networks and who is on them.
#[derive(Debug, Default)]
pub struct Known {
    /// By the address that it asks from.
    clients: HashMap<IpAddr, Arc<Client>>,
    /// The names on a network, in small letters, with their addresses.
    networks: HashMap<String, HashMap<String, Vec<IpAddr>>>,
    /// Of an address on a network the first name.
    addresses: HashMap<(String, IpAddr), String>,
}

/// Somebody who asks.
#[derive(Debug, Clone, Default)]
pub struct Client {
    /// The networks that it is on and that answer names.
    pub networks: Vec<String>,
    /// Other names are asked for elsewhere. If not, they are said to have failed, whereupon it asks its next server.
    pub forwards: bool,
}

impl Known {
    /// Adds a container, which asks from these addresses.
    pub fn client(&mut self, addresses: impl IntoIterator<Item = IpAddr>, client: Client) {
        let client = Arc::new(client);
        self.clients.extend(addresses.into_iter().map(|address| (address, client.clone())));
    }

    /// Adds names on a network, the first one first.
    pub fn names<'a>(&mut self, network: &str, names: impl IntoIterator<Item = &'a str>, addresses: &[IpAddr]) {
        let known = self.networks.entry(network.to_owned()).or_default();
        for name in names {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            for address in addresses {
                self.addresses.entry((network.to_owned(), *address)).or_insert_with(|| name.clone());
            }
            known.entry(name).or_default().extend(addresses);
        }
    }
}

impl Names {
    /// This is known from now on.
    pub fn set(&self, known: Known) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
    }

    /// The answer; `None` if somebody else is to be asked.
    pub fn answer(&self, client: IpAddr, query: &Query) -> Option<Vec<u8>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Whoever it is that asks: nobody who is connected.
        let Some(asking) = known.clients.get(&client.to_canonical()) else { return Some(query.failure(SERVFAIL)) };
        let elsewhere = || if asking.forwards { None } else { Some(query.failure(SERVFAIL)) };
        let Some((name, kind)) = query.question() else { return elsewhere() };
        if kind == PTR {
            let address = address_of(&name);
            let name_of =
                |address| asking.networks.iter().find_map(|network| known.addresses.get(&(network.clone(), address)));
            return match address.map(|address| (is_private(address), name_of(address))) {
                Some((_, Some(name))) => Some(query.answer(&[Record::Name(name.clone())])),
                // Nobody out there knows better.
                Some((true, None)) => Some(query.failure(NXDOMAIN)),
                _ => elsewhere(),
            };
        }
        let mut found: Vec<IpAddr> = Vec::new();
        let mut is_known = false;
        for addresses in asking.networks.iter().filter_map(|network| known.networks.get(network)?.get(&name)) {
            is_known = true;
            found.extend(
                addresses
                    .iter()
                    .filter(|address| matches!((address, kind), (IpAddr::V4(_), A) | (IpAddr::V6(_), AAAA))),
            );
        }
        if !is_known {
            return elsewhere();
        }
        if !found.is_empty() {
            // Each time another one is the first: clients take that.
            let turn = query.turn() % found.len();
            found.rotate_left(turn);
        }
        Some(query.answer(&found.into_iter().map(Record::Address).collect::<Vec<_>>()))
    }
}

/// The address in a name such as `3.2.1.10.in-addr.arpa` (RFC 1035, section 3.5) or one of `ip6.arpa` (RFC 3596, section 2.5).
fn address_of(name: &str) -> Option<IpAddr> {
    if let Some(name) = name.strip_suffix(".in-addr.arpa") {
        let octets: Vec<u8> = name.rsplit('.').map(|octet| octet.parse().ok()).collect::<Option<_>>()?;
        return Some(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).into());
    }
    let digits: Vec<&str> = name.strip_suffix(".ip6.arpa")?.rsplit('.').collect();
    let is_digit = |digit: &&str| digit.len() == 1;
    (digits.len() == 32 && digits.iter().all(is_digit)).then_some(())?;
    Some(Ipv6Addr::from(u128::from_str_radix(&digits.concat(), 16).ok()?).into())
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private(),
        IpAddr::V6(address) => address.segments()[0] & 0xfe00 == 0xfc00,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, kind: u16) -> Query {
        let mut bytes = vec![1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            bytes.push(label.len() as u8);
            bytes.extend(label.bytes());
        }
        bytes.push(0);
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 1]);
        Query::parse(&bytes).unwrap()
    }

    fn names() -> Names {
        let mut known = Known::default();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let on = |networks: &[&str], forwards| Client {
            networks: networks.iter().map(|name| (*name).to_owned()).collect(),
            forwards,
        };
        known.client([ip("10.1.0.2"), ip("10.2.0.2")], on(&["front", "back"], true));
        known.client([ip("10.2.0.3"), ip("fd00::3")], on(&["back"], false));
        known.names("front", ["web", "www"], &[ip("10.1.0.2")]);
        known.names("back", ["web"], &[ip("10.2.0.2")]);
        known.names("back", ["db"], &[ip("10.2.0.3"), ip("fd00::3")]);
        let names = Names::default();
        names.set(known);
        names
    }

    /// The response code and the number of records, or nothing if somebody else is asked.
    fn said(client: &str, name: &str, kind: u16) -> Option<(u8, u8)> {
        let answer = names().answer(client.parse().unwrap(), &query(name, kind))?;
        Some((answer[3] & 15, answer[7]))
    }

    #[test]
    fn each_finds_those_of_its_networks() {
        for (client, name, kind, expected) in [
            ("10.1.0.2", "db", A, Some((0, 1))),
            ("10.2.0.2", "DB", AAAA, Some((0, 1))),
            ("10.1.0.2", "web", A, Some((0, 2))),
            ("10.1.0.2", "web", AAAA, Some((0, 0))),
            ("10.1.0.2", "example.org", A, None),
            ("fd00::3", "db", 16, Some((0, 0))),
            ("10.2.0.3", "web", A, Some((0, 1))),
            ("::ffff:10.2.0.3", "db", A, Some((0, 1))),
            ("10.2.0.3", "www", A, Some((SERVFAIL, 0))),
            ("10.2.0.3", "example.org", A, Some((SERVFAIL, 0))),
            ("10.9.9.9", "db", A, Some((SERVFAIL, 0))),
        ] {
            assert_eq!(said(client, name, kind), expected, "{client} {name} {kind}");
        }
    }

    #[test]
    fn names_of_addresses() {
        for (client, name, expected) in [
            ("10.1.0.2", "3.0.2.10.in-addr.arpa", Some((0, 1))),
            ("10.1.0.2", "9.0.2.10.in-addr.arpa", Some((NXDOMAIN, 0))),
            ("10.1.0.2", "9.9.9.9.in-addr.arpa", None),
            ("10.2.0.3", "2.0.1.10.in-addr.arpa", Some((NXDOMAIN, 0))),
            ("10.2.0.3", "9.9.9.9.in-addr.arpa", Some((SERVFAIL, 0))),
        ] {
            assert_eq!(said(client, name, PTR), expected, "{client} {name}");
        }
        let six = format!("3.{}0.0.d.f.ip6.arpa", "0.".repeat(27));
        assert_eq!(address_of(&six), Some("fd00::3".parse().unwrap()));
        assert_eq!(said("10.1.0.2", &six, PTR), Some((0, 1)));
        for name in ["in-addr.arpa", "1.2.3.in-addr.arpa", "256.1.1.1.in-addr.arpa", "1.ip6.arpa", "a"] {
            assert_eq!(address_of(name), None, "{name}");
        }
    }
}
