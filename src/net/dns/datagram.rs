//! Queries over UDP.

use super::PAUSE;
use super::forward::{Transport, forward, random_id};
use super::message::{MAX_QUERY, Query, Reply};
use super::upstream::Upstream;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// The longest datagram.
const MAX_ANSWER: usize = 65535;

/// Forwards what arrives at `socket`, at most `limit` queries at once. With this future its queries end, too.
pub async fn serve(socket: UdpSocket, upstream: Arc<Upstream>, limit: usize) -> Infallible {
    let socket = Arc::new(socket);
    let mut queries = JoinSet::new();
    // One byte more than a query may have: longer ones are seen to be.
    let mut buffer = vec![0; MAX_QUERY + 1];
    loop {
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(_) => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        while queries.try_join_next().is_some() {}
        if queries.len() >= limit {
            continue;
        }
        let Some(query) = buffer.get(..length).and_then(Query::parse) else { continue };
        let (socket, upstream) = (socket.clone(), upstream.clone());
        queries.spawn(async move {
            let answer = forward(&upstream, client.ip(), &query, Transport::Datagram).await;
            // A client that is gone is no error of ours.
            let _ = socket.send_to(&answer, client).await;
        });
    }
}

/// Asks one server, from a port that nobody can guess, and waits for its answer for ever.
pub async fn ask(server: SocketAddr, query: &Query) -> io::Result<Reply> {
    let id = random_id()?;
    let socket = connected(server)?;
    socket.send(&query.with_id(id)).await?;
    loop {
        // A port where nobody listens is an error of the socket, and nothing to be read.
        let ready = socket.ready(Interest::READABLE | Interest::ERROR).await?;
        if !ready.is_readable() {
            return Err(socket.take_error()?.unwrap_or(io::ErrorKind::ConnectionRefused.into()));
        }
        match take(&socket, query, id) {
            Ok(Reply::Foreign) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
    }
}

/// The buffer is there only while there is something to put in.
fn take(socket: &UdpSocket, query: &Query, id: [u8; 2]) -> io::Result<Reply> {
    let mut buffer = vec![0; MAX_ANSWER];
    let length = socket.try_recv(&mut buffer)?;
    Ok(query.reply(id, buffer.get(..length).unwrap_or_default()))
}

/// A socket that takes datagrams of `server` only, with a port of the kernel's choice.
fn connected(server: SocketAddr) -> io::Result<UdpSocket> {
    let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    connect(&socket, &server)?;
    UdpSocket::from_std(socket.into())
}
