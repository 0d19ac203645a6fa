//! What has gone over a container's network.

use crate::engine::text;
use crate::net::link::TAP;
use std::path::Path;

/// Received and sent, bytes, since the network namespace was made that a process is in (proc_pid_net(5), `dev`): the sum over its
/// interfaces, also over those that somebody in the container has made. `None` if it cannot be read.
pub fn of(pid: i32) -> Option<[u64; 2]> {
    let text = text::of_kernel(Path::new(&format!("/proc/{pid}/net/dev"))).ok()?;
    Some(sum(&String::from_utf8_lossy(&text)))
}

/// Loopback is none of it, and what goes through the container's interface has gone through the tap below it already.
fn sum(text: &str) -> [u64; 2] {
    let mut sum = [0_u64; 2];
    for (name, counts) in text.lines().filter_map(|line| line.split_once(':')) {
        if matches!(name.trim(), "lo" | TAP) {
            continue;
        }
        // Eight columns of what was received, the bytes first, then eight of what was sent.
        let counts: Vec<u64> = counts.split_ascii_whitespace().map_while(|count| count.parse().ok()).collect();
        for (sum, column) in sum.iter_mut().zip([0, 8]) {
            *sum = sum.saturating_add(counts.get(column).copied().unwrap_or_default());
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const TITLES: &str = "Inter-|   Receive                                                |  Transmit\n \
                          face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n";

    #[test]
    fn interfaces_are_summed_once() {
        let text = format!(
            "{TITLES}    lo:  999 1 0 0 0 0 0 0  999 1 0 0 0 0 0 0\n rbox0: 7000 9 0 0 0 0 0 0 500 9 0 0 0 0 0 0\n  \
             eth0: 6500 9 0 0 0 0 0 0 400 9 0 0 0 0 0 0\n  eth1:18446744073709551615 9 0 0 0 0 0 0 1 9 0 0 0 0 0 0\n"
        );
        assert_eq!(sum(&text), [u64::MAX, 401]);
        assert_eq!(sum(TITLES), [0, 0]);
        assert_eq!(sum(&format!("{TITLES}  web:12 1 0\n  bad: x\n")), [12, 0]);
        assert_eq!(sum(""), [0, 0]);
    }

    #[test]
    fn that_of_this_process() {
        assert!(of(std::process::id() as i32).is_some());
        assert_eq!(of(i32::MAX), None);
    }
}
