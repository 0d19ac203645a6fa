//! The writing side of a log.
//!
//! Somebody else may shorten a file or take it away, as logrotate(8) does: every write looks where it goes, and goes to the end.

use super::{LONGEST, Stream, entry, file};
use crate::spec::log::{Driver, Log};
use crate::time::Time;
use anyhow::Result;
use rustix::io::Errno;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// As much is written at once, bytes, and an entry more.
const CHUNK: usize = 64 * 1024;

/// Writes what a container says. What the disk does not take is counted, and told when there is room again.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    log: Log,
    /// None if nothing is kept.
    file: Option<File>,
    /// The beginning of a line whose end is still to come, of each stream.
    begun: [Vec<u8>; 2],
    /// What goes to the file with the next write.
    ready: Vec<u8>,
    /// How many bytes of the container's that are.
    said: u64,
    /// How many of them the disk has not taken.
    lost: u64,
}

impl Writer {
    /// Goes on with the log in a container's directory, or begins it.
    pub fn open(dir: &Path, log: &Log) -> Result<Writer> {
        let is_kept = matches!(log.driver, Driver::JsonFile | Driver::K8sFile);
        let mut writer = Writer {
            dir: dir.to_owned(),
            log: log.clone(),
            file: None,
            begun: Default::default(),
            ready: Vec::new(),
            said: 0,
            lost: 0,
        };
        if is_kept {
            writer.begin()?;
        }
        Ok(writer)
    }

    /// Takes what a stream has said.
    pub fn take(&mut self, stream: Stream, mut bytes: &[u8]) {
        if self.file.is_none() {
            return;
        }
        let time = Time::now().to_string();
        let driver = self.log.driver;
        while !bytes.is_empty() {
            if self.ready.len() >= CHUNK {
                self.flush();
            }
            let Writer { begun, ready, said, .. } = self;
            let begun = &mut begun[stream as usize];
            let room = LONGEST - begun.len();
            let line = bytes.iter().take(room).position(|byte| *byte == b'\n').map(|at| at + 1);
            let length = line.unwrap_or(room.min(bytes.len()));
            let (part, rest) = bytes.split_at(length);
            bytes = rest;
            if line.is_none() && length < room {
                begun.extend(part);
            } else if begun.is_empty() {
                *said += part.len() as u64;
                entry::write(ready, driver, stream, &time, part);
            } else {
                begun.extend(part);
                *said += begun.len() as u64;
                entry::write(ready, driver, stream, &time, begun);
                begun.clear();
            }
        }
        self.flush();
    }

    /// The last lines that have no end.
    pub fn finish(&mut self) {
        let time = Time::now().to_string();
        for stream in [Stream::Out, Stream::Err] {
            let begun = std::mem::take(&mut self.begun[stream as usize]);
            if !begun.is_empty() {
                self.said += begun.len() as u64;
                entry::write(&mut self.ready, self.log.driver, stream, &time, &begun);
            }
        }
        self.flush();
    }

    fn flush(&mut self) {
        if self.ready.is_empty() {
            return;
        }
        let size = match self.size() {
            Some(size) => size,
            // If there can be none, the one without a name goes on.
            None => self.begin().unwrap_or(0),
        };
        if self.log.max_size > 0 && size > 0 && size + self.ready.len() as u64 > self.log.max_size {
            // If it cannot be, this file goes on.
            let _ = self.rotate();
        }
        if self.lost > 0 {
            let text = format!("rbox: {} bytes of output were lost: the disk was full\n", self.lost);
            let mut note = Vec::new();
            entry::write(&mut note, self.log.driver, Stream::Err, &Time::now().to_string(), text.as_bytes());
            if self.put(&note) {
                self.lost = 0;
            }
        }
        let ready = std::mem::take(&mut self.ready);
        if !self.put(&ready) {
            self.lost += self.said;
        }
        self.said = 0;
        self.ready = ready;
        self.ready.clear();
    }

    /// All of it, or nothing: half a line would spoil the next.
    fn put(&mut self, bytes: &[u8]) -> bool {
        let Some(file) = &mut self.file else { return true };
        let before = file.metadata().map(|about| about.len());
        if file.write_all(bytes).is_ok() {
            return true;
        }
        if let Ok(before) = before {
            // What was written of it takes room that somebody needs.
            let _ = file.set_len(before);
        }
        false
    }

    /// How long the file is, bytes; `None` if it is no longer the one that has the name.
    fn size(&self) -> Option<u64> {
        let own = self.file.as_ref()?.metadata().ok()?;
        let there = fs_err::metadata(file(&self.dir, 0)).ok()?;
        ((own.dev(), own.ino()) == (there.dev(), there.ino())).then_some(there.len())
    }

    /// Goes on with the file that has the name, or makes it. Returns its length.
    fn begin(&mut self) -> Result<u64> {
        let path = file(&self.dir, 0);
        let mut opened = fs_err::OpenOptions::new().create(true).append(true).read(true).open(path)?.into_file();
        let mut size = opened.metadata()?.len();
        let mut last = [b'\n'];
        if size > 0 && opened.read_at(&mut last, size - 1).is_ok() && last != *b"\n" {
            // Whoever wrote last was killed half-way.
            opened.write_all(b"\n")?;
            size += 1;
        }
        self.file = Some(opened);
        Ok(size)
    }

    /// Every file gets the next number, and the last one goes.
    fn rotate(&mut self) -> Result<u64> {
        for number in (1..self.log.max_file).rev() {
            match rustix::fs::rename(file(&self.dir, number - 1), file(&self.dir, number)) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(std::io::Error::from(errno).into()),
            }
        }
        if self.log.max_file == 1 {
            fs_err::remove_file(file(&self.dir, 0))?;
        }
        self.begin()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &Path) -> Vec<(Stream, String)> {
        let text = fs_err::read(path).unwrap();
        let entries = text.split_inclusive(|byte| *byte == b'\n').map(|line| {
            let entry = entry::read(line.strip_suffix(b"\n").unwrap()).unwrap();
            (entry.stream, String::from_utf8(entry.text.into_owned()).unwrap())
        });
        entries.collect()
    }

    #[test]
    fn lines_whole_and_in_parts() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path(), &Log::default()).unwrap();
        writer.take(Stream::Out, b"one\ntw");
        writer.take(Stream::Err, b"error");
        writer.take(Stream::Out, b"o\n");
        let long = vec![b'x'; LONGEST + 10];
        writer.take(Stream::Out, &long);
        writer.take(Stream::Out, b"\n");
        writer.finish();
        let expected = [
            (Stream::Out, "one\n".to_owned()),
            (Stream::Out, "two\n".to_owned()),
            (Stream::Out, "x".repeat(LONGEST)),
            (Stream::Out, "x".repeat(10) + "\n"),
            (Stream::Err, "error".to_owned()),
        ];
        assert_eq!(lines(&file(dir.path(), 0)), expected);
        // What comes later goes behind it.
        Writer::open(dir.path(), &Log::default()).unwrap().take(Stream::Out, b"later\n");
        assert_eq!(lines(&file(dir.path(), 0)).len(), 6);
        // Somebody was killed half-way.
        fs_err::OpenOptions::new().append(true).open(file(dir.path(), 0)).unwrap().write_all(b"{\"log").unwrap();
        Writer::open(dir.path(), &Log::default()).unwrap().take(Stream::Out, b"last\n");
        assert!(fs_err::read(file(dir.path(), 0)).unwrap().ends_with(b"Z\"}\n"));
        assert_eq!(fs_err::read_to_string(file(dir.path(), 0)).unwrap().lines().count(), 8);
    }

    #[test]
    fn so_many_files_of_so_many_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log { max_size: 1000, max_file: 3, ..Log::default() };
        let mut writer = Writer::open(dir.path(), &log).unwrap();
        for number in 0..100 {
            writer.take(Stream::Out, format!("line {number}\n").as_bytes());
        }
        let mut all = Vec::new();
        for number in (0..3).rev() {
            let path = file(dir.path(), number);
            assert!(fs_err::metadata(&path).unwrap().len() <= 1000);
            all.extend(lines(&path).into_iter().map(|(_, text)| text));
        }
        assert!(!file(dir.path(), 3).exists());
        assert_eq!(all.last().unwrap(), "line 99\n");
        let first: usize = all[0].trim_start_matches("line ").trim_end().parse().unwrap();
        assert_eq!(all.len(), 100 - first);
    }

    #[test]
    fn what_somebody_else_shortens_or_takes_away_goes_on() {
        for max_file in [1, 3] {
            let dir = tempfile::tempdir().unwrap();
            let path = file(dir.path(), 0);
            let log = Log { max_size: 1000, max_file, ..Log::default() };
            let mut writer = Writer::open(dir.path(), &log).unwrap();
            let written = || lines(&path).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
            writer.take(Stream::Out, b"one\n");
            fs_err::OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
            writer.take(Stream::Out, b"two\n");
            assert_eq!(written(), ["two\n"], "shortened");
            fs_err::remove_file(&path).unwrap();
            writer.take(Stream::Out, b"three\n");
            assert_eq!(written(), ["three\n"], "removed");
            fs_err::rename(&path, dir.path().join("moved")).unwrap();
            fs_err::write(&path, "{\"half a li").unwrap();
            writer.take(Stream::Out, b"four\n");
            assert_eq!(fs_err::read_to_string(&path).unwrap().lines().count(), 2, "another one");
            // It counts what is there, not what was written.
            (0..100).for_each(|_| {
                fs_err::OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
                writer.take(Stream::Out, b"five\n");
            });
            assert!(!file(dir.path(), 1).exists());
        }
    }

    #[test]
    fn what_is_lost_is_counted_as_it_was_said() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path(), &Log::default()).unwrap();
        let full = || fs_err::OpenOptions::new().write(true).open("/dev/full").unwrap().into_file();
        let file = writer.file.replace(full());
        // What it writes to has not the name, and there can be none.
        fs_err::remove_file(super::file(dir.path(), 0)).unwrap();
        fs_err::create_dir(super::file(dir.path(), 0)).unwrap();
        writer.take(Stream::Out, b"\"quoted\" and \x01\nbegun");
        assert_eq!(writer.lost, 15);
        writer.finish();
        assert_eq!(writer.lost, 20);
        fs_err::remove_dir(super::file(dir.path(), 0)).unwrap();
        writer.file = file;
        writer.take(Stream::Err, b"again\n");
        let all: Vec<String> = lines(&super::file(dir.path(), 0)).into_iter().map(|(_, text)| text).collect();
        assert_eq!(all, ["rbox: 20 bytes of output were lost: the disk was full\n", "again\n"]);
    }

    #[test]
    fn nothing_is_kept_if_nothing_is_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path(), &Log { driver: Driver::None, ..Log::default() }).unwrap();
        writer.take(Stream::Out, b"x\n");
        writer.finish();
        assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 0);
    }
}
