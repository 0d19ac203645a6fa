//! Why nobody answered a container's pings.
//!
//! A helper passes pings on by a socket of the host's (icmp(7)), which only those groups may open that a setting names. Where
//! it may not, whoever pings hears nothing: not from the helper, nor from the kernel.
//!
//! Runs in: the host's namespaces; it looks at the container's.

use super::unsent::read;
use crate::error::Advise;
use anyhow::{Result, anyhow};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
use std::fs::File;

/// Who may ping.
const SETTING: &str = "/proc/sys/net/ipv4/ping_group_range";

/// A network namespace's count of pings, on a host that does not let this user ping.
#[derive(Debug)]
pub struct Pings(Vec<File>);

impl Pings {
    /// Those of the namespace that a process is in, which must not have ended; `None` where the host lets pings out.
    pub fn of(pid: i32) -> Option<Pings> {
        let ping = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(ipproto::ICMP));
        if ping.err() != Some(Errno::ACCESS) {
            return None;
        }
        let open = |table| File::open(format!("/proc/{pid}/net/{table}")).ok();
        Some(Pings(["snmp", "snmp6"].into_iter().filter_map(open).collect()))
    }

    /// An error if somebody has pinged, and no ping was answered.
    pub fn unanswered(&self) -> Option<anyhow::Error> {
        let (mut asked, mut answered) = (0, 0);
        for table in &self.0 {
            let text = read(table);
            let number = |name| of_snmp(&text, name).or_else(|| of_snmp6(&text, name)).unwrap_or(0);
            asked += number("OutEchos") + number("Icmp6OutEchos");
            answered += number("InEchoReps") + number("Icmp6InEchoReplies");
        }
        if asked == 0 || answered > 0 {
            return None;
        }
        let allowed = fs_err::read_to_string(SETTING).unwrap_or_default();
        let failed: Result<()> = Err(anyhow!("ping: no answer: this host lets {} ping", who(&allowed)));
        let hint = "an administrator can let all ping: sysctl -w net.ipv4.ping_group_range='0 2147483647'";
        failed.hint(|| hint.to_owned()).err()
    }
}

/// Two numbers: the first group and the last one.
fn who(setting: &str) -> String {
    let numbers: Vec<u32> = setting.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match numbers[..] {
        [first, last] if first < last => format!("groups {first} to {last} alone"),
        [first, last] if first == last => format!("group {first} alone"),
        _ => "no group".to_owned(),
    }
}

/// Two lines to each protocol, of names and of numbers.
fn of_snmp(text: &str, name: &str) -> Option<u64> {
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("Icmp:")).collect();
    let [names, numbers] = lines.as_slice() else { return None };
    let place = names.split_whitespace().position(|word| word == name)?;
    numbers.split_whitespace().nth(place)?.parse().ok()
}

/// A line to each number.
fn of_snmp6(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines.find(|words| words.first() == Some(&name))?.get(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may() {
        for (setting, text) in [("1\t0\n", "no group"), ("0 99", "groups 0 to 99 alone"), ("5 5", "group 5 alone")] {
            assert_eq!(who(setting), text);
        }
    }

    #[test]
    fn the_kernels_tables() {
        let snmp =
            "Ip: Forwarding\nIp: 1\nIcmp: InMsgs InEchoReps OutEchos\nIcmp: 5 1 7\nIcmpMsg: OutType8\nIcmpMsg: 7\n";
        assert_eq!((of_snmp(snmp, "OutEchos"), of_snmp(snmp, "InEchoReps")), (Some(7), Some(1)));
        assert_eq!(of_snmp(snmp, "No"), None);
        let snmp6 = "Icmp6OutMsgs                    \t9\nIcmp6OutEchos                   \t3\n";
        assert_eq!(of_snmp6(snmp6, "Icmp6OutEchos"), Some(3));
        for text in ["", "Icmp:", "Icmp: A\nIcmp:\n", "Icmp6OutEchos"] {
            assert_eq!((of_snmp(text, "A"), of_snmp6(text, "Icmp6OutEchos")), (None, None));
        }
    }
}
