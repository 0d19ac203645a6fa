//! A container's output from systemd's journal, which only its own program reads: journalctl(1).

use super::Stream;
use super::journal::Place;
use crate::engine::logs::{Sink, Wanted};
use crate::error::Advise;
use crate::paths;
use crate::sys::{ids, process};
use crate::time::Time;
use anyhow::{Context, Result, anyhow, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Deserialize;
use serde_json::Value;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often one looks whether a container that is followed runs still.
const LOOK: Duration = Duration::from_millis(200);
/// As long what it said last may be on its way to the journal, if nobody knows what that was.
const LATE: Duration = Duration::from_millis(300);
/// And if it is known.
const PATIENCE: Duration = Duration::from_secs(10);

/// An entry, as `-o json` prints it (systemd, `docs/JOURNAL_EXPORT_FORMATS.md`).
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "__CURSOR")]
    cursor: String,
    /// Microseconds since 1970.
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    time: String,
    /// Text, or a list of bytes where it is no UTF-8.
    #[serde(rename = "MESSAGE", default)]
    message: Value,
    #[serde(rename = "PRIORITY", default)]
    priority: Value,
    #[serde(rename = "CONTAINER_PARTIAL_MESSAGE")]
    partial: Option<Value>,
}

/// Gives the entries of the container with this id and directory away, as those of the `which`th one. `runs`: whether it still
/// does.
pub fn read(
    (which, id, dir): (usize, &str, &Path),
    wanted: &Wanted,
    sink: &mut dyn Sink,
    runs: &dyn Fn() -> Result<bool>,
) -> Result<()> {
    let program = paths::program("journalctl")
        .context("journalctl: not found in $PATH")
        .hint(|| "what the container says is in systemd's journal, which no other program reads".to_owned())?;
    let command = |since: Option<Time>| {
        let mut command = Command::new(&program);
        // Anybody can write an entry with any field, but not with another user's number.
        command.args(["--quiet", "--no-pager", "--all", "--output=json"]);
        command.arg(format!("CONTAINER_ID_FULL={id}")).arg(format!("_UID={}", ids::uid()));
        let moments = [("--since", since), ("--until", wanted.until)];
        command.args(moments.iter().filter_map(|(option, time)| {
            let time = (*time)?;
            Some(format!("{option}=@{}.{:06}", time.seconds(), time.nanos() / 1000))
        }));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let mut first = command(wanted.since);
    let lines = wanted.tail.map(|count| format!("--lines={count}"));
    first.args(&lines);
    if !wanted.follow {
        if wanted.until.is_none() && !runs()? {
            arrive(&program, dir)?;
        }
        return entries(&mut first, (which, sink), None, &mut None);
    }
    if wanted.tail.is_none() {
        first.arg("--no-tail");
    }
    let mut last = None;
    entries(first.arg("--follow"), (which, sink), Some((wanted, runs)), &mut last)?;
    // It has ended, and the program was ended: what came in between.
    if wanted.until.is_none_or(|until| Time::now() < until) && !arrive(&program, dir)? {
        std::thread::sleep(LATE);
    }
    // One of the two says where it begins.
    let mut rest = command(wanted.since.filter(|_| last.is_none()));
    match &last {
        Some(cursor) => rest.arg(format!("--after-cursor={cursor}")),
        None => rest.args(&lines),
    };
    entries(&mut rest, (which, sink), None, &mut None)
}

/// Waits until the journal has what a container said last, for a while. False if nobody knows what that was.
fn arrive(program: &Path, dir: &Path) -> Result<bool> {
    let Some((Place { epoch, ordinal }, age)) = Place::last(dir) else { return Ok(false) };
    let since = Instant::now();
    // What is not there by then was not kept.
    while ordinal > 0 && age + since.elapsed() < PATIENCE {
        let mut command = Command::new(program);
        command.args(["--quiet", "--no-pager", "--output=cat", "--output-fields=CONTAINER_LOG_ORDINAL", "--lines=1"]);
        command.arg(format!("CONTAINER_LOG_EPOCH={epoch}")).arg(format!("CONTAINER_LOG_ORDINAL={ordinal}"));
        // What is wrong with the program is told of the next one.
        let output = command.stdin(Stdio::null()).output().context("start of journalctl")?;
        // Without any entry there may be a status, and nothing is said.
        if !output.stdout.is_empty() || !output.stderr.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(true)
}

/// Gives what the program prints away, until it ends or nobody is followed any more. `last`: where the last entry is.
fn entries(
    command: &mut Command,
    (which, sink): (usize, &mut dyn Sink),
    follows: Option<(&Wanted, &dyn Fn() -> Result<bool>)>,
    last: &mut Option<String>,
) -> Result<()> {
    let mut child = process::Spawned(command.spawn().context("start of journalctl")?);
    let mut output = child.0.stdout.take().context("journalctl: no output")?;
    let mut rest = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        if let Some((wanted, runs)) = follows {
            let limit = Timespec { tv_sec: 0, tv_nsec: LOOK.subsec_nanos().into() };
            let mut fds = [PollFd::new(&output, PollFlags::IN)];
            let ready = rustix::io::retry_on_intr(|| poll(&mut fds, Some(&limit))).map_err(std::io::Error::from)?;
            if ready == 0 {
                if !runs()? || wanted.until.is_some_and(|until| Time::now() > until) {
                    return Ok(());
                }
                continue;
            }
        }
        let length = output.read(&mut chunk)?;
        rest.extend(&chunk[..length]);
        let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in rest[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let entry: Entry = serde_json::from_slice(line).context("journalctl: what it says is no entry")?;
            give(&entry, which, sink)?;
            *last = Some(entry.cursor);
        }
        rest.drain(..whole);
        sink.pause()?;
        if length == 0 {
            return ended(&mut child.0);
        }
    }
}

fn give(entry: &Entry, which: usize, sink: &mut dyn Sink) -> Result<()> {
    let micros: i64 = entry.time.parse().context("journalctl: a time")?;
    let time = Time::new(micros.div_euclid(1_000_000), (micros.rem_euclid(1_000_000) * 1000) as u32)?;
    let mut text = match &entry.message {
        Value::String(text) => text.clone().into_bytes(),
        Value::Array(bytes) => bytes.iter().filter_map(Value::as_u64).map(|byte| byte as u8).collect(),
        _ => Vec::new(),
    };
    if entry.partial.is_none() {
        text.push(b'\n');
    }
    let stream = if entry.priority == "3" { Stream::Err } else { Stream::Out };
    sink.entry(which, &time.to_string(), stream, &text)
}

fn ended(child: &mut Child) -> Result<()> {
    let mut said = String::new();
    if let Some(stderr) = &mut child.stderr {
        stderr.read_to_string(&mut said)?;
    }
    let status = child.wait()?;
    let said = said.trim();
    // Without any entry there may be a status, and nothing is said.
    if status.success() || said.is_empty() {
        return Ok(());
    }
    if said.contains("ermission") {
        return Err(anyhow!("journalctl: {said}"))
            .hint(|| "a user reads the entries of others as a member of the group systemd-journal".to_owned());
    }
    bail!("journalctl: {said}")
}
