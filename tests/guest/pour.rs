//! Much in one direction, by whoever ends when it is said.

use std::io::{Read, Result, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};

/// Sends so many bytes.
pub fn out(to: &str, bytes: &str) {
    pour(TcpStream::connect(target(to)).expect("a connection"), bytes);
}

/// Sends so many bytes to the first client.
pub fn to_client(port: &str, bytes: &str) {
    pour(first_client(port), bytes);
}

/// Prints how many bytes the first client sends.
pub fn from_client(port: &str) {
    count(first_client(port));
}

/// Prints how many bytes come.
pub fn take(from: &str) {
    count(TcpStream::connect(target(from)).expect("a connection"));
}

fn target(word: &str) -> SocketAddr {
    word.parse().expect("ADDRESS:PORT")
}

fn first_client(port: &str) -> TcpStream {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port.parse().expect("a port"))).expect("a listener");
    super::say("ready");
    listener.accept().expect("a client").0
}

fn pour(mut stream: TcpStream, bytes: &str) {
    let bytes: usize = bytes.parse().expect("a number");
    stream.write_all(&vec![b'x'; bytes]).expect("written");
}

fn count(mut stream: TcpStream) {
    let (mut all, mut buffer) = (0, [0; 64 * 1024]);
    let end: Result<()> = loop {
        match stream.read(&mut buffer) {
            Ok(0) => break Ok(()),
            Ok(length) => all += length,
            Err(error) => break Err(error),
        }
    };
    match end {
        Ok(()) => println!("bytes={all}"),
        Err(error) => println!("bytes={all} error={:?}", error.kind()),
    }
}
