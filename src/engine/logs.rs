//! `logs`: what a container has said.

use super::container::{self, Found};
use super::log::entry::Entry;
use super::log::reader::{Reader, Watch};
use super::log::{self, Stream};
use super::state::{self, Status};
use crate::error::Advise;
use crate::spec::log::Driver;
use crate::time::Time;
use anyhow::{Result, anyhow};

/// Which of it.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// What comes, too, until the container ends.
    pub follow: bool,
    /// Not what is older.
    pub since: Option<Time>,
    /// Not what is newer.
    pub until: Option<Time>,
    /// The last so many entries.
    pub tail: Option<usize>,
}

/// Who gets the entries.
pub trait Sink {
    /// One of them: when, where to, what.
    fn entry(&mut self, time: &str, stream: Stream, text: &[u8]) -> Result<()>;
    /// Those were all for now.
    fn pause(&mut self) -> Result<()>;
}

/// Gives the entries of a container's log away. True if some of it was removed before it was read.
pub fn logs(found: &Found, wanted: &Wanted, sink: &mut dyn Sink) -> Result<bool> {
    if found.container.log == Driver::Journald {
        log::journalctl::read(&found.container.id, wanted, sink, &|| runs(found))?;
        return Ok(false);
    }
    if log::reader::numbers(&found.dir).is_empty() && state::of(found)?.status != Status::Created {
        return Err(anyhow!("container {} has no log", found.shown())).hint(|| {
            "what a container in the foreground says goes to where it was run; with -d it goes to the log".to_owned()
        });
    }
    // Before it is read: nothing comes in between.
    let watch = wanted.follow.then(|| Watch::on(&found.dir)).transpose()?;
    let mut reader = match wanted.tail {
        Some(count) => Reader::open_at_tail(&found.dir, count)?,
        None => Reader::open(&found.dir)?,
    };
    let give = |sink: &mut dyn Sink, entry: &Entry<'_>| -> Result<bool> {
        if wanted.since.is_some() || wanted.until.is_some() {
            let time = Time::parse(&entry.time)?;
            if wanted.since.is_some_and(|since| time < since) {
                return Ok(true);
            }
            if wanted.until.is_some_and(|until| time > until) {
                return Ok(false);
            }
        }
        sink.entry(&entry.time, entry.stream, &entry.text)?;
        Ok(true)
    };
    loop {
        // Before the log is read to its end: whoever has ended says nothing more.
        let runs = wanted.follow && runs(found)?;
        let all = reader.read(&mut |entry| give(sink, entry))?;
        sink.pause()?;
        if !all || !runs {
            return Ok(reader.lost);
        }
        if wanted.until.is_some_and(|until| Time::now() > until) {
            return Ok(reader.lost);
        }
        if let Some(watch) = &watch {
            watch.wait()?;
        }
    }
}

/// Whether somebody is responsible for it still, or it was never started.
fn runs(found: &Found) -> Result<bool> {
    match container::read(&found.dir)? {
        Some(now) if now.container.id == found.container.id => {
            Ok(now.live || state::of(&now)?.status == Status::Created)
        }
        _ => Ok(false),
    }
}
