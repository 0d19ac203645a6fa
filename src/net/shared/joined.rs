//! Containers that are connected, and what others may know of them.
//!
//! Runs in: the host's namespaces, the keeper.

use super::message::{self, Attached, Connected, Container, Member, Work};
use crate::net::dns::names::{Client, Known};
use std::os::fd::OwnedFd;

/// One of them, or somebody who asks.
pub struct Connection {
    /// Where it is heard.
    pub socket: OwnedFd,
    /// For the next request.
    pub members: Vec<(Member, OwnedFd)>,
    /// Its container, once that is connected.
    pub container: Option<Joined>,
    /// The container has ended, and who has run it waits for the rest.
    pub is_leaving: bool,
}

/// A container that is connected.
pub struct Joined {
    /// Who it is.
    pub who: Container,
    /// Its network namespace.
    pub namespace: OwnedFd,
    /// Its networks.
    pub parts: Vec<Part>,
    /// How many networks it was ever connected to.
    pub count: u32,
}

/// To one network.
pub struct Part {
    /// How it was made.
    pub work: Work,
    /// What came of it.
    pub attached: Attached,
    /// On the network's file.
    pub _lock: OwnedFd,
}

/// Those after the first so many, as many as go into a message: at least one, if there are more.
pub fn list(all: &[Connection], after: usize) -> Vec<Connected> {
    let joined = all.iter().filter_map(|connection| connection.container.as_ref());
    let mut room = message::MAX / 2;
    let mut some: Vec<Connected> = Vec::new();
    for joined in joined.skip(after) {
        let to = joined.parts.iter().map(|part| part.attached.clone()).collect();
        let connected = Connected { container: joined.who.clone(), to };
        let length = serde_json::to_vec(&connected).map_or(0, |text| text.len());
        if length > room && !some.is_empty() {
            break;
        }
        room = room.saturating_sub(length);
        some.push(connected);
    }
    some
}

/// Who is found by which name, and by whom.
pub fn names(all: &[Connection]) -> Known {
    let mut known = Known::default();
    for joined in all.iter().filter_map(|connection| connection.container.as_ref()) {
        let has_way_out = joined.parts.iter().any(|part| !part.work.network.internal);
        let answering = joined.parts.iter().map(|part| &part.work).filter(|work| work.network.dns_enabled);
        let client = Client {
            networks: answering.clone().map(|work| work.network.id.clone()).collect(),
            forwards: has_way_out && joined.who.asks_host,
        };
        known.client(joined.parts.iter().flat_map(|part| part.work.addresses.clone()), client);
        for work in answering {
            let names = [&joined.who.name].into_iter().chain(&work.aliases).map(String::as_str);
            known.names(&work.network.id, names, &work.addresses);
        }
    }
    known
}
