//! What a container says when nobody is there: it goes to its log.

use super::streams::End;
use crate::engine::log::Stream;
use crate::engine::log::writer::Writer;
use crate::spec::log::Log;
use crate::sys::{Named, mount, pty};
use anyhow::Result;
use rustix::event::PollFlags;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// As much is read at once, bytes: what a pipe holds.
const CHUNK: usize = 64 * 1024;

/// The supervisor's ends of a container's streams.
pub struct Logged {
    writer: Writer,
    /// The pipes' reading ends, until they are closed.
    pipes: [Option<OwnedFd>; 2],
    /// Its terminal, if it has one, and the other side, so that it is never hung up.
    terminal: Option<(OwnedFd, OwnedFd)>,
    /// The writing end of standard input: what is typed is not there yet, and must not end.
    _input: Option<OwnedFd>,
    buffer: Vec<u8>,
}

impl Logged {
    /// Opens the log, and pipes; the container's ends come back, in the order of their numbers. Standard error's stays open
    /// for what this process itself has to say, without waiting for anybody to read.
    pub fn open(dir: &Path, log: &Log, input: bool) -> Result<(Logged, [OwnedFd; 3])> {
        let writer = Writer::open(dir, log)?;
        let pipe = || pipe_with(PipeFlags::CLOEXEC).named(|| "pipe".to_owned());
        let (out, out_end) = pipe()?;
        let (err, err_end) = pipe()?;
        for reading in [&out, &err] {
            rustix::io::ioctl_fionbio(reading, true).named(|| "ioctl(FIONBIO)".to_owned())?;
        }
        let (in_end, input) = match input {
            true => pipe().map(|(reading, writing)| (reading, Some(writing)))?,
            false => (crate::sys::fd::null()?, None),
        };
        let pipes = [Some(out), Some(err)];
        let logged = Logged { writer, pipes, terminal: None, _input: input, buffer: vec![0; CHUNK] };
        Ok((logged, [in_end, out_end, err_end]))
    }

    /// The container has started: its ends are its own. `terminal`: the master side of its terminal, if it has one.
    pub fn started(&mut self, terminal: Option<OwnedFd>) -> Result<()> {
        let own = mount::path_of(rustix::stdio::stderr());
        // Another open file of the same pipe: that it does not wait is not the container's concern.
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let own = rustix::fs::open(&own, flags, Mode::empty()).named(|| format!("open({})", own.display()))?;
        crate::sys::fd::place(own.as_fd(), 2)?;
        self.terminal = terminal.map(|master| pty::open_peer(&master).map(|peer| (master, peer))).transpose()?;
        Ok(())
    }

    /// What to wait for.
    pub fn wanted(&self) -> Vec<(End, BorrowedFd<'_>, PollFlags)> {
        let mut wanted = Vec::with_capacity(3);
        for (pipe, stream) in self.pipes.iter().zip([Stream::Out, Stream::Err]) {
            wanted.extend(pipe.as_ref().map(|pipe| (End::Pipe(stream), pipe.as_fd(), PollFlags::IN)));
        }
        wanted.extend(self.terminal.as_ref().map(|(master, _)| (End::Master, master.as_fd(), PollFlags::IN)));
        wanted
    }

    /// Reads what there is.
    pub fn step(&mut self, ready: &[(End, PollFlags)]) {
        for (end, _) in ready.iter().filter(|(_, flags)| !flags.is_empty()) {
            self.read(*end);
        }
    }

    /// True if there was something.
    fn read(&mut self, end: End) -> bool {
        let Logged { writer, pipes, terminal, buffer, .. } = self;
        let (pipe, stream) = match end {
            End::Pipe(stream) => (&mut pipes[stream as usize], stream),
            End::Master => {
                let Some((master, _)) = terminal else { return false };
                return match rustix::io::retry_on_intr(|| rustix::io::read(&*master, buffer.as_mut_slice())) {
                    Ok(length @ 1..) => {
                        writer.take(Stream::Out, &buffer[..length]);
                        true
                    }
                    _ => {
                        *terminal = None;
                        false
                    }
                };
            }
            End::Input | End::Output => return false,
        };
        let Some(open) = pipe else { return false };
        match rustix::io::retry_on_intr(|| rustix::io::read(&*open, buffer.as_mut_slice())) {
            Ok(length @ 1..) => {
                writer.take(stream, &buffer[..length]);
                true
            }
            Err(Errno::AGAIN) => false,
            _ => {
                *pipe = None;
                false
            }
        }
    }

    /// The container has ended: what it said last is still in the pipes.
    pub fn finish(mut self) {
        if let Some((master, _)) = &self.terminal {
            // Without the other side there is no waiting.
            let _ = rustix::io::ioctl_fionbio(master, true);
        }
        for end in [End::Pipe(Stream::Out), End::Pipe(Stream::Err), End::Master] {
            while self.read(end) {}
        }
        self.writer.finish();
    }
}
