//! The reading side of a log, also while it is written.

use super::entry::{self, Entry};
use super::{FILE, file};
use crate::sys::Named;
use anyhow::Result;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// As much is read at once, bytes.
const CHUNK: usize = 64 * 1024;
/// How often a file is looked for.
const LOOKS: u32 = 3;

/// Reads a log from the oldest file to the one that is written to.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    /// None if there is none yet.
    file: Option<File>,
    /// What was read and has no end yet.
    rest: Vec<u8>,
    /// Files that were removed before they could be read.
    pub lost: bool,
}

impl Reader {
    /// At the beginning of the log in a container's directory.
    pub fn open(dir: &Path) -> Result<Reader> {
        let mut reader = Reader { dir: dir.to_owned(), file: None, rest: Vec::new(), lost: false };
        reader.file = reader.oldest()?;
        Ok(reader)
    }

    /// At the last `count` entries.
    pub fn open_at_tail(dir: &Path, count: usize) -> Result<Reader> {
        let mut reader = Reader { dir: dir.to_owned(), file: None, rest: Vec::new(), lost: false };
        let mut left = count;
        for number in numbers(dir) {
            let Some(opened) = open(&file(dir, number))? else { continue };
            let start = tail(&opened, &mut left)?;
            seek(&opened, start)?;
            reader.file = Some(opened);
            if left == 0 {
                break;
            }
        }
        Ok(reader)
    }

    fn oldest(&self) -> Result<Option<File>> {
        for number in numbers(&self.dir).into_iter().rev() {
            if let Some(opened) = open(&file(&self.dir, number))? {
                return Ok(Some(opened));
            }
        }
        Ok(None)
    }

    /// Gives everything that is there to `each`, until that says no.
    pub fn read(&mut self, each: &mut dyn FnMut(&Entry<'_>) -> Result<bool>) -> Result<bool> {
        loop {
            // Before it is read to its end: whoever begins a new file writes to the old one no more.
            let number = self.number()?;
            if !self.drain(each)? {
                return Ok(false);
            }
            match number {
                Some(0) => return Ok(true),
                Some(_) => {
                    // There may be further ones by now.
                    let newer = self.number()?.map(|number| number.saturating_sub(1));
                    let next = newer.map(|number| open(&file(&self.dir, number))).transpose()?.flatten();
                    // A new one is being begun, and is there in a moment.
                    let Some(next) = next else { return Ok(true) };
                    self.file = Some(next);
                    self.rest.clear();
                }
                None => {
                    let Some(oldest) = self.oldest()? else { return Ok(true) };
                    // Or it has another number by now than a moment ago.
                    if self.number()?.is_none() {
                        self.lost |= self.file.is_some();
                        self.file = Some(oldest);
                        self.rest.clear();
                    }
                }
            }
        }
    }

    /// Which file of the log is the one that is read, at this moment.
    fn number(&self) -> Result<Option<u32>> {
        let Some(own) = &self.file else { return Ok(None) };
        let own = own.metadata()?;
        let is_own = |number: &u32| {
            let there = rustix::fs::stat(file(&self.dir, *number));
            there.is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (own.dev(), own.ino()))
        };
        // While they get other numbers one may be passed over.
        Ok((0..LOOKS).find_map(|_| numbers(&self.dir).into_iter().find(is_own)))
    }

    fn drain(&mut self, each: &mut dyn FnMut(&Entry<'_>) -> Result<bool>) -> Result<bool> {
        let Some(file) = &mut self.file else { return Ok(true) };
        let mut chunk = vec![0; CHUNK];
        loop {
            let length = file.read(&mut chunk)?;
            if length == 0 {
                if file.metadata()?.len() >= file.stream_position()? {
                    return Ok(true);
                }
                // Somebody has shortened it: what is said now is at its beginning.
                file.rewind()?;
                self.rest.clear();
                continue;
            }
            self.rest.extend(&chunk[..length]);
            let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            for line in self.rest[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                // What cannot be read is half a line of somebody who was killed.
                if let Some(entry) = entry::read(line) {
                    if !each(&entry)? {
                        return Ok(false);
                    }
                }
            }
            self.rest.drain(..whole);
        }
    }
}

/// Waits for changes in containers' directories. A user has only so many inotify(7) instances and watches; without one it is
/// looked every now and then.
#[derive(Debug)]
pub struct Watch(Option<OwnedFd>);

/// How often it is looked without inotify.
const EVERY: Duration = Duration::from_millis(100);

impl Watch {
    /// From now on.
    pub fn on<'a>(dirs: impl Iterator<Item = &'a Path>) -> Result<Watch> {
        let used_up = |errno: Errno| matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOSPC | Errno::NOMEM);
        let inotify = match inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK) {
            Err(errno) if used_up(errno) => return Ok(Watch(None)),
            inotify => inotify.named(|| "inotify_init".to_owned())?,
        };
        let what = WatchFlags::MODIFY
            | WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF;
        for dir in dirs {
            match inotify::add_watch(&inotify, dir, what) {
                Err(errno) if used_up(errno) => return Ok(Watch(None)),
                // It is gone already, which is seen when it is read.
                Err(Errno::NOENT) => {}
                added => _ = added.named(|| format!("inotify_add_watch({})", dir.display()))?,
            }
        }
        Ok(Watch(Some(inotify)))
    }

    /// Waits until something has changed, or for as long.
    pub fn wait(&self, most: Duration) -> Result<()> {
        let Some(inotify) = &self.0 else {
            std::thread::sleep(EVERY.min(most));
            return Ok(());
        };
        let most = Timespec { tv_sec: most.as_secs() as i64, tv_nsec: most.subsec_nanos().into() };
        let mut fds = [PollFd::new(inotify, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut fds, Some(&most))).named(|| "poll".to_owned())?;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(inotify, &mut buffer);
        while events.next().is_ok() {}
        Ok(())
    }
}

fn open(path: &Path) -> Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn seek(mut file: &File, to: u64) -> Result<()> {
    file.seek(SeekFrom::Start(to))?;
    Ok(())
}

/// Where the last `left` lines of a file begin; `left` becomes how many are still missing.
fn tail(file: &File, left: &mut usize) -> Result<u64> {
    let whole = file.metadata()?.len();
    let mut end = whole;
    let mut chunk = vec![0; CHUNK];
    let mut is_last = true;
    while end > 0 {
        let start = end.saturating_sub(CHUNK as u64);
        let part = &mut chunk[..(end - start) as usize];
        file.read_exact_at(part, start)?;
        for (at, _) in part.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            // The last one ends the last line; what is behind it is half of one.
            if !std::mem::take(&mut is_last) {
                *left -= 1;
            }
            if *left == 0 {
                return Ok(start + at as u64 + 1);
            }
        }
        end = start;
    }
    if !is_last {
        *left = left.saturating_sub(1);
    }
    Ok(0)
}

/// The numbers of the files that are there, the one that is written to first. None of them may be missing for ever: whoever
/// begins a new file may be killed half-way.
pub fn numbers(dir: &Path) -> Vec<u32> {
    let number = |name: &str| match name.strip_prefix(FILE)? {
        "" => Some(0),
        rest => rest.strip_prefix('.')?.parse().ok(),
    };
    let names = fs_err::read_dir(dir).into_iter().flatten().flatten();
    let mut all: Vec<u32> = names.filter_map(|entry| number(entry.file_name().to_str()?)).collect();
    all.sort_unstable();
    all
}

#[cfg(test)]
mod tests {
    use super::super::Stream;
    use super::super::writer::Writer;
    use super::*;
    use crate::spec::log::Log;

    fn all(reader: &mut Reader) -> Vec<String> {
        let mut found = Vec::new();
        reader
            .read(&mut |entry| {
                found.push(String::from_utf8_lossy(&entry.text).trim_end().to_owned());
                Ok(true)
            })
            .unwrap();
        found
    }

    #[test]
    fn files_that_are_rotated_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log { max_size: 500, max_file: 4, ..Log::default() };
        let mut writer = Writer::open(dir.path(), &log).unwrap();
        let mut reader = Reader::open(dir.path()).unwrap();
        let mut found = Vec::new();
        for number in 0..200 {
            writer.take(Stream::Out, format!("{number}\n").as_bytes());
            // Sometimes late, by more than a file.
            if number % 13 == 0 {
                found.extend(all(&mut reader));
            }
        }
        found.extend(all(&mut reader));
        assert_eq!(found, (0..200).map(|number| number.to_string()).collect::<Vec<_>>());
        assert!(!reader.lost);
        for number in 200..300 {
            writer.take(Stream::Out, format!("{number}\n").as_bytes());
        }
        // Too late.
        let late = all(&mut reader);
        assert!(reader.lost && late.len() < 100 && late.last().unwrap() == "299");
    }

    #[test]
    fn the_last_lines() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log { max_size: 500, max_file: 4, ..Log::default() };
        let mut writer = Writer::open(dir.path(), &log).unwrap();
        for number in 0..40 {
            writer.take(Stream::Out, format!("{number}\n").as_bytes());
        }
        let kept = all(&mut Reader::open(dir.path()).unwrap());
        for count in [0, 1, 2, 7, 8, 9, 15, 1000] {
            let expected = &kept[kept.len().saturating_sub(count)..];
            assert_eq!(all(&mut Reader::open_at_tail(dir.path(), count).unwrap()), expected, "{count}");
        }
    }

    #[test]
    fn a_file_that_somebody_shortens() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path(), &Log::default()).unwrap();
        let mut reader = Reader::open(dir.path()).unwrap();
        writer.take(Stream::Out, b"a long line\n");
        assert_eq!(all(&mut reader), ["a long line"]);
        // As logrotate does it with copytruncate.
        fs_err::OpenOptions::new().write(true).truncate(true).open(file(dir.path(), 0)).unwrap();
        assert!(all(&mut reader).is_empty());
        writer.take(Stream::Out, b"x\n");
        assert_eq!(all(&mut reader), ["x"]);
        assert!(!reader.lost);
    }

    #[test]
    fn no_log_yet() {
        let dir = tempfile::tempdir().unwrap();
        let mut reader = Reader::open(dir.path()).unwrap();
        assert!(all(&mut reader).is_empty());
        Writer::open(dir.path(), &Log::default()).unwrap().take(Stream::Err, b"x\n");
        assert_eq!(all(&mut reader), ["x"]);
    }
}
