//! The standard streams of a process that no caller has: a terminal, or pipes. What it says goes to a log and to everybody who
//! is attached; what those say goes to it.

use super::client::Client;
use super::event::{End, Owner, Source, Wanted};
use super::message::{CHUNK, Packet, Reply, Request, Way};
use crate::engine::log::Stream;
use crate::engine::log::journal::Journal;
use crate::engine::log::writer::Writer;
use crate::sys::{Named, pty};
use anyhow::Result;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// As much can be in a pipe when its process has ended, bytes, by default (pipe(7), pipe-max-size). What a process outside
/// goes on to write there is nobody's.
const LEFT: usize = 1024 * 1024;

/// As many bytes wait for a process that does not read, of those who are here and of those who have gone; more go nowhere, as on a
/// terminal that is full.
const INWARD: usize = 1024 * 1024;
/// As long those who look on have for what was said last.
const MOMENT: Duration = Duration::from_millis(500);

/// Where what is said is kept.
pub enum Sink {
    /// Nowhere.
    None,
    /// In a container's log.
    Log(Writer),
    /// In systemd's journal.
    Journal(Journal),
    /// Here, at most so many bytes.
    Kept(Vec<u8>, usize),
}

/// The supervisor's ends.
pub struct Session {
    sink: Sink,
    /// The pipes' reading ends, until they are closed.
    pipes: [Option<OwnedFd>; 2],
    terminal: Option<Terminal>,
    /// The writing end of standard input, until that ends.
    input: Option<OwnedFd>,
    /// Under way to the process: of whom, and what.
    inward: VecDeque<(u32, Vec<u8>)>,
    /// Then its input ends.
    input_ends: bool,
    /// By the number that each has got.
    clients: Vec<(u32, Client)>,
    next: u32,
    buffer: Vec<u8>,
}

/// A terminal's master side. The other side is open, too: it is never hung up, even if the process closes and opens it.
struct Terminal {
    master: OwnedFd,
    _peer: OwnedFd,
}

impl Session {
    /// Without any streams.
    pub fn new(sink: Sink) -> Session {
        Session {
            sink,
            pipes: [None, None],
            terminal: None,
            input: None,
            inward: VecDeque::new(),
            input_ends: false,
            clients: Vec::new(),
            next: 0,
            buffer: Vec::new(),
        }
    }

    /// Makes a pipe for what is said there; the process's end comes back.
    pub fn listen(&mut self, stream: Stream) -> Result<OwnedFd> {
        let (reading, writing) = pipe_with(PipeFlags::CLOEXEC).named(|| "pipe".to_owned())?;
        rustix::io::ioctl_fionbio(&reading, true).named(|| "ioctl(FIONBIO)".to_owned())?;
        self.pipes[stream as usize] = Some(reading);
        Ok(writing)
    }

    /// Makes a pipe for standard input; the process's end comes back.
    pub fn type_in(&mut self) -> Result<OwnedFd> {
        let (reading, writing) = pipe_with(PipeFlags::CLOEXEC).named(|| "pipe".to_owned())?;
        rustix::io::ioctl_fionbio(&writing, true).named(|| "ioctl(FIONBIO)".to_owned())?;
        self.input = Some(writing);
        Ok(reading)
    }

    /// The process has a terminal, whose master side this is.
    pub fn take_terminal(&mut self, master: OwnedFd) -> Result<()> {
        let peer = pty::open_peer(&master)?;
        rustix::io::ioctl_fionbio(&master, true).named(|| "ioctl(FIONBIO)".to_owned())?;
        self.terminal = Some(Terminal { master, _peer: peer });
        Ok(())
    }

    /// Somebody comes.
    pub fn attach(&mut self, client: Client) {
        self.next = self.next.wrapping_add(1);
        self.clients.push((self.next, client));
    }

    /// True if somebody has not taken everything yet.
    pub fn is_behind(&self) -> bool {
        self.clients.iter().any(|(_, client)| client.is_behind())
    }

    /// How many are here.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Tells everybody.
    pub fn tell(&mut self, reply: &Reply) {
        self.clients.iter_mut().for_each(|(_, client)| client.tell(reply));
    }

    /// Its terminal has another size.
    pub fn resize(&self, rows: u16, columns: u16) {
        if let Some(Terminal { master, .. }) = &self.terminal {
            // Nothing depends on it.
            let _ = pty::set_size(master, rows, columns);
        }
    }

    /// What was kept.
    pub fn kept(&self) -> &[u8] {
        match &self.sink {
            Sink::Kept(bytes, _) => bytes,
            Sink::None | Sink::Log(_) | Sink::Journal(_) => &[],
        }
    }

    /// What to wait for.
    pub fn wanted<'a>(&'a self, owner: Owner, all: &mut Wanted<'a>) {
        let mut want = |end, fd, flags| all.push((Source::Session(owner, end), fd, flags));
        // Whoever has started it is waited for.
        let reads = !self.clients.iter().any(|(_, client)| client.is_first() && client.is_behind());
        for (pipe, stream) in self.pipes.iter().zip([Stream::Out, Stream::Err]) {
            if let Some(pipe) = pipe.as_ref().filter(|_| reads) {
                want(End::Pipe(stream), pipe.as_fd(), PollFlags::IN);
            }
        }
        if let Some(Terminal { master, .. }) = &self.terminal {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, reads);
            flags.set(PollFlags::OUT, !self.inward.is_empty());
            if !flags.is_empty() {
                want(End::Master, master.as_fd(), flags);
            }
        }
        if let Some(input) = self.input.as_ref().filter(|_| !self.inward.is_empty()) {
            want(End::Input, input.as_fd(), PollFlags::OUT);
        }
        if let Sink::Journal(journal) = &self.sink {
            if journal.is_behind() {
                want(End::Journal, journal.socket(), PollFlags::OUT);
            }
        }
        for (number, (_, client)) in self.clients.iter().enumerate() {
            if let Some((fd, flags)) = client.wanted(true) {
                want(End::Client(number), fd, flags);
            }
        }
    }

    /// Moves what can be moved at an end. What a client wants of the process comes back.
    pub fn step(&mut self, end: End, flags: PollFlags) -> Option<Request> {
        match end {
            End::Pipe(stream) => drop(self.read(stream)),
            End::Master => {
                if flags.contains(PollFlags::OUT) {
                    self.write();
                }
                if !(flags - PollFlags::OUT).is_empty() {
                    self.read_terminal();
                }
            }
            End::Input => self.write(),
            End::Journal => {
                if let Sink::Journal(journal) = &mut self.sink {
                    journal.flush();
                }
            }
            End::Client(number) => return self.hear(number, flags),
        }
        None
    }

    /// Those who have gone are forgotten: numbers of clients change.
    pub fn tidy(&mut self) {
        self.clients.retain(|(_, client)| !client.is_gone);
    }

    fn hear(&mut self, number: usize, flags: PollFlags) -> Option<Request> {
        let (number, client) = self.clients.get_mut(number)?;
        if flags.contains(PollFlags::OUT) {
            client.go_on();
        }
        if (flags - PollFlags::OUT).is_empty() {
            return None;
        }
        match client.hear() {
            Ok(Packet::Message(request, _)) => return Some(request),
            Ok(Packet::Bytes(Way::In, bytes)) if bytes.is_empty() => self.input_ends |= client.is_first(),
            Ok(Packet::Bytes(Way::In, bytes)) if self.terminal.is_some() || self.input.is_some() => {
                let waiting: usize = self.inward.iter().map(|(_, bytes)| bytes.len()).sum();
                if waiting + bytes.len() > INWARD {
                    client.taken(bytes.len());
                } else {
                    self.inward.push_back((*number, bytes));
                }
            }
            // There is nobody to read them.
            Ok(Packet::Bytes(Way::In, bytes)) => client.taken(bytes.len()),
            _ => {}
        }
        self.write();
        None
    }

    /// Gives the process what there is for it.
    fn write(&mut self) {
        let to = self.terminal.as_ref().map(|terminal| &terminal.master).or(self.input.as_ref());
        while let Some(((number, bytes), to)) = self.inward.front_mut().zip(to) {
            let taken = match rustix::io::retry_on_intr(|| rustix::io::write(to, bytes)) {
                Ok(length) => length,
                Err(Errno::AGAIN) => break,
                // Nobody reads any more: each of them fails, and is gone.
                Err(_) => bytes.len(),
            };
            bytes.drain(..taken);
            let (number, is_done) = (*number, bytes.is_empty());
            self.clients.iter_mut().filter(|(of, _)| *of == number).for_each(|(_, client)| client.taken(taken));
            if is_done {
                self.inward.pop_front();
            }
        }
        if self.input_ends && self.inward.is_empty() {
            self.input = None;
        }
    }

    /// True if there was something.
    fn read(&mut self, stream: Stream) -> bool {
        let Some(pipe) = self.pipes[stream as usize].take() else { return false };
        match self.read_from(&pipe, stream) {
            Ok(length) => {
                // Closed by everybody, if there was nothing.
                self.pipes[stream as usize] = Some(pipe).filter(|_| length > 0);
                length > 0
            }
            Err(errno) => {
                self.pipes[stream as usize] = Some(pipe).filter(|_| errno == Errno::AGAIN);
                false
            }
        }
    }

    fn read_terminal(&mut self) -> bool {
        let Some(terminal) = self.terminal.take() else { return false };
        let read = self.read_from(&terminal.master, Stream::Out);
        self.terminal = Some(terminal).filter(|_| matches!(read, Ok(1..) | Err(Errno::AGAIN)));
        matches!(read, Ok(1..))
    }

    fn read_from(&mut self, from: &OwnedFd, stream: Stream) -> rustix::io::Result<usize> {
        // The first byte is the packet's mark.
        self.buffer.resize(1 + CHUNK, 0);
        self.buffer[0] = Way::Out(stream).mark();
        let length = rustix::io::retry_on_intr(|| rustix::io::read(from, &mut self.buffer[1..]))?;
        let packet = &self.buffer[..=length];
        if length > 0 {
            match &mut self.sink {
                Sink::None => {}
                Sink::Log(writer) => writer.take(stream, &packet[1..]),
                Sink::Journal(journal) => journal.take(stream, &packet[1..]),
                Sink::Kept(bytes, most) => bytes.extend(packet[1..].iter().take(*most - bytes.len().min(*most))),
            }
            let others = self.clients.len().saturating_sub(1);
            self.clients.iter_mut().for_each(|(_, client)| client.give(packet, others));
        }
        Ok(length)
    }

    /// The process has ended: what it said last is still under way.
    pub fn finish(&mut self) {
        for stream in [Stream::Out, Stream::Err] {
            let mut left = LEFT / CHUNK;
            while left > 0 && self.read(stream) {
                left -= 1;
            }
        }
        let mut left = LEFT / CHUNK;
        while left > 0 && self.read_terminal() {
            left -= 1;
        }
        (self.pipes, self.terminal, self.input) = ([None, None], None, None);
        match &mut self.sink {
            Sink::Log(writer) => writer.finish(),
            Sink::Journal(journal) => journal.finish(),
            Sink::None | Sink::Kept(..) => {}
        }
    }

    /// Says how it ended, and lets everybody go. Whoever has started it gets all of what was said, as long as it takes something
    /// within `patience`, if there is one; for others there is a moment.
    pub fn part(mut self, status: u8, patience: Option<Duration>) {
        self.tell(&Reply::Ended(status));
        loop {
            self.clients.retain(|(_, client)| client.is_behind());
            let has_first = self.clients.iter().any(|(_, client)| client.is_first());
            let wanted: Vec<_> = self.clients.iter().filter_map(|(_, client)| client.wanted(false)).collect();
            if wanted.is_empty() {
                return;
            }
            let mut fds: Vec<_> = wanted.iter().map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
            let limit = if has_first { patience } else { Some(MOMENT) };
            let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
            match rustix::io::retry_on_intr(|| poll(&mut fds, limit.as_ref())) {
                Ok(1..) => {}
                _ => return,
            }
            self.clients.iter_mut().for_each(|(_, client)| client.go_on());
        }
    }
}

/// Another open file of the same pipe, for words of this process's own: that it does not wait for anybody to read is not the
/// container's concern. Called before the pipe is given to another user.
pub fn own_words(pipe: BorrowedFd<'_>) -> Result<OwnedFd> {
    use crate::sys::mount;
    use rustix::fs::{Mode, OFlags};
    let own = mount::path_of(pipe);
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(rustix::fs::open(&own, flags, Mode::empty()).named(|| format!("open({})", own.display()))?)
}
