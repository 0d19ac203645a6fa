//! Which address a client has inside, and which of the container's it reaches.

use super::Places;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The container, as clients see it.
#[derive(Debug, Clone)]
pub struct Inside(Places);

impl From<Places> for Inside {
    fn from(places: Places) -> Inside {
        Inside(places)
    }
}

impl Inside {
    /// The client's address inside, and the container's of the same family; `None` if the container has no address.
    ///
    /// The host's own loopback address would be the container's inside, and be trusted there (CVE-2021-20199); of a
    /// link-local one nobody inside knows the link. These clients come from the other end of the container's network, as
    /// do those of a family that the container does not have.
    pub fn place(&self, client: SocketAddr) -> Option<(SocketAddr, IpAddr)> {
        let Places { v4, v6 } = &self.0;
        let port = client.port();
        let of_v4 = |client: Option<Ipv4Addr>| {
            v4.map(|(own, other)| (SocketAddr::new(client.unwrap_or(other).into(), port), own.into()))
        };
        let of_v6 = |client: Option<Ipv6Addr>| {
            v6.map(|(own, other)| (SocketAddr::new(client.unwrap_or(other).into(), port), own.into()))
        };
        match client.ip().to_canonical() {
            IpAddr::V4(address) => {
                let has_meaning = !address.is_loopback() && !address.is_link_local() && !address.is_unspecified();
                of_v4(has_meaning.then_some(address)).or_else(|| of_v6(None))
            }
            IpAddr::V6(address) => {
                let link_local = address.segments()[0] & 0xffc0 == 0xfe80;
                let has_meaning = !address.is_loopback() && !link_local && !address.is_unspecified();
                of_v6(has_meaning.then_some(address)).or_else(|| of_v4(None))
            }
        }
    }

    /// The container's own addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.0.v4.map(|(own, _)| own.into());
        v4.into_iter().chain(self.0.v6.map(|(own, _)| own.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside(v4: bool, v6: bool) -> Inside {
        Inside(Places {
            v4: v4.then_some(([10, 0, 2, 100].into(), [10, 0, 2, 2].into())),
            v6: v6.then(|| ("fd00::100".parse().unwrap(), "fd00::2".parse().unwrap())),
        })
    }

    fn placed(inside: &Inside, client: &str) -> (String, String) {
        let (client, own) = inside.place(client.parse().unwrap()).unwrap();
        (client.to_string(), own.to_string())
    }

    #[test]
    fn clients_have_their_own_addresses() {
        let both = inside(true, true);
        for (client, own) in [("192.0.2.3:5", "10.0.2.100"), ("[2001:db8::3]:5", "fd00::100")] {
            assert_eq!(placed(&both, client), (client.to_owned(), own.to_owned()));
        }
        assert_eq!(placed(&both, "[::ffff:192.0.2.3]:5").0, "192.0.2.3:5");
    }

    #[test]
    fn nobody_is_the_containers_own_loopback() {
        let both = inside(true, true);
        for client in ["127.0.0.1:5", "127.9.9.9:5", "169.254.1.1:5", "[::ffff:127.0.0.1]:5"] {
            assert_eq!(placed(&both, client), ("10.0.2.2:5".to_owned(), "10.0.2.100".to_owned()), "{client}");
        }
        for client in ["[::1]:5", "[fe80::1%3]:5"] {
            assert_eq!(placed(&both, client), ("[fd00::2]:5".to_owned(), "fd00::100".to_owned()), "{client}");
        }
    }

    #[test]
    fn a_family_that_the_container_lacks() {
        assert_eq!(placed(&inside(true, false), "[2001:db8::3]:5").0, "10.0.2.2:5");
        assert_eq!(placed(&inside(false, true), "192.0.2.3:5").0, "[fd00::2]:5");
        assert_eq!(inside(false, false).place("192.0.2.3:5".parse().unwrap()), None);
    }
}
