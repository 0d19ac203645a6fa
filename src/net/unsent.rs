//! What a container has said and nobody has heard yet, when it has ended: connections that its end has closed go on for as
//! long as the kernel still has bytes of them to send, if the network stays that long.
//!
//! Runs in: the host's namespaces; it looks at the container's.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long the network stays while nobody takes anything of it.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long in all.
pub const LONGEST: Duration = Duration::from_secs(10);

/// Pauses between two looks: the kernel tells nobody.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(16));

/// States in which all is said and not all is acknowledged (TCP_FIN_WAIT1, TCP_LAST_ACK and TCP_CLOSING in
/// include/net/tcp_states.h).
const UNSENT: [&str; 3] = ["04", "09", "0B"];

/// A network namespace's connections.
#[derive(Debug)]
pub struct Unsent(Vec<File>);

impl Unsent {
    /// Those of the namespace that a process is in, which must not have ended; they stay readable when it has.
    pub fn of(pid: i32) -> Unsent {
        let open = |table| File::open(format!("/proc/{pid}/net/{table}")).ok();
        Unsent(["tcp", "tcp6"].into_iter().filter_map(open).collect())
    }

    /// Waits until all is sent, or patience ends.
    pub fn wait(&self) {
        let start = Instant::now();
        let (mut pause, longest) = PAUSES;
        let (mut least, mut last) = (u64::MAX, start);
        loop {
            let Some(left) = self.0.iter().filter_map(|table| unsent(&read(table))).reduce(u64::saturating_add) else {
                return;
            };
            if left < least {
                (least, last) = (left, Instant::now());
            }
            if last.elapsed() > PATIENCE || start.elapsed() > LONGEST {
                return;
            }
            sleep(pause);
            pause = (pause * 2).min(longest);
        }
    }
}

/// From its beginning on: the kernel makes it up anew.
pub(super) fn read(file: &File) -> String {
    let mut all = Vec::new();
    let mut some = [0; 16 * 1024];
    while let Ok(length @ 1..) = file.read_at(&mut some, all.len() as u64) {
        all.extend(&some[..length]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// How many bytes connections have to send that are closed already; none if there are no such connections. Reads
/// proc_net_tcp.rst's table: `sl local remote st tx:rx …`.
fn unsent(table: &str) -> Option<u64> {
    let of = |line: &str| {
        let mut words = line.split_whitespace().skip(3);
        let (state, queues) = (words.next()?, words.next()?);
        let left = u64::from_str_radix(queues.split(':').next()?, 16).ok()?;
        UNSENT.contains(&state).then_some(left)
    };
    table.lines().filter_map(of).reduce(u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_closed_connection_whose_bytes_are_not_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.set_nonblocking(true).unwrap();
        while client.write(&[0; 4096]).is_ok() {}
        let port = format!(":{:04X}", client.local_addr().unwrap().port());
        let own = || -> Option<u64> {
            let text = read(&Unsent::of(std::process::id() as i32).0[0]);
            // Others test here, too.
            unsent(&text.lines().filter(|line| line.contains(&port)).collect::<Vec<_>>().join("\n"))
        };
        assert_eq!(own(), None);
        drop(client);
        assert!(own().unwrap() > 0);
        server.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(own(), None);
    }
}
