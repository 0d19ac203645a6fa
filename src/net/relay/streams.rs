//! Connections to a published port.

use super::End;
use super::clients::Inside;
use super::rules::MARK;
use crate::net::port::Published;
use crate::sys::socket::{break_on_close, of_somebody_else};
use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::net::SocketType;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncWriteExt, BufReader, copy_buf};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use tokio::time::sleep;

/// What is on its way in one direction, bytes.
const BUFFER: usize = 16 * 1024;

/// As many connections of one port at a time; others wait to be let in.
const CONNECTIONS: usize = 4096;

/// How long nobody is let in when there are no descriptors left for them.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves one door for ever. Connections that were let in go on when this is dropped, each until `end`, or a little longer:
/// what the container has said the client still gets.
pub async fn serve(published: Published, socket: OwnedFd, inside: Inside, end: End) -> Result<()> {
    let listener = TcpListener::from_std(socket.into()).context("event loop")?;
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = places.clone().acquire_owned().await?;
        match listener.accept().await {
            Ok((outer, client)) => {
                let (inside, end) = (inside.clone(), end.clone());
                spawn_local(async move {
                    let _place = place;
                    let passed = pass(outer, client, published.container_port, &inside, end).await;
                    // The client has seen it: there is nobody else to tell.
                    drop(passed);
                });
            }
            // One that went away is no reason to wait, but a lack of descriptors or memory is.
            Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::CONNABORTED)) => {}
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// One connection, to its end.
async fn pass(mut outer: TcpStream, client: SocketAddr, port: u16, inside: &Inside, mut end: End) -> Result<()> {
    // Until all went well the client learns that it did not.
    break_on_close(&outer)?;
    // Clients that are gone without a word are noticed.
    rustix::net::sockopt::set_socket_keepalive(&outer, true).map_err(std::io::Error::from)?;
    let (client, own) = inside.place(client).context("no address")?;
    let to = SocketAddr::new(own, port);
    let mut inner = match connect(client, to).await {
        // Another connection of this client comes from the same port to another of the host's.
        Err(error) if is_taken(&error) => connect(SocketAddr::new(client.ip(), 0), to).await?,
        connected => connected?,
    };
    break_on_close(&inner)?;
    outer.set_nodelay(true)?;
    inner.set_nodelay(true)?;
    pass_bytes(&mut outer, &mut inner, &mut end).await?;
    // Whoever is still there has no more to say.
    close_well(&outer)?;
    close_well(&inner)
}

/// Until both sides have said that they have no more to say; at the end until the container's has.
async fn pass_bytes(outer: &mut TcpStream, inner: &mut TcpStream, end: &mut End) -> std::io::Result<()> {
    let (from_client, to_client) = outer.split();
    let (from_inside, to_inside) = inner.split();
    let mut outwards = pin!(copy(from_inside, to_client));
    let mut inwards = pin!(copy(from_client, to_inside));
    let mut listens = true;
    loop {
        tokio::select! {
            said = &mut outwards => {
                said?;
                break;
            }
            heard = &mut inwards, if listens => {
                heard?;
                listens = false;
            }
            () = end.come() => return outwards.await,
        }
    }
    tokio::select! {
        heard = inwards, if listens => heard,
        () = end.come() => Ok(()),
        else => Ok(()),
    }
}

async fn copy(from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> std::io::Result<()> {
    copy_buf(&mut BufReader::with_capacity(BUFFER, from), &mut to).await?;
    to.shutdown().await
}

async fn connect(client: SocketAddr, to: SocketAddr) -> Result<TcpStream> {
    let socket = of_somebody_else(SocketType::STREAM, client, MARK)?;
    Ok(TcpSocket::from_std_stream(socket.into()).connect(to).await?)
}

fn is_taken(error: &anyhow::Error) -> bool {
    matches!(crate::sys::errno(error), Some(Errno::ADDRINUSE | Errno::ADDRNOTAVAIL))
}

fn close_well(stream: &TcpStream) -> Result<()> {
    Ok(rustix::net::sockopt::set_socket_linger(stream, None).map_err(std::io::Error::from)?)
}
