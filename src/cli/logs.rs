//! `rbox logs`.

use super::each::partly;
use super::{grammar, human, output};
use crate::engine::log::Stream;
use crate::engine::logs::{self, Sink, Wanted};
use crate::engine::{container, list};
use crate::error::Failure;
use crate::time::Time;
use anyhow::{Context, Result, bail};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use std::io::Write;

#[derive(Debug, Args)]
struct LogsArgs {
    /// Names or ids of containers
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
    /// Follow log output
    #[arg(short, long)]
    follow: bool,
    /// The container that was created last
    #[arg(short, long)]
    latest: bool,
    /// Print the name of the container before each line; of several without it the id
    #[arg(long)]
    names: bool,
    /// Show logs since a time, or for a span until now: 2006-01-02T15:04:05Z, 42m
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Number of lines to show from the end of the logs, or all
    #[arg(short = 'n', long, value_name = "COUNT", allow_hyphen_values = true)]
    tail: Option<String>,
    /// Show timestamps
    #[arg(short, long)]
    timestamps: bool,
    /// Show logs before a time, or up to a span before now
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<String>,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<LogsArgs>(command, "rbox logs [OPTIONS] CONTAINER...")
}

/// Prints what containers have said, to the streams that they have said it to.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = LogsArgs::from_arg_matches_mut(&mut matches)?;
    let mut containers = args.containers;
    match (args.latest, containers.is_empty()) {
        (true, true) => {
            let (all, _) = list::list()?;
            containers.push(all.into_iter().next().context("--latest: there is no container")?.found.container.id);
        }
        (true, false) => bail!("--latest: excludes a name"),
        (false, true) => bail!("no container is named"),
        (false, false) => {}
    }
    let now = Time::now();
    let moment = |option: &str, text: &Option<String>| {
        text.as_deref().map(|text| human::moment(text, now).with_context(|| format!("{option} {text}"))).transpose()
    };
    let tail = match args.tail.as_deref() {
        None | Some("all") => None,
        // docker takes every negative number for all.
        Some(text) => match text.parse::<i64>().with_context(|| format!("--tail {text}: a number, or all"))? {
            count @ 0.. => Some(count as usize),
            _ => None,
        },
    };
    let wanted = Wanted {
        follow: args.follow,
        since: moment("--since", &args.since)?,
        until: moment("--until", &args.until)?,
        tail,
    };
    let several = containers.len() > 1;
    let mut marks = Vec::new();
    let (mut sources, status) = partly(&containers, |name| {
        let found = container::find(name)?;
        let mark = match (args.names, several) {
            (true, _) => format!("{} ", found.shown()),
            (false, true) => format!("{} ", found.container.id.get(..12).unwrap_or_default()),
            (false, false) => String::new(),
        };
        let source = logs::open(found, wanted.tail)?;
        marks.push(mark);
        Ok(source)
    });
    let mut printer = Printer { timestamps: args.timestamps, marks, last: Stream::Out, ready: Vec::new() };
    let lost = match logs::logs(&mut sources, &wanted, &mut printer) {
        Ok(lost) => lost,
        failed => return output::transferred(failed.map(drop)),
    };
    if lost {
        let message = "logs: some of it was removed before it could be read".to_owned();
        output::error(&Failure { message, ..Failure::default() }.render());
    }
    Ok(status)
}

/// To the streams that the container has written to, in its order.
struct Printer {
    timestamps: bool,
    /// What stands before the lines of each.
    marks: Vec<String>,
    last: Stream,
    ready: Vec<u8>,
}

/// As much is printed at once, bytes.
const CHUNK: usize = 64 * 1024;

impl Sink for Printer {
    fn entry(&mut self, which: usize, time: &str, stream: Stream, text: &[u8]) -> Result<()> {
        if stream != self.last || self.ready.len() >= CHUNK {
            self.pause()?;
            self.last = stream;
        }
        self.ready.extend(self.marks.get(which).map(String::as_bytes).unwrap_or_default());
        if self.timestamps {
            self.ready.extend(time.as_bytes());
            self.ready.push(b' ');
        }
        self.ready.extend(text);
        Ok(())
    }

    fn pause(&mut self) -> Result<()> {
        match self.last {
            Stream::Out => std::io::stdout().lock().write_all(&self.ready).and_then(|()| std::io::stdout().flush())?,
            Stream::Err => std::io::stderr().lock().write_all(&self.ready)?,
        }
        self.ready.clear();
        Ok(())
    }
}
