//! The reading side: what was, and what comes.

use super::{Event, FILE, files, is_still};
use crate::engine::log::reader::Watch;
use crate::paths;
use anyhow::Result;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::time::Duration;

/// Reads events in their order.
pub struct Reader {
    /// None until there is one.
    file: Option<File>,
    /// What was read and has no end yet.
    rest: Vec<u8>,
    watch: Option<Watch>,
}

impl Reader {
    /// From the oldest one on. `follow`: those that come, too.
    pub fn open(follow: bool) -> Result<Reader> {
        let dir = paths::runtime_dir()?;
        // Before anything is read: nothing comes in between.
        let watch = follow.then(|| Watch::on([dir.as_path()].into_iter())).transpose()?;
        let mut file = None;
        for path in files()? {
            match File::open(path) {
                Ok(found) => {
                    file = Some(found);
                    break;
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Reader { file, rest: Vec::new(), watch })
    }

    /// Those that are there and were not read yet. A line that is none is skipped.
    pub fn unread(&mut self) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        let current = paths::runtime_dir()?.join(FILE);
        loop {
            let Some(file) = &mut self.file else {
                match File::open(&current) {
                    Ok(found) => self.file = Some(found),
                    Err(error) if error.kind() == ErrorKind::NotFound => return Ok(events),
                    Err(error) => return Err(error.into()),
                }
                continue;
            };
            // In this order: whoever has written to it before it was renamed is read.
            let is_last = is_still(&current, file);
            file.read_to_end(&mut self.rest)?;
            while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                events.extend(serde_json::from_slice::<Event>(&line));
            }
            if is_last {
                return Ok(events);
            }
            self.file = None;
            self.rest.clear();
        }
    }

    /// Waits until there may be more, a second at most.
    pub fn wait(&self) -> Result<()> {
        self.watch.as_ref().map_or(Ok(()), |watch| watch.wait(Duration::from_secs(1)))
    }
}
