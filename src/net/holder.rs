//! Who has a port, as far as this user may know.
//!
//! Runs in: the host's namespaces.

use super::port::Protocol;
use std::path::Path;

/// A process of the caller's that has a socket on this port, as `nginx (pid 4711)`; `None` if nobody is found. Reads the
/// descriptors of all the caller's processes: only for an error.
pub fn of(protocol: Protocol, port: u16) -> Option<String> {
    let inodes: Vec<String> = ["", "6"].into_iter().flat_map(|family| sockets(protocol, family, port)).collect();
    for entry in fs_err::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(files) = fs_err::read_dir(entry.path().join("fd")) else { continue };
        let has = files.flatten().filter_map(|file| fs_err::read_link(file.path()).ok()).any(|target| {
            let target = target.to_string_lossy();
            inodes.iter().any(|inode| target == format!("socket:[{inode}]"))
        });
        if has {
            let name = fs_err::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (pid {pid})", name.trim()));
        }
    }
    None
}

/// The inodes of a family's sockets on a local port (proc_net_tcp.rst: `sl local remote state … inode`).
fn sockets(protocol: Protocol, family: &str, port: u16) -> Vec<String> {
    /// TCP_LISTEN.
    const LISTENS: &str = "0A";
    let table = fs_err::read_to_string(Path::new("/proc/net").join(format!("{protocol}{family}"))).unwrap_or_default();
    let line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let local = fields.get(1)?.rsplit_once(':')?.1;
        let is_it =
            u16::from_str_radix(local, 16) == Ok(port) && (protocol == Protocol::Udp || *fields.get(3)? == LISTENS);
        is_it.then(|| fields.get(9).map(|inode| (*inode).to_owned())).flatten()
    };
    table.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let pid = std::process::id();
        assert!(of(Protocol::Tcp, port).unwrap().ends_with(&format!(" (pid {pid})")));
        let socket = std::net::UdpSocket::bind("[::1]:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert!(of(Protocol::Udp, port).unwrap().ends_with(&format!(" (pid {pid})")));
        drop(socket);
        assert_eq!(of(Protocol::Udp, port), None);
    }
}
