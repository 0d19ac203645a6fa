//! `logs`: what containers have said.

use super::container::{self, Found};
use super::inspect::asked;
use super::log::entry::Entry;
use super::log::reader::{Reader, Watch};
use super::log::{self, Stream};
use super::state::{self, Status};
use crate::error::Advise;
use crate::spec::log::Driver;
use crate::time::Time;
use anyhow::{Result, anyhow, ensure};
use std::time::Duration;

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
    /// One of them: of which container, when, where to, what.
    fn entry(&mut self, which: usize, time: &str, stream: Stream, text: &[u8]) -> Result<()>;
    /// Those were all for now.
    fn pause(&mut self) -> Result<()>;
}

/// The log of one container.
#[derive(Debug)]
pub struct Source {
    found: Found,
    /// None if it is in systemd's journal.
    reader: Option<Reader>,
    /// When the last entry was said that has a time.
    last: Option<Time>,
    done: bool,
}

/// It is looked at least so often whether a container is there still.
const OFTEN: Duration = Duration::from_secs(1);

/// Opens the log of a container.
pub fn open(found: Found, tail: Option<usize>) -> Result<Source> {
    if found.container.log == Driver::Journald {
        return Ok(Source { found, reader: None, last: None, done: false });
    }
    if log::reader::numbers(&found.dir).is_empty() {
        refuse(&found)?;
    }
    let reader = match tail {
        Some(count) => Reader::open_at_tail(&found.dir, count)?,
        None => Reader::open(&found.dir)?,
    };
    Ok(Source { found, reader: Some(reader), last: None, done: false })
}

/// Says why there is none; nothing if there may be one later.
fn refuse(found: &Found) -> Result<()> {
    let driver = asked::of(found).map(|options| options.log.driver).unwrap_or_default();
    if matches!(driver, Driver::None | Driver::Passthrough) {
        return Err(anyhow!("container {}: its log driver is {driver}", found.shown())).hint(|| {
            "nothing of what it says is kept; one that is made with --log-driver json-file, or without it, has a log"
                .to_owned()
        });
    }
    if state::of(found)?.status == Status::Created {
        return Ok(());
    }
    Err(anyhow!("container {} has no log", found.shown())).hint(|| {
        "what a container in the foreground says goes to where it was run; with -d it goes to the log".to_owned()
    })
}

/// Gives the entries of logs away, of one after the other, and what comes as it comes. True if some of it was removed before
/// it was read.
pub fn logs(sources: &mut [Source], wanted: &Wanted, sink: &mut dyn Sink) -> Result<bool> {
    let several = sources.len() > 1;
    for (which, source) in sources.iter_mut().enumerate().filter(|(_, source)| source.reader.is_none()) {
        ensure!(
            !(several && wanted.follow),
            "container {}: what it says is in the journal, which can be followed for one container only",
            source.found.shown()
        );
        let Source { found, done, .. } = source;
        log::journalctl::read((which, &found.container.id, &found.dir), wanted, sink, &|| runs(found))?;
        *done = true;
    }
    // Before anything is read: nothing comes in between.
    let watch =
        wanted.follow.then(|| Watch::on(sources.iter().map(|source| source.found.dir.as_path()))).transpose()?;
    loop {
        let now = Time::now();
        let is_over = wanted.until.is_some_and(|until| now > until);
        for (which, source) in sources.iter_mut().enumerate().filter(|(_, source)| !source.done) {
            // Before the log is read to its end: whoever has ended says nothing more.
            let goes_on = wanted.follow && !is_over && runs(&source.found)?;
            let all = source.read(which, wanted, sink)?;
            sink.pause()?;
            source.done = !all || !goes_on;
        }
        let Some(watch) = watch.as_ref().filter(|_| sources.iter().any(|source| !source.done)) else {
            return Ok(sources.iter().any(|source| source.reader.as_ref().is_some_and(|reader| reader.lost)));
        };
        let left = wanted.until.map(|until| until.since(now)).and_then(|nanos| u64::try_from(nanos).ok());
        watch.wait(left.map_or(OFTEN, |nanos| OFTEN.min(Duration::from_nanos(nanos.saturating_add(1)))))?;
    }
}

impl Source {
    /// Gives away what there is; false if the rest is not wanted.
    fn read(&mut self, which: usize, wanted: &Wanted, sink: &mut dyn Sink) -> Result<bool> {
        let Source { reader: Some(reader), last, .. } = self else { return Ok(true) };
        reader.read(&mut |entry: &Entry<'_>| {
            if wanted.since.is_some() || wanted.until.is_some() {
                // What has an odd time was said after what is before it.
                *last = Time::parse(&entry.time).ok().or(*last);
                if wanted.since.is_some_and(|since| last.is_some_and(|time| time < since)) {
                    return Ok(true);
                }
                if wanted.until.is_some_and(|until| last.is_some_and(|time| time > until)) {
                    return Ok(false);
                }
            }
            sink.entry(which, &entry.time, entry.stream, &entry.text)?;
            Ok(true)
        })
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
