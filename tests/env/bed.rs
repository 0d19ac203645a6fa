//! The test network, where scripts/bed has made one: the tests run on one of its hosts and act from the others.

use super::{Env, LONG};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

/// Why a test that needs it is skipped.
pub const MISSING: &str = "no test network (scripts/bed makes one)";

/// True on a host of the test network.
pub fn is_here() -> bool {
    std::env::var_os("RBOX_TEST_BED").is_some_and(|value| !value.is_empty())
}

/// A host of the test network: its addresses end in this number.
#[derive(Clone, Copy)]
pub struct Host(u8);

/// Where the tests, and rbox, run.
pub const RBOX: Host = Host(1);
/// The default route and the resolver of `RBOX`.
pub const SERVER: Host = Host(2);
/// Where published ports are used from.
pub const CLIENT: Host = Host(3);

impl Host {
    pub fn v4(self) -> IpAddr {
        [192, 0, 2, self.0].into()
    }

    pub fn v6(self) -> IpAddr {
        [0x2001, 0xdb8, 0, 0, 0, 0, 0, self.0.into()].into()
    }

    pub fn addresses(self) -> [IpAddr; 2] {
        [self.v4(), self.v6()]
    }

    /// Starts a verb of the guest on the host, `SERVER` or `CLIENT`.
    pub fn start(self, verb: &[&str]) -> Remote {
        let mut stream = TcpStream::connect((self.v4(), 9000)).expect("the host's agent");
        stream.set_read_timeout(Some(LONG)).unwrap();
        let words: String = verb.iter().map(|word| format!("{word}\0")).collect();
        stream.write_all(format!("{words}\n").as_bytes()).unwrap();
        Remote(BufReader::new(stream))
    }

    /// Runs a verb of the guest on the host; its output.
    pub fn guest(self, verb: &[&str]) -> String {
        let mut output = String::new();
        self.start(verb).0.read_to_string(&mut output).unwrap();
        output
    }

    /// Runs `listen PORTS` there, as long as the answer is held.
    pub fn listen(self, ports: &[&str]) -> Remote {
        let mut remote = self.start(&[&["listen"], ports].concat());
        assert_eq!(remote.line(), "ready\n");
        remote
    }
}

/// A verb that runs on another host. Its input ends when this is dropped.
pub struct Remote(BufReader<TcpStream>);

impl Remote {
    /// Its next line.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }
}

/// A container that listens, until this is dropped.
pub struct Listener {
    child: Child,
    input: Option<ChildStdin>,
    _output: BufReader<ChildStdout>,
}

impl Env {
    /// Starts a container that runs `listen PORTS`, and waits until it does.
    pub fn listen(&self, options: &[&str], ports: &[&str]) -> Listener {
        let mut command = self.run_command(&[&["-i"], options].concat());
        command.args(["/guest", "listen"]).args(ports).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("rbox starts");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        // It may be quicker than rbox, which writes it down at the same time for others to find.
        let all = self.path("run/rbox/containers");
        super::eventually("a container that is written down", || {
            std::fs::read_dir(&all).unwrap().flatten().all(|entry| entry.path().join("process.json").exists())
        });
        Listener { input: child.stdin.take(), child, _output: output }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.input.take());
        let status = self.child.wait().expect("rbox ends");
        if !std::thread::panicking() {
            assert!(status.success(), "{status}");
        }
    }
}

/// What an echo server said: who it has been asked by, at which address, and what.
#[derive(Debug, PartialEq)]
pub struct Echo {
    pub peer: SocketAddr,
    pub local: IpAddr,
    pub text: String,
}

impl Echo {
    /// Reads `peer=ADDRESS:PORT local=ADDRESS TEXT`.
    #[track_caller]
    pub fn read(said: &str) -> Echo {
        let read = || {
            let (peer, rest) = said.trim_end().strip_prefix("peer=")?.split_once(" local=")?;
            let (local, text) = rest.split_once(' ')?;
            Some(Echo { peer: peer.parse().ok()?, local: local.parse().ok()?, text: text.to_owned() })
        };
        read().unwrap_or_else(|| panic!("no echo: {said:?}"))
    }
}
