//! What a container cannot send to its helper: packets for a loopback address. Helpers take those for the host's own.
//!
//! A socket that is bound to an interface (SO_BINDTODEVICE, which everybody may since Linux 5.7) sends whatever it is told to
//! over that. So loopback addresses are local on every interface. Frames that a container makes itself (packet(7), with
//! CAP_NET_RAW) ask no routes: a filter at the tap drops them.

use crate::sys::netlink::{self, Message, family};
use linux_raw_sys::netlink as raw;
use std::net::{IpAddr, Ipv6Addr};

/// 127.0.0.0/8 and ::1 are this namespace's on an interface, too. Each interface needs a metric of its own.
pub fn loopback_is_here(interface: u32, metric: u32, v6: bool) -> Vec<Message> {
    let v4 = (IpAddr::from([127, 0, 0, 0]), 8);
    let v6 = v6.then_some((Ipv6Addr::LOCALHOST.into(), 128));
    let here = |(address, length)| {
        local(address, length, raw::RTN_LOCAL as u32)
            .number(raw::rtattr_type_t::RTA_OIF as u32, interface)
            .number(raw::rtattr_type_t::RTA_PRIORITY as u32, metric)
    };
    [v4].into_iter().chain(v6).map(here).collect()
}

/// The address :: stands for nobody.
pub fn nobody_is_unspecified() -> Message {
    local(Ipv6Addr::UNSPECIFIED.into(), 128, raw::RTN_UNREACHABLE as u32)
}

/// A route in the table of local addresses.
fn local(address: IpAddr, length: u8, kind: u32) -> Message {
    let (scope, table) = (raw::rt_scope_t::RT_SCOPE_HOST as u32, raw::rt_class_t::RT_TABLE_LOCAL as u32);
    Message::route("close loopback", family(address), length, kind, scope, table)
        .address(raw::rtattr_type_t::RTA_DST as u32, address)
}

/// TC_H_CLSACT and the egress of that (pkt_sched.h).
const CLSACT: u32 = 0xffff_fff1;
const EGRESS: u32 = 0xffff_fff3;
/// The handle that a clsact qdisc has.
const HANDLE: u32 = 0xffff_0000;
/// TCA_BPF_OPS_LEN, TCA_BPF_OPS and TCA_BPF_FLAGS, and the flag that says that the program's result is what is done
/// (pkt_cls.h).
const OPS_LEN: u32 = 4;
const OPS: u32 = 5;
const FLAGS: u32 = 8;
const DIRECT: u32 = 1;

/// Drops frames for loopback addresses that go out over an interface: a classic BPF program at its egress (tc-bpf(8)).
pub fn filter(interface: u32) -> Vec<Message> {
    // The first priority, and every protocol in the network's order.
    let info = 1 << 16 | u32::from((libc::ETH_P_ALL as u16).to_be());
    let program = program();
    let length = (program.len() / 8) as u16;
    vec![
        Message::new("add clsact", libc::RTM_NEWQDISC, netlink::NEW, &header(interface, HANDLE, CLSACT, 0))
            .name(raw::TCA_KIND as u32, "clsact"),
        Message::new("add filter", libc::RTM_NEWTFILTER, netlink::NEW, &header(interface, 0, EGRESS, info))
            .name(raw::TCA_KIND as u32, "bpf")
            .nest(raw::TCA_OPTIONS as u32, |options| {
                options.with(OPS_LEN, &length.to_ne_bytes()).with(OPS, &program).number(FLAGS, DIRECT)
            }),
    ]
}

/// `struct tcmsg`.
fn header(interface: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    [0, interface, handle, parent, info].map(u32::to_ne_bytes).concat()
}

/// `struct sock_filter`, one after the other (bpf(2), linux/filter.h).
fn program() -> Vec<u8> {
    // Offsets in an Ethernet frame: its type; the destination in IPv4; that in IPv6, in words.
    const TYPE: u32 = 12;
    const V4: u32 = 30;
    const V6: [u32; 3] = [38, 42, 46];
    let [load_word, load_half, load_byte] =
        [libc::BPF_W, libc::BPF_H, libc::BPF_B].map(|size| libc::BPF_LD | size | libc::BPF_ABS);
    let [equals, result] = [libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::BPF_RET | libc::BPF_K];
    // TC_ACT_SHOT, and TC_ACT_UNSPEC: as without this.
    let (drop, pass) = (2, u32::MAX);
    // Code, how many to skip if it is so and if it is not, operand.
    let lines = [
        (load_half, 0, 0, TYPE),
        (equals, 0, 3, libc::ETH_P_IP as u32),
        (load_byte, 0, 0, V4),
        (equals, 9, 0, 127),
        (equals, 8, 9, 0),
        (equals, 0, 8, libc::ETH_P_IPV6 as u32),
        // ::/96, with ::1, and ::ffff:0:0/96.
        (load_word, 0, 0, V6[0]),
        (equals, 0, 6, 0),
        (load_word, 0, 0, V6[1]),
        (equals, 0, 4, 0),
        (load_word, 0, 0, V6[2]),
        (equals, 1, 0, 0),
        (equals, 0, 1, 0xffff),
        (result, 0, 0, drop),
        (result, 0, 0, pass),
    ];
    let bytes = |(code, yes, no, operand): (u32, u8, u8, u32)| {
        [&(code as u16).to_ne_bytes()[..], &[yes, no], &operand.to_ne_bytes()].concat()
    };
    lines.into_iter().flat_map(bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_end_in_the_program() {
        let program = program();
        let lines: Vec<&[u8]> = program.chunks(8).collect();
        assert_eq!((program.len() % 8, lines.len()), (0, 15));
        for (number, line) in lines.iter().enumerate() {
            for jump in &line[2..4] {
                assert!(number + 1 + usize::from(*jump) < lines.len() || line[2..4] == [0, 0], "{number}");
            }
        }
    }
}
