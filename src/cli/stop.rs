//! `rbox stop`, `rbox restart`, `rbox kill`, `rbox wait`.

use super::each::each;
use super::{grammar, output, start};
use crate::engine::container::{self, Found};
use crate::engine::events::{self, Actor};
use crate::engine::state::{self, Status};
use crate::engine::{stop, wait};
use crate::error::Advise;
use crate::spec::signal;
use crate::sys::fd;
use anyhow::{Context, Result, bail};
use clap::{ArgMatches, Args, Command, FromArgMatches};

#[derive(Debug, Args)]
struct StopArgs {
    /// Names or ids of containers
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
    /// All containers that run
    #[arg(short, long)]
    all: bool,
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
    /// Names or ids of containers
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
    /// All containers that run
    #[arg(short, long)]
    all: bool,
    /// Signal to send to the container [default: KILL]
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<String>,
}

#[derive(Debug, Args)]
struct WaitArgs {
    /// Names or ids of containers
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
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
    Ok(each(&named(args.containers, args.all)?, |name| {
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
    Ok(each(&named(args.containers, args.all)?, |name| {
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
    Ok(each(&named(args.containers, args.all)?, |name| {
        stop::kill(&container::find(name)?, signal).context("cannot kill container")?;
        output::print(&format!("{name}\n")).map(drop)
    }))
}

/// Waits for their ends and prints their statuses.
pub fn wait(mut matches: ArgMatches) -> Result<u8> {
    let args = WaitArgs::from_arg_matches_mut(&mut matches)?;
    Ok(each(&args.containers, |name| match found(name, args.ignore)? {
        Some(found) => output::print(&format!("{}\n", wait::wait(&found)?)).map(drop),
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

/// What was typed, or every container that runs.
fn named(names: Vec<String>, all: bool) -> Result<Vec<String>> {
    match (all, names.is_empty()) {
        (true, false) => bail!("--all: excludes names"),
        (false, true) => {
            Err(anyhow::anyhow!("no container is named")).hint(|| "`rbox ps` lists those that run".to_owned())
        }
        (false, false) => Ok(names),
        (true, true) => {
            let mut running = Vec::new();
            for found in container::all()?.found {
                if state::of(&found)?.status == Status::Running {
                    running.push(found.container.id);
                }
            }
            Ok(running)
        }
    }
}
