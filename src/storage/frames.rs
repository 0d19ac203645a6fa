//! What a worker of the store says when it is more than an answer: pieces, each after its length (32 bits, the lowest
//! first), then a length of 0, then the answer as JSON.
//!
//! One pipe for both: nothing can come out of step or block on the other, a stream that breaks off is told from one
//! that ends, and no further descriptor has to be handed to a process.

use super::worker::{self, Task};
use crate::error::Failure;
use crate::sys::Named;
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::process::{Child, ChildStdout};

/// A piece is not longer.
pub const MAX_PIECE: usize = 256 * 1024;

/// The worker's side: each write is a piece. To be used with a buffer before it.
#[derive(Debug)]
pub struct Frames {
    out: File,
}

impl Frames {
    /// To standard output.
    pub fn to_stdout() -> Result<Frames> {
        let out = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3).named(|| "dup(stdout)".to_owned())?;
        Ok(Frames { out: out.into() })
    }

    /// Says that no piece follows.
    pub fn end(&mut self) -> std::io::Result<()> {
        self.out.write_all(&0u32.to_le_bytes())
    }
}

impl Write for Frames {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let piece = &bytes[..bytes.len().min(MAX_PIECE)];
        // An empty one would be the end.
        if !piece.is_empty() {
            self.out.write_all(&(piece.len() as u32).to_le_bytes())?;
            self.out.write_all(piece)?;
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A worker that ends with this value.
#[derive(Debug)]
struct Running {
    child: Child,
    stream: BufReader<ChildStdout>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended; waiting collects it in any case. The pipe is closed after that: nobody complains of it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a worker that sends pieces, and gives them to `sink` as they come. Returns the worker's answer. An error of
/// `sink` ends the worker.
pub fn run<T: for<'a> Deserialize<'a>>(task: &Task, sink: impl FnMut(&[u8]) -> Result<()>) -> Result<T> {
    receive(worker::start(task)?, sink)
}

/// The same for a worker that was started already.
pub fn receive<T: for<'a> Deserialize<'a>>(mut child: Child, mut sink: impl FnMut(&[u8]) -> Result<()>) -> Result<T> {
    drop(child.stdin.take());
    let stdout = child.stdout.take().context("a worker without a pipe")?;
    let mut worker = Running { child, stream: BufReader::with_capacity(MAX_PIECE, stdout) };
    let mut piece = vec![0; MAX_PIECE];
    loop {
        let mut length = [0; 4];
        worker.read(&mut length)?;
        let length = u32::from_le_bytes(length) as usize;
        if length == 0 {
            break;
        }
        ensure!(length <= MAX_PIECE, "a worker of the store sent a piece of {length} bytes");
        worker.read(&mut piece[..length])?;
        sink(&piece[..length])?;
    }
    let mut answer = Vec::new();
    worker.stream.read_to_end(&mut answer)?;
    let status = worker.child.wait()?;
    worker::read_answer(&answer, status)
}

impl Running {
    fn read(&mut self, bytes: &mut [u8]) -> Result<()> {
        match self.stream.read_exact(bytes) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                bail!("a worker of the store ended without an answer: {}", self.child.wait()?)
            }
            result => Ok(result?),
        }
    }
}

/// The worker's last words after an error.
pub fn failed(failure: Failure) -> Result<()> {
    Frames::to_stdout()?.end()?;
    worker::answer(&worker::Answer::<()>::Failed(failure))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn received(bytes: &[u8]) -> (Vec<u8>, Result<u32>) {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("stream");
        fs_err::write(&file, bytes).expect("written");
        let child = Command::new("cat").arg(&file).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("cat");
        let mut all = Vec::new();
        let answer = receive(child, |piece| {
            all.extend_from_slice(piece);
            Ok(())
        });
        (all, answer)
    }

    fn sent(pieces: &[&[u8]]) -> Vec<u8> {
        let file = tempfile::tempfile().expect("a file");
        let mut frames = Frames { out: file.try_clone().expect("a descriptor") };
        for piece in pieces {
            frames.write_all(piece).expect("written");
        }
        frames.end().expect("written");
        let mut bytes = Vec::new();
        std::io::Seek::rewind(&mut &file).expect("a file");
        (&file).read_to_end(&mut bytes).expect("read");
        bytes
    }

    #[test]
    fn pieces_then_the_answer() {
        let large = vec![7; MAX_PIECE + 5];
        let bytes = [sent(&[b"ab", b"", &large]), br#"{"Done":5}"#.to_vec()].concat();
        let (all, answer) = received(&bytes);
        assert_eq!(answer.expect("an answer"), 5);
        assert!(all == [b"ab".to_vec(), large].concat());
        // Wherever it breaks off there is no answer.
        let short = [sent(&[b"ab", b"cd"]), br#"{"Done":5}"#.to_vec()].concat();
        for length in 0..short.len() {
            assert!(received(&short[..length]).1.is_err(), "{length}");
        }
        let (_, answer) =
            received(&[sent(&[b"x"]), br#"{"Failed":{"message":"why","hints":[],"exit":125}}"#.to_vec()].concat());
        assert_eq!(answer.expect_err("failed").to_string(), "why");
    }

    #[test]
    fn whoever_does_not_want_more_ends_the_worker() {
        let child = Command::new("sh")
            .args(["-c", r"printf '\001\000\000\000x'; exec sleep 1000"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh");
        let error = receive::<u32>(child, |_| bail!("enough")).expect_err("stopped");
        assert_eq!(error.to_string(), "enough");
    }

    #[test]
    fn fuzz_frames() {
        let large = vec![7; MAX_PIECE + 5];
        let seeds = vec![
            [sent(&[b"ab", b"", &large]), br#"{"Done":5}"#.to_vec()].concat(),
            [sent(&[b"x"]), br#"{"Failed":{"message":"why","hints":[],"exit":125}}"#.to_vec()].concat(),
        ];
        let words: [&[u8]; 4] = [b"\0\0\0\0", b"\0\0\x04\0", b"\xff\xff\xff\xff", b"{\"Done\":1}"];
        crate::fuzz::Target { name: "frames", seeds, words: &words, longest: 1 << 20, mutate: None }.run(|bytes| {
            let (all, answer) = received(bytes);
            assert!(all.len() <= bytes.len());
            answer.map_err(|error| crate::fuzz::kind_of(&error)).is_ok()
        });
    }
}
