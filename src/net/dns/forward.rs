//! One query: which server is asked when, and what the client gets.

use super::message::{Query, Reply, SERVFAIL};
use super::upstream::Upstream;
use super::{datagram, stream};
use std::io;
use std::net::{IpAddr, SocketAddr};

/// How a server is asked: as the client asked.
#[derive(Debug, Clone, Copy)]
pub enum Transport {
    Datagram,
    Stream,
}

impl Transport {
    /// One answer or refusal of one server, however long it takes.
    async fn ask(self, server: SocketAddr, query: &Query) -> io::Result<Reply> {
        match self {
            Transport::Datagram => datagram::ask(server, query).await,
            Transport::Stream => stream::ask(server, query).await,
        }
    }
}

/// The answer that the client gets, always one.
///
/// The servers are asked in turn, all of them within the time after which the client asks again: a first one that is
/// dead must not use that up. Who refuses is like one who is silent, but if others do no better, the refusal is passed
/// on. If nobody says anything, that is SERVFAIL.
pub async fn forward(upstream: &Upstream, client: IpAddr, query: &Query, transport: Transport) -> Vec<u8> {
    if let Some(answer) = upstream.known(client, query) {
        return answer;
    }
    let mut attempt = 0;
    loop {
        // Looked up anew: the network may be another one by now.
        let servers = upstream.now();
        let addresses = upstream.addresses(&servers);
        let share = servers.timeout / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        let mut refusal = None;
        for server in addresses {
            match tokio::time::timeout(share, transport.ask(server, query)).await {
                Ok(Ok(Reply::Answer(answer))) => return answer,
                Ok(Ok(Reply::Refusal(answer))) => refusal = Some(answer),
                Ok(Ok(Reply::Foreign) | Err(_)) | Err(_) => {}
            }
        }
        attempt += 1;
        match refusal {
            Some(answer) => return answer,
            None if attempt >= servers.attempts => return query.failure(SERVFAIL),
            None => {}
        }
    }
}

/// An id that nobody can guess.
pub fn random_id() -> io::Result<[u8; 2]> {
    let mut id = [0; 2];
    // Two bytes come whole or not at all.
    rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())?;
    Ok(id)
}
