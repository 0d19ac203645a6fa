//! What a host of the test network does (scripts/bed).

use crate::{dns, server};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::process::Command;

/// Echo, names, a page, and the agent; for ever.
pub fn serve() {
    server::echo(&["tcp", "7", "udp", "7"]);
    server::udp("53", dns::over_udp);
    server::tcp("53", dns::over_tcp);
    server::tcp("80", page);
    server::tcp("9000", agent);
    crate::wait_for_ever();
}

/// The same page for every request.
fn page(mut stream: TcpStream) {
    let Ok(reader) = stream.try_clone() else { return };
    let request: Vec<String> =
        BufReader::new(reader).lines().map_while(Result::ok).take_while(|line| !line.trim().is_empty()).collect();
    if request.first().is_some_and(|line| line.starts_with("GET / ")) {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n");
    } else {
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
}

/// Runs one verb of this program for who asks: its words, each ended by a NUL, and a line's end. What comes after that
/// is the verb's input, what goes back is its output.
fn agent(mut stream: TcpStream) {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\n") {
        // One by one: the rest is not for us.
        if stream.read_exact(&mut byte).is_err() {
            return;
        }
        request.push(byte[0]);
    }
    let request = String::from_utf8_lossy(&request);
    let words = request.split_terminator('\0').filter(|word| *word != "\n");
    let end = || OwnedFd::from(stream.try_clone().expect("a descriptor"));
    let verb = Command::new("/proc/self/exe").args(words).stdin(end()).stdout(end()).stderr(end()).spawn();
    // Whoever asked sees the end when nobody has the connection any more.
    drop(stream);
    let _ = verb.expect("this program").wait();
}
