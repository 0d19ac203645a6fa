//! How answers to clients come back to this process, though the clients' addresses are somewhere else.
//!
//! A table of its own says that every address is here (ip-route(8), type local). Packets of connections come to it by their
//! mark, which the container's end takes over from the first packet (`tcp_fwmark_accept` and `fwmark_reflect`,
//! ip-sysctl.rst, which are set with the container's other parameters); datagrams have
//! nothing to take over, so that each client needs a rule (`ipproto` and `sport` since Linux 4.17).

use super::clients::Inside;
use crate::sys::loopback;
use crate::sys::netlink::{self, Message, Socket, family};
use anyhow::Result;
use linux_raw_sys::netlink as raw;
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

/// The mark of this process's packets, and the number of its table: "rbox".
pub const MARK: u32 = 0x72_62_6f_78;

/// Before the table `main` (32766), after `local` (0).
const PRIORITY: u32 = 100;

/// The rules of this network namespace.
#[derive(Debug)]
pub struct Rules {
    socket: Socket,
    /// For how many flows there is a rule for this client and the container's port.
    clients: RefCell<HashMap<(SocketAddr, u16), usize>>,
}

impl Rules {
    /// Makes the table and the rule for marked packets.
    pub fn set_up(inside: &Inside) -> Result<Rules> {
        let socket = Socket::open()?;
        // A relay that was killed has left its own.
        let requests = inside.addresses().flat_map(|own| [everything_is_here(own), by_mark(own)]).collect();
        socket.request_unless(requests, rustix::io::Errno::EXIST)?;
        Ok(Rules { socket, clients: RefCell::default() })
    }

    /// Leads datagrams from the container's port to this client here.
    pub fn lead(&self, client: SocketAddr, port: u16) -> Result<()> {
        let mut clients = self.clients.borrow_mut();
        let flows = clients.entry((client, port)).or_default();
        if *flows == 0 {
            let rule = by_client(libc::RTM_NEWRULE, client, port);
            if let Err(error) = self.socket.request_unless(vec![rule], rustix::io::Errno::EXIST) {
                clients.remove(&(client, port));
                return Err(error.into());
            }
        }
        *flows += 1;
        Ok(())
    }

    /// No longer, if it was the last flow.
    pub fn leave(&self, client: SocketAddr, port: u16) {
        let mut clients = self.clients.borrow_mut();
        let Some(flows) = clients.get_mut(&(client, port)) else { return };
        *flows -= 1;
        if *flows == 0 {
            clients.remove(&(client, port));
            // It harms no more than this port of this client if it stays.
            let _ = self.socket.request(vec![by_client(libc::RTM_DELRULE, client, port)]);
        }
    }
}

/// Without a source of its own, what is sent to a client would come from the client.
fn everything_is_here(own: IpAddr) -> Message {
    let (scope, kind) = (raw::rt_scope_t::RT_SCOPE_HOST as u32, raw::RTN_LOCAL as u32);
    Message::route("add local route", family(own), 0, kind, scope, 0)
        .number(raw::rtattr_type_t::RTA_TABLE as u32, MARK)
        .number(raw::rtattr_type_t::RTA_OIF as u32, loopback::INDEX)
        .address(raw::rtattr_type_t::RTA_PREFSRC as u32, own)
}

fn by_mark(own: IpAddr) -> Message {
    rule(libc::RTM_NEWRULE, own, 0).number(raw::FRA_FWMARK as u32, MARK)
}

fn by_client(verb: u16, client: SocketAddr, port: u16) -> Message {
    // Both ends of a range.
    let range = |port: u16| [port.to_ne_bytes(), port.to_ne_bytes()].concat();
    rule(verb, client.ip(), if client.is_ipv4() { 32 } else { 128 })
        .address(raw::FRA_DST as u32, client.ip())
        .with(raw::FRA_IP_PROTO as u32, &[libc::IPPROTO_UDP as u8])
        .with(raw::FRA_SPORT_RANGE as u32, &range(port))
        .with(raw::FRA_DPORT_RANGE as u32, &range(client.port()))
}

/// To the table, for a destination of the family of `like`.
fn rule(verb: u16, like: IpAddr, length: u8) -> Message {
    Message::rule(verb, family(like), (length, 0), netlink::TO_TABLE)
        .number(raw::FRA_TABLE as u32, MARK)
        .number(raw::FRA_PRIORITY as u32, PRIORITY)
}
