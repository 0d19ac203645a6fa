//! Whether somebody answers names at a bridge's address yet: aardvark-dns 1.4.0 has its ports a moment after netavark has
//! ended, and a container whose first question is refused asks no more.
//!
//! Runs in: the network namespace of all networks.

use anyhow::{Result, ensure};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Longer than it takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_millis(2);

/// Waits until port 53 of the address is bound. There is no event for what another process binds.
pub fn wait(address: IpAddr) -> Result<()> {
    let path = if address.is_ipv4() { "/proc/self/net/udp" } else { "/proc/self/net/udp6" };
    let wanted = format!("{}:0035", digits(address));
    let start = Instant::now();
    while !fs_err::read_to_string(path)?.lines().any(|line| line.split_whitespace().nth(1) == Some(&wanted)) {
        ensure!(start.elapsed() < PATIENCE, "aardvark-dns: nobody answers names at {address}");
        std::thread::sleep(INTERVAL);
    }
    Ok(())
}

/// As proc_pid_net(5) has it: numbers of the machine whose bytes are in the order of the wire.
fn digits(address: IpAddr) -> String {
    let octets = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let words = octets.chunks_exact(4).map(|word| {
        let number = word.iter().rev().fold(0u32, |number, octet| number << 8 | u32::from(*octet));
        format!("{:08X}", if cfg!(target_endian = "little") { number } else { number.swap_bytes() })
    });
    words.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn addresses_as_the_kernel_writes_them() {
        for address in ["127.0.0.1", "::1"] {
            let socket = UdpSocket::bind((address, 0)).unwrap();
            let (ip, port) = (socket.local_addr().unwrap().ip(), socket.local_addr().unwrap().port());
            let file = if ip.is_ipv4() { "/proc/self/net/udp" } else { "/proc/self/net/udp6" };
            let text = fs_err::read_to_string(file).unwrap();
            assert!(text.contains(&format!(" {}:{port:04X} ", digits(ip))), "{address}: {text}");
        }
    }
}
