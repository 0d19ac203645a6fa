//! A container's output in systemd's journal: its native protocol (systemd, `docs/JOURNAL_NATIVE_PROTOCOL.md`), docker's and podman's
//! fields.
//!
//! Nobody waits for the journal. What it does not take at once is kept here, up to a limit; what is beyond that is counted, and
//! told when there is room again.

use super::{LONGEST, Stream};
use crate::engine::container::Container;
use crate::engine::{aside, record};
use crate::error::Advise;
use crate::spec::log::{Log, Tagged};
use crate::sys::{fd, named_socket};
use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";
/// As many bytes wait for it.
const WAITING: usize = 1024 * 1024;
/// As long it may take for the last ones, when the container has ended.
const PATIENCE: Duration = Duration::from_secs(2);

/// The file in a container's directory that says what its last entry is: the journal may have it later.
const FILE: &str = "journal.json";

/// An entry, as docker counts them (moby, `daemon/logger/journald`, `CONTAINER_LOG_EPOCH` and `CONTAINER_LOG_ORDINAL`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// A run of a container.
    pub epoch: String,
    /// Its entries are counted from 1.
    pub ordinal: u64,
}

impl Place {
    /// Where the last run of the container with this directory has ended, if that is known, and how long ago.
    pub fn last(dir: &Path) -> Option<(Place, Duration)> {
        let path = dir.join(FILE);
        let age = fs_err::metadata(&path).ok()?.modified().ok()?.elapsed().unwrap_or_default();
        Some((serde_json::from_slice(&fs_err::read(path).ok()?).ok()?, age))
    }
}

/// The writing side.
#[derive(Debug)]
pub struct Journal {
    socket: OwnedFd,
    /// Where the end is written down, of a container that is kept.
    dir: Option<PathBuf>,
    /// The last entry that was made, and the last one that was given away.
    last: Place,
    given: u64,
    /// Those that every entry has.
    fields: Vec<u8>,
    /// The beginning of a line whose end is still to come, of each stream.
    begun: [Vec<u8>; 2],
    waiting: VecDeque<(u64, Vec<u8>)>,
    /// Bytes in `waiting`.
    size: usize,
    /// Bytes of output that were not kept.
    lost: u64,
}

impl Journal {
    /// Connects to the journal. `fields`: as [`fields`] makes them.
    pub fn open(fields: Vec<u8>, dir: Option<PathBuf>) -> Result<Journal> {
        let socket = named_socket::datagrams_to(SOCKET.as_ref())
            .context("--log-driver journald")
            .hint(|| "systemd's journal is not there; --log-driver json-file is a file of rbox's own".to_owned())?;
        let last = Place { epoch: record::random_id()?, ordinal: 0 };
        let (begun, waiting) = Default::default();
        Ok(Journal { socket, dir, last, given: 0, fields, begun, waiting, size: 0, lost: 0 })
    }

    /// Takes what a stream has said.
    pub fn take(&mut self, stream: Stream, bytes: &[u8]) {
        let mut begun = std::mem::take(&mut self.begun[stream as usize]);
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            begun.extend(part);
            while begun.len() > LONGEST || begun.ends_with(b"\n") {
                let rest = begun.split_off(begun.len().min(LONGEST));
                self.entry(stream, &begun);
                begun = rest;
            }
        }
        self.begun[stream as usize] = begun;
    }

    /// The last lines that have no end. The journal has a moment for what it has not taken yet.
    pub fn finish(&mut self) {
        for stream in [Stream::Out, Stream::Err] {
            let begun = std::mem::take(&mut self.begun[stream as usize]);
            if !begun.is_empty() {
                self.entry(stream, &begun);
            }
        }
        let end = Instant::now() + PATIENCE;
        while self.is_behind() {
            let left = end.saturating_duration_since(Instant::now());
            let limit = Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos().into() };
            let mut fds = [PollFd::new(&self.socket, PollFlags::OUT)];
            if !matches!(rustix::io::retry_on_intr(|| poll(&mut fds, Some(&limit))), Ok(1..)) {
                break;
            }
            self.flush();
        }
        if let Some(dir) = &self.dir {
            // Whoever reads then does not wait for it.
            let _ = aside::write_whole(dir, FILE, &Place { ordinal: self.given, ..self.last.clone() });
        }
    }

    /// True if something waits for the journal.
    pub fn is_behind(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The way to it.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Gives it what it takes.
    pub fn flush(&mut self) {
        let mut is_new = false;
        while let Some((ordinal, entry)) = self.waiting.front() {
            match fd::send_now(self.socket.as_fd(), entry) {
                Ok(()) => self.given = *ordinal,
                Err(error) if error.errno == Errno::AGAIN => return,
                // It was begun anew, and is another socket now.
                Err(error)
                    if matches!(error.errno, Errno::CONNREFUSED | Errno::CONNRESET | Errno::NOTCONN) && !is_new =>
                {
                    is_new = true;
                    if let Ok(socket) = named_socket::datagrams_to(SOCKET.as_ref()) {
                        self.socket = socket;
                        continue;
                    }
                    self.lost += entry.len() as u64;
                }
                Err(_) => self.lost += entry.len() as u64,
            }
            self.size -= entry.len();
            self.waiting.pop_front();
        }
    }

    /// A line with its end, or a part of a longer one.
    fn entry(&mut self, stream: Stream, text: &[u8]) {
        self.flush();
        if self.lost > 0 && self.size < WAITING / 2 {
            let told = format!("rbox: {} bytes of output were lost: the journal did not take them\n", self.lost);
            self.lost = 0;
            self.push(Stream::Err, told.as_bytes());
        }
        if self.size + text.len() > WAITING {
            self.lost += text.len() as u64;
            return;
        }
        self.push(stream, text);
        self.flush();
    }

    fn push(&mut self, stream: Stream, text: &[u8]) {
        self.last.ordinal += 1;
        let entry = written(&self.fields, &self.last, stream, text);
        self.size += entry.len();
        self.waiting.push_back((self.last.ordinal, entry));
    }
}

/// The fields that every entry of a container has.
pub fn fields(about: &Container, log: &Log) -> Vec<u8> {
    let id = about.id.get(..12).unwrap_or(&about.id);
    let name = about.name.as_deref().unwrap_or(id);
    let (image, image_id) = match &about.image {
        Some(image) => (image.name.as_str(), image.id.to_string()),
        None => ("", String::new()),
    };
    let tag = log.tag(&Tagged { id: &about.id, name, image, image_id: &image_id });
    let mut fields = Vec::new();
    for (name, value) in [
        ("CONTAINER_ID", id),
        ("CONTAINER_ID_FULL", about.id.as_str()),
        ("CONTAINER_NAME", name),
        ("CONTAINER_TAG", tag.as_str()),
        ("IMAGE_NAME", image),
        ("SYSLOG_IDENTIFIER", tag.as_str()),
    ] {
        if !value.is_empty() {
            field(&mut fields, name, value.as_bytes());
        }
    }
    fields
}

/// An entry; priorities are those of syslog(3), as docker gives them: errors and information.
fn written(fields: &[u8], place: &Place, stream: Stream, text: &[u8]) -> Vec<u8> {
    let mut entry = Vec::with_capacity(fields.len() + text.len() + 64);
    let (text, is_whole) = text.strip_suffix(b"\n").map_or((text, false), |text| (text, true));
    field(&mut entry, "MESSAGE", text);
    field(&mut entry, "PRIORITY", if stream == Stream::Err { b"3" } else { b"6" });
    if !is_whole {
        field(&mut entry, "CONTAINER_PARTIAL_MESSAGE", b"true");
    }
    field(&mut entry, "CONTAINER_LOG_EPOCH", place.epoch.as_bytes());
    field(&mut entry, "CONTAINER_LOG_ORDINAL", place.ordinal.to_string().as_bytes());
    entry.extend(fields);
    entry
}

/// A field: a line, or where the value has a newline its length in between.
fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend(name.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        out.extend((value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend(value);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries() {
        let mut fields = Vec::new();
        field(&mut fields, "A", b"1");
        field(&mut fields, "B", b"x\ny");
        assert_eq!(fields, b"A=1\nB\n\x03\0\0\0\0\0\0\0x\ny\n");
        let place = Place { epoch: "e".to_owned(), ordinal: 7 };
        let counted = "CONTAINER_LOG_EPOCH=e\nCONTAINER_LOG_ORDINAL=7\n";
        let whole = format!("MESSAGE=hello\nPRIORITY=6\n{counted}A=1\n");
        assert_eq!(written(b"A=1\n", &place, Stream::Out, b"hello\n"), whole.as_bytes());
        let part = [b"MESSAGE=\xff\nPRIORITY=3\nCONTAINER_PARTIAL_MESSAGE=true\n", counted.as_bytes()].concat();
        assert_eq!(written(b"", &place, Stream::Err, b"\xff"), part);
    }

    #[test]
    fn what_is_not_taken_is_told() {
        use std::os::unix::net::UnixDatagram;
        let (ours, theirs) = UnixDatagram::pair().expect("sockets");
        theirs.set_nonblocking(true).expect("a socket");
        let (begun, waiting, fields) = Default::default();
        let last = Place { epoch: "e".to_owned(), ordinal: 0 };
        let (dir, given) = (None, 0);
        let mut journal = Journal { socket: ours.into(), dir, last, given, fields, begun, waiting, size: 0, lost: 0 };
        for number in 0..100_000 {
            journal.take(Stream::Out, format!("{number:99}\n").as_bytes());
        }
        assert!(journal.is_behind() && journal.size <= WAITING + 200);
        let mut heard: Vec<String> = Vec::new();
        let mut hear = |journal: &mut Journal| {
            let mut buffer = [0; 1024];
            while let Ok(length) = theirs.recv(&mut buffer) {
                heard.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
                journal.flush();
            }
            std::mem::take(&mut heard)
        };
        let first = hear(&mut journal);
        let number = |entry: &str| entry.split(['=', '\n']).nth(1).and_then(|text| text.trim().parse::<usize>().ok());
        assert!(first.iter().enumerate().all(|(at, entry)| number(entry) == Some(at)));
        journal.take(Stream::Out, b"again\n");
        let lost = (100_000 - first.len()) * 100;
        let place = |after| format!("CONTAINER_LOG_EPOCH=e\nCONTAINER_LOG_ORDINAL={}\n", first.len() + after);
        let told =
            format!("MESSAGE=rbox: {lost} bytes of output were lost: the journal did not take them\nPRIORITY=3\n");
        assert_eq!(hear(&mut journal), [told + &place(1), format!("MESSAGE=again\nPRIORITY=6\n{}", place(2))]);
    }
}
