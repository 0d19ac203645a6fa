//! Answers the container's queries for names with what the host's nameservers say.
//!
//! The container's resolv.conf names an address of its own loopback interface. Its first process binds port 53 there
//! and hands the sockets to the supervisor, which forwards: so it is the host's resolver that is asked at each moment,
//! its stub 127.0.0.53 too, and a change of the host's network reaches containers that run.
//!
//! Runs in: the host's namespaces, the caller, a thread of the supervisor.
//!
//! | file | what it is |
//! | --- | --- |
//! | `datagram.rs`, `stream.rs` | UDP and TCP: the container's side, and asking a server |
//! | `forward.rs` | which server is asked when, and what is passed on |
//! | `upstream.rs` | the servers at this moment |
//! | `resolv_conf.rs` | resolv.conf(5), the host's and the container's |
//! | `names.rs` | names of containers |
//! | `message.rs` | ids, questions, short answers |
//!
//! What a container can do is bounded: so many queries and connections at once, each with at most one descriptor
//! towards a server; what is more is dropped or waits in the kernel.

mod datagram;
mod forward;
pub mod message;
pub mod names;
pub mod resolv_conf;
mod stream;
mod upstream;

#[cfg(test)]
mod tests;

pub use upstream::{Servers, Upstream};

use anyhow::{Context, Result};
use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UdpSocket};

/// What one container may use at once.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Queries that came as datagrams and have no answer yet; each has one descriptor. More are dropped.
    pub queries: usize,
    /// Connections; each has two descriptors while a server is asked. More wait to be accepted.
    pub connections: usize,
    /// How long a connection may take for a query to arrive, and to take an answer.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { queries: 256, connections: 32, idle: Duration::from_secs(10) }
    }
}

/// After an error that is not about one query, for want of descriptors or memory for example, nothing is asked of the
/// kernel for so long.
const PAUSE: Duration = Duration::from_millis(100);

/// Forwards what arrives at `udp`, a bound socket, and `tcp`, a listening one, until this future is dropped. Needs a
/// tokio runtime with its drivers for i/o and time. The only errors are about these two sockets, at the beginning.
pub async fn serve(udp: OwnedFd, tcp: OwnedFd, upstream: Upstream, limits: Limits) -> Result<Infallible> {
    let udp = std::net::UdpSocket::from(udp);
    let tcp = std::net::TcpListener::from(tcp);
    let udp = udp.set_nonblocking(true).and_then(|()| UdpSocket::from_std(udp)).context("DNS socket for UDP")?;
    let tcp = tcp.set_nonblocking(true).and_then(|()| TcpListener::from_std(tcp)).context("DNS socket for TCP")?;
    let upstream = Arc::new(upstream);
    tokio::select! {
        never = datagram::serve(udp, upstream.clone(), limits.queries) => match never {},
        never = stream::serve(tcp, upstream, &limits) => match never {},
    }
}
