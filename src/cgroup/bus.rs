//! As much of D-Bus as a call of systemd takes (D-Bus specification 0.43, "Message Protocol"; sd-bus of systemd).
//!
//! A client of full size has an event loop or threads, and whoever makes namespaces has one thread. Here a call is written at once,
//! and its answer read when it is needed.

use crate::sys::{Named, ids};
use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// Longer than what systemd says of a unit.
const MAX_MESSAGE: usize = 1024 * 1024;

/// Of a message of ours. Of answers these alone are understood.
const LITTLE: u8 = b'l';
const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

/// Values one after the other, each where its kind may begin.
#[derive(Debug, Default)]
pub struct Values(Vec<u8>);

impl Values {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    /// `u`.
    pub fn number(&mut self, value: u32) {
        self.align(4);
        self.0.extend(value.to_le_bytes());
    }

    /// `b`.
    pub fn boolean(&mut self, value: bool) {
        self.number(value.into());
    }

    /// `s`, and `o`.
    pub fn string(&mut self, text: &str) {
        self.number(text.len() as u32);
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    /// `g`.
    fn signature(&mut self, text: &str) {
        self.0.push(text.len() as u8);
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    /// A value with its kind before it.
    pub fn variant(&mut self, kind: &str, value: impl FnOnce(&mut Values)) {
        self.signature(kind);
        value(self);
    }

    /// Entries that begin at multiples of `to`: 8 for structs, 4 for numbers and strings.
    pub fn array(&mut self, to: usize, entries: impl FnOnce(&mut Values)) {
        self.number(0);
        let length = self.0.len() - 4;
        self.align(to);
        let begin = self.0.len();
        entries(self);
        let bytes = (self.0.len() - begin) as u32;
        self.0[length..length + 4].copy_from_slice(&bytes.to_le_bytes());
    }

    /// An entry `(sv)` of an array.
    pub fn property(&mut self, name: &str, kind: &str, value: impl FnOnce(&mut Values)) {
        self.align(8);
        self.string(name);
        self.variant(kind, value);
    }
}

/// A message that has come.
#[derive(Debug)]
pub struct Message {
    kind: u8,
    /// To which of ours.
    reply_to: u32,
    member: String,
    error: String,
    body: Vec<u8>,
}

/// Reads values.
#[derive(Debug)]
pub struct Reading<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reading<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.context("an answer of systemd is cut short")?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn align(&mut self, to: usize) -> Result<()> {
        self.take(self.at.next_multiple_of(to) - self.at).map(drop)
    }

    /// `u`.
    pub fn number(&mut self) -> Result<u32> {
        self.align(4)?;
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// `s`, and `o`.
    pub fn string(&mut self) -> Result<String> {
        let length = self.number()? as usize;
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.take(1)?;
        Ok(text)
    }

    /// `v` with a `b` in it.
    pub fn variant_boolean(&mut self) -> Result<bool> {
        let kind = self.signature()?;
        ensure!(kind == "b", "an answer of systemd is of the kind {kind}");
        Ok(self.number()? != 0)
    }

    fn signature(&mut self) -> Result<String> {
        let length = self.take(1)?[0];
        let text = String::from_utf8_lossy(self.take(length.into())?).into_owned();
        self.take(1)?;
        Ok(text)
    }
}

impl Message {
    /// The whole message that `bytes` begin with, and its length; `None` if there is more to come.
    fn parse(bytes: &[u8]) -> Result<Option<(Message, usize)>> {
        if bytes.len() < 16 {
            return Ok(None);
        }
        ensure!(bytes[0] == LITTLE, "systemd answers in an unknown way");
        let mut head = Reading { bytes, at: 4 };
        let body = head.number()? as usize;
        head.number()?;
        let fields = head.number()? as usize;
        ensure!(fields < MAX_MESSAGE && body < MAX_MESSAGE, "an answer of systemd is too long");
        let end = 16 + fields;
        let begin = end.next_multiple_of(8);
        if bytes.len() < begin + body {
            return Ok(None);
        }
        let mut message = Message {
            kind: bytes[1],
            reply_to: 0,
            member: String::new(),
            error: String::new(),
            body: bytes[begin..begin + body].to_vec(),
        };
        let mut all = Reading { bytes: &bytes[..end], at: 16 };
        while all.at < end {
            all.align(8)?;
            let field = all.take(1)?[0];
            let kind = all.signature()?;
            match (field, kind.as_str()) {
                (3, "s") => message.member = all.string()?,
                (4, "s") => message.error = all.string()?,
                (5, "u") => message.reply_to = all.number()?,
                (_, "s" | "o") => drop(all.string()?),
                (_, "g") => drop(all.signature()?),
                (_, "u") => _ = all.number()?,
                _ => bail!("an answer of systemd has a field of the kind {kind}"),
            }
        }
        Ok(Some((message, begin + body)))
    }

    /// What it says.
    pub fn values(&self) -> Reading<'_> {
        Reading { bytes: &self.body, at: 0 }
    }

    /// True for a signal of this name.
    pub fn is_signal(&self, member: &str) -> bool {
        self.kind == SIGNAL && self.member == member
    }
}

/// A connection to systemd itself, without a bus in between.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    /// What has come and was not read yet.
    come: Vec<u8>,
    /// The server has said that it knows who this is.
    is_known: bool,
    serial: u32,
    /// To be sent with the first call: who this is.
    greeting: Vec<u8>,
}

impl Connection {
    /// To the one that listens there.
    pub fn open(path: &Path) -> Result<Connection> {
        let call = || format!("connect({})", path.display());
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
        let socket = socket.named(|| "socket(STREAM)".to_owned())?;
        let address = SocketAddrUnix::new(path).named(call)?;
        // Somebody who does not listen any more is not waited for.
        let patience = Some(Duration::from_secs(2));
        rustix::net::sockopt::set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Send, patience).named(call)?;
        rustix::net::connect(&socket, &address).named(call)?;
        // All of it at once, as sd-bus does; the kernel has told the other side who it is in any case.
        let uid: String = ids::uid().to_string().bytes().map(|digit| format!("{digit:02x}")).collect();
        let greeting = format!("\0AUTH EXTERNAL {uid}\r\nBEGIN\r\n").into_bytes();
        Ok(Connection { socket, come: Vec::new(), is_known: false, serial: 0, greeting })
    }

    /// Calls a method of systemd's manager; the number of the call. `kinds`: those of its arguments.
    pub fn call(&mut self, method: &str, kinds: &str, arguments: &Values) -> Result<u32> {
        let manager = ("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager");
        self.call_on(manager, method, kinds, arguments)
    }

    /// Asks for a property of an object.
    pub fn property(&mut self, path: &str, interface: &str, name: &str) -> Result<u32> {
        let mut arguments = Values::default();
        arguments.string(interface);
        arguments.string(name);
        self.call_on((path, "org.freedesktop.DBus.Properties"), "Get", "ss", &arguments)
    }

    fn call_on(
        &mut self,
        (path, interface): (&str, &str),
        method: &str,
        kinds: &str,
        arguments: &Values,
    ) -> Result<u32> {
        self.serial += 1;
        let mut head = Values::default();
        head.0.extend([LITTLE, CALL, 0, 1]);
        head.number(arguments.0.len() as u32);
        head.number(self.serial);
        head.array(8, |fields| {
            let mut field = |number: u8, kind: &str, text: &str| {
                fields.align(8);
                fields.0.push(number);
                fields.variant(kind, |value| if kind == "g" { value.signature(text) } else { value.string(text) });
            };
            field(1, "o", path);
            field(2, "s", interface);
            field(3, "s", method);
            field(6, "s", "org.freedesktop.systemd1");
            field(8, "g", kinds);
        });
        head.align(8);
        let mut all = std::mem::take(&mut self.greeting);
        all.extend(head.0);
        all.extend(&arguments.0);
        let mut rest = all.as_slice();
        while !rest.is_empty() {
            let sent = rustix::io::retry_on_intr(|| rustix::net::send(&self.socket, rest, SendFlags::NOSIGNAL));
            rest = &rest[sent.named(|| format!("send(systemd, {method})"))?..];
        }
        Ok(self.serial)
    }

    /// The next message, until `end`.
    fn next(&mut self, end: Instant) -> Result<Message> {
        loop {
            if !self.is_known {
                self.hear_greeting()?;
            }
            if self.is_known {
                if let Some((message, length)) = Message::parse(&self.come)? {
                    self.come.drain(..length);
                    return Ok(message);
                }
            }
            let left = end.saturating_duration_since(Instant::now());
            let limit = Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos().into() };
            let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
            let ready = rustix::io::retry_on_intr(|| poll(&mut fds, Some(&limit))).named(|| "poll".to_owned())?;
            ensure!(ready > 0 && !left.is_zero(), "systemd does not answer");
            let mut chunk = [0; 4096];
            let length =
                rustix::io::retry_on_intr(|| rustix::net::recv(&self.socket, &mut chunk[..], RecvFlags::empty()));
            let length = length.named(|| "recv(systemd)".to_owned())?.0;
            ensure!(length > 0, "systemd has closed the connection");
            self.come.extend(&chunk[..length]);
        }
    }

    fn hear_greeting(&mut self) -> Result<()> {
        if let Some(end) = self.come.windows(2).position(|bytes| bytes == b"\r\n") {
            let line = String::from_utf8_lossy(&self.come[..end]).into_owned();
            ensure!(line.starts_with("OK "), "systemd does not let this user in: {line}");
            self.come.drain(..end + 2);
            self.is_known = true;
        }
        Ok(())
    }

    /// The answer to a call, within a time. `other` gets what comes before.
    pub fn answer(&mut self, call: u32, within: Duration, mut other: impl FnMut(Message)) -> Result<Message> {
        let end = Instant::now() + within;
        loop {
            let message = self.next(end)?;
            match message.kind {
                RETURN if message.reply_to == call => return Ok(message),
                ERROR if message.reply_to == call => {
                    let said = message.values().string().unwrap_or_default();
                    return Err(Refused { name: message.error, said }.into());
                }
                _ => other(message),
            }
        }
    }

    /// The first signal that `is_it` says something of, within a time.
    pub fn signal<T>(&mut self, within: Duration, mut is_it: impl FnMut(&Message) -> Option<T>) -> Result<T> {
        let end = Instant::now() + within;
        loop {
            if let Some(found) = is_it(&self.next(end)?) {
                return Ok(found);
            }
        }
    }
}

/// systemd says no.
#[derive(Debug)]
pub struct Refused {
    /// Of D-Bus.
    pub name: String,
    said: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "systemd: {}", if self.said.is_empty() { &self.name } else { &self.said })
    }
}

impl std::error::Error for Refused {}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer as sd-bus writes it: `(u) reply_to`, then the kinds of its body, then that.
    fn answer(kind: u8, fields: impl FnOnce(&mut Values), body: &Values) -> Vec<u8> {
        let mut all = Values::default();
        all.0.extend([LITTLE, kind, 1, 1]);
        all.number(body.0.len() as u32);
        all.number(7);
        all.array(8, fields);
        all.align(8);
        all.0.extend(&body.0);
        all.0
    }

    #[test]
    fn values_are_where_they_may_begin() {
        let mut values = Values::default();
        values.string("ab");
        values.array(8, |all| all.property("D", "b", |value| value.boolean(true)));
        let expected = [
            2, 0, 0, 0, b'a', b'b', 0, 0, // the string, and one byte up to a multiple of 4
            16, 0, 0, 0, 0, 0, 0, 0, // the length of the array, and 4 up to a multiple of 8, which do not count
            1, 0, 0, 0, b'D', 0, 1, b'b', 0, 0, 0, 0, 1, 0, 0, 0,
        ];
        assert_eq!(values.0, expected);
    }

    #[test]
    fn answers() {
        let mut body = Values::default();
        body.string("/job/1");
        let field = |fields: &mut Values, number: u8| {
            fields.align(8);
            fields.0.push(number);
        };
        let bytes = answer(
            RETURN,
            |fields| {
                field(fields, 5);
                fields.variant("u", |value| value.number(9));
                field(fields, 8);
                fields.variant("g", |value| value.signature("o"));
            },
            &body,
        );
        let (message, length) = Message::parse(&bytes).unwrap().unwrap();
        assert_eq!((length, message.reply_to, message.kind), (bytes.len(), 9, RETURN));
        assert_eq!(message.values().string().unwrap(), "/job/1");
        for end in 0..bytes.len() {
            assert!(Message::parse(&bytes[..end]).unwrap().is_none(), "{end}");
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let bytes = answer(SIGNAL, |_| (), &Values::default());
        for at in 0..bytes.len() {
            for byte in [0, 1, 7, 0x7f, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = byte;
                // Whatever comes of it, it is no panic.
                let _ = Message::parse(&changed);
            }
        }
        let mut long = bytes;
        long[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(Message::parse(&long).is_err());
    }
}
