//! Queries over TCP: each message has its length before it (RFC 1035, section 4.2.2; RFC 7766).

use super::forward::{Transport, forward, random_id};
use super::message::{MAX_QUERY, Query, Reply};
use super::upstream::Upstream;
use super::{Limits, PAUSE};
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Forwards what arrives over connections to `listener`, so many at once. With this future the connections end, too.
pub async fn serve(listener: TcpListener, upstream: Arc<Upstream>, limits: &Limits) -> Infallible {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        while connections.len() >= limits.connections.max(1) {
            connections.join_next().await;
        }
        match listener.accept().await {
            Ok((client, address)) => {
                let (upstream, idle) = (upstream.clone(), limits.idle);
                connections.spawn(async move {
                    // Whatever was the matter with it, the connection is closed with it.
                    let _ = converse(client, address.ip(), &upstream, idle).await;
                });
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// One connection: query after query, each answered before the next is read, so there is one at a time in memory.
async fn converse(mut client: TcpStream, address: IpAddr, upstream: &Upstream, idle: Duration) -> io::Result<()> {
    loop {
        let message = timeout(idle, receive(&mut client, MAX_QUERY)).await??;
        let query = Query::parse(&message).ok_or(io::ErrorKind::InvalidData)?;
        let answer = forward(upstream, address, &query, Transport::Stream).await;
        timeout(idle, send(&mut client, &answer)).await??;
    }
}

/// Asks one server over a connection of its own.
pub async fn ask(server: SocketAddr, query: &Query) -> io::Result<Reply> {
    let id = random_id()?;
    let mut connection = TcpStream::connect(server).await?;
    send(&mut connection, &query.with_id(id)).await?;
    let message = receive(&mut connection, usize::from(u16::MAX)).await?;
    Ok(query.reply(id, &message))
}

async fn receive(connection: &mut TcpStream, limit: usize) -> io::Result<Vec<u8>> {
    let length = usize::from(connection.read_u16().await?);
    if length > limit {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    connection.read_exact(&mut message).await?;
    Ok(message)
}

/// Length and message go out together (RFC 7766, section 8).
async fn send(connection: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    connection.write_all(&[&length.to_be_bytes(), message].concat()).await
}
