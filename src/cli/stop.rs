//! `rbox stop`, `rbox restart`, `rbox kill`, `rbox wait`.

use super::each::each;
use super::selection::Selection;
use super::{grammar, output, start};
use crate::engine::container::{self, Found};
use crate::engine::events::{self, Actor};
use crate::engine::state::{self, Status};
use crate::engine::{stop, wait};
use crate::error::Failure;
use crate::spec::signal;
use crate::sys::fd;
use crate::time::parse_span;
use anyhow::{Context, Result, bail};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use std::time::Duration;

#[derive(Debug, Args)]
struct StopArgs {
    #[command(flatten)]
    selection: Selection,
    /// Do not complain about containers that are not there
    #[arg(short, long)]
    ignore: bool,
    /// Signal to send to the container
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<String>,
    /// Seconds to wait before killing the container; -1 is for ever [default: as it was made, or 10]
    #[arg(short = 't', long = "time", visible_alias = "timeout", value_name = "SECONDS", allow_hyphen_values = true)]
    time: Option<i64>,
}

#[derive(Debug, Args)]
struct KillArgs {
    #[command(flatten)]
    selection: Selection,
    /// Signal to send to the container [default: KILL]
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<String>,
}

#[derive(Debug, Args)]
struct WaitArgs {
    #[command(flatten)]
    selection: Selection,
    /// What to wait for: running, exited, stopped, created, healthy, unhealthy, removed [default: exited]
    #[arg(long, value_name = "CONDITION")]
    condition: Vec<String>,
    /// Time from one look to the next, for other conditions than exited [default: 250ms]
    #[arg(long, value_name = "SPAN")]
    interval: Option<String>,
    /// Do not complain about containers that are not there
    #[arg(short, long)]
    ignore: bool,
}

/// The grammar of `stop`.
pub fn options(command: Command) -> Command {
    grammar::<StopArgs>(command, "rbox stop [OPTIONS] CONTAINER...")
}

/// The grammar of `restart`.
pub fn restart_options(command: Command) -> Command {
    grammar::<StopArgs>(command, "rbox restart [OPTIONS] CONTAINER...")
}

/// The grammar of `kill`.
pub fn kill_options(command: Command) -> Command {
    grammar::<KillArgs>(command, "rbox kill [OPTIONS] CONTAINER...")
}

/// The grammar of `wait`.
pub fn wait_options(command: Command) -> Command {
    grammar::<WaitArgs>(command, "rbox wait [OPTIONS] CONTAINER...")
}

/// Stops containers and prints what was typed for them.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = StopArgs::from_arg_matches_mut(&mut matches)?;
    let signal = args.signal.as_deref().map(read_signal).transpose()?;
    Ok(each(&args.selection.names(runs)?, |name| {
        let Some(found) = found(name, args.ignore)? else { return Ok(()) };
        stop::stop(&found, signal, args.time)?;
        output::print(&format!("{name}\n")).map(drop)
    }))
}

/// Stops and starts them.
pub fn restart(mut matches: ArgMatches) -> Result<u8> {
    fd::close_range(3, u32::MAX)?;
    let args = StopArgs::from_arg_matches_mut(&mut matches)?;
    let signal = args.signal.as_deref().map(read_signal).transpose()?;
    Ok(each(&args.selection.names(runs)?, |name| {
        let Some(found) = found(name, args.ignore)? else { return Ok(()) };
        if found.live && found.dir.starts_with(&container::places()?[1]) {
            bail!("container {name}: one of --rm is gone when it has stopped");
        }
        stop::stop(&found, signal, args.time)?;
        start::in_background(&container::find(&found.container.id)?)?;
        events::container("restart", &Actor::container(&found.container));
        output::print(&format!("{name}\n")).map(drop)
    }))
}

/// Sends them a signal.
pub fn kill(mut matches: ArgMatches) -> Result<u8> {
    let args = KillArgs::from_arg_matches_mut(&mut matches)?;
    let signal = args.signal.as_deref().map(read_signal).transpose()?.unwrap_or(libc::SIGKILL);
    Ok(each(&args.selection.names(runs)?, |name| {
        stop::kill(&container::find(name)?, signal).context("cannot kill container")?;
        output::print(&format!("{name}\n")).map(drop)
    }))
}

/// Waits for their ends and prints their statuses.
pub fn wait(mut matches: ArgMatches) -> Result<u8> {
    let args = WaitArgs::from_arg_matches_mut(&mut matches)?;
    let conditions = args.condition.iter().map(|text| wait::condition(text).context("--condition"));
    let conditions = conditions.collect::<Result<Vec<_>>>()?;
    let interval = args.interval.as_deref().map(|text| parse_span(text).with_context(|| format!("--interval {text}")));
    let interval = Duration::from_nanos(interval.transpose()?.map_or(250_000_000, |nanos| nanos.max(1_000_000) as u64));
    Ok(each(&args.selection.names(runs)?, |name| match found(name, args.ignore)? {
        Some(found) if conditions.is_empty() => {
            let status = wait::wait(&found)?;
            if state::of(&found).is_ok_and(|state| state.exit.is_some_and(|exit| exit.oom)) {
                let message = format!("container {name}: {}", wait::OUT_OF_MEMORY);
                output::say(Failure { message, ..Failure::default() });
            }
            output::print(&format!("{status}\n")).map(drop)
        }
        Some(found) => output::print(&format!("{}\n", wait::until(&found, &conditions, interval)?)).map(drop),
        // podman's.
        None => output::print("-1\n").map(drop),
    }))
}

fn read_signal(text: &str) -> Result<i32> {
    signal::parse(text).with_context(|| format!("--signal {text}"))
}

fn found(name: &str, ignore: bool) -> Result<Option<Found>> {
    match container::find_if_there(name)? {
        None if ignore => Ok(None),
        None => container::find(name).map(Some),
        found => Ok(found),
    }
}

/// Those that are meant where all are.
fn runs(status: Status) -> bool {
    matches!(status, Status::Running | Status::Paused | Status::Restarting)
}
