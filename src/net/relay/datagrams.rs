//! Datagrams to a published port.

use super::clients::Inside;
use super::rules::{MARK, Rules};
use crate::net::port::Published;
use crate::sys::socket::{Way, answer, of_somebody_else, receive};
use crate::sys::watch::Watch;
use anyhow::{Context, Result};
use rustix::net::{SendFlags, SocketType};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout_at};

/// A flow in which nothing was sent for so long is over, as it would be for docker's proxy.
const IDLE: Duration = Duration::from_secs(90);

/// As many clients of one port at a time; datagrams of further ones are lost, as UDP may.
const FLOWS: usize = 512;

/// The largest datagram.
const LARGEST: usize = 64 * 1024;

/// One client's datagrams.
struct Flow {
    /// It has the client's address.
    socket: UdpSocket,
    last: Cell<Instant>,
}

type Flows = Rc<RefCell<HashMap<Way, Rc<Flow>>>>;

/// Serves one door for ever.
pub async fn serve(published: Published, socket: OwnedFd, inside: Inside, rules: Rc<Rules>) -> Result<()> {
    let outer = Rc::new(socket);
    let watch = Watch::readable(outer.try_clone()?)?;
    let flows: Flows = Rc::default();
    let buffer = RefCell::new(vec![0; LARGEST]);
    loop {
        let (length, way) = watch.next(|socket| receive(socket, &mut buffer.borrow_mut())).await?;
        let known = flows.borrow().get(&way).cloned();
        let flow = match known {
            Some(flow) => flow,
            None if flows.borrow().len() >= FLOWS => continue,
            None => match begin(way, published, &inside, &rules, &outer, &flows) {
                Ok(flow) => flow,
                // The client hears nothing, as from a host that is not there.
                Err(_) => continue,
            },
        };
        flow.last.set(Instant::now());
        // What the container does not take is lost. The event loop does not know yet that a new socket may send.
        let _ = rustix::net::send(&flow.socket, &buffer.borrow()[..length], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }
}

/// The first datagram of a client.
fn begin(
    way: Way,
    published: Published,
    inside: &Inside,
    rules: &Rc<Rules>,
    outer: &Rc<OwnedFd>,
    flows: &Flows,
) -> Result<Rc<Flow>> {
    let port = published.container_port;
    let (client, own) = inside.place(way.peer).context("no address")?;
    let socket = connected(client, SocketAddr::new(own, port))
        // Another flow of this client comes from the same port to another address of the host.
        .or_else(|_| connected(SocketAddr::new(client.ip(), 0), SocketAddr::new(own, port)))?;
    let socket = UdpSocket::from_std(socket.into())?;
    let lead = Lead::new(rules.clone(), socket.local_addr()?, port)?;
    let flow = Rc::new(Flow { socket, last: Cell::new(Instant::now()) });
    flows.borrow_mut().insert(way, flow.clone());
    let (back, outer, flows) = (flow.clone(), outer.clone(), flows.clone());
    spawn_local(async move {
        answers(&back, &outer, published.dual, way).await;
        flows.borrow_mut().remove(&way);
        drop(lead);
    });
    Ok(flow)
}

fn connected(client: SocketAddr, to: SocketAddr) -> Result<OwnedFd> {
    let socket = of_somebody_else(SocketType::DGRAM, client, MARK)?;
    rustix::net::connect(&socket, &to)?;
    Ok(socket)
}

/// Passes answers on until the flow is over.
async fn answers(flow: &Flow, outer: &OwnedFd, dual: bool, way: Way) {
    let mut buffer = vec![0; LARGEST];
    loop {
        match timeout_at(flow.last.get() + IDLE, flow.socket.recv(&mut buffer)).await {
            Ok(Ok(length)) => {
                flow.last.set(Instant::now());
                // What the host does not take is lost.
                let _ = answer(outer.as_fd(), dual, &buffer[..length], way);
            }
            // Nobody listens there.
            Ok(Err(_)) => return,
            Err(_) if flow.last.get() + IDLE <= Instant::now() => return,
            Err(_) => {}
        }
    }
}

/// A rule, as long as a flow needs it.
struct Lead {
    rules: Rc<Rules>,
    client: SocketAddr,
    port: u16,
}

impl Lead {
    fn new(rules: Rc<Rules>, client: SocketAddr, port: u16) -> Result<Lead> {
        rules.lead(client, port)?;
        Ok(Lead { rules, client, port })
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.rules.leave(self.client, self.port);
    }
}
