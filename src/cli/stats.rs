//! `rbox stats`.

mod pace;
mod row;

use super::format::{self, Column};
use super::{failure, grammar, output, selection};
use crate::engine::container;
use crate::engine::stats::{Figures, Stats, Whom};
use crate::error::{FAILED, Failure};
use anyhow::{Context, Result, ensure};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use pace::Pace;
use std::io::IsTerminal;
use std::time::Duration;

#[derive(Debug, Args)]
struct StatsArgs {
    /// Names or ids of containers [default: all that run]
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
    /// Show all containers, not just those that run
    #[arg(short, long)]
    all: bool,
    /// Format output: table, json, or a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Seconds between two times
    #[arg(short, long, value_name = "SECONDS", default_value = "1")]
    interval: String,
    /// Show the container that was created last
    #[arg(short, long)]
    latest: bool,
    /// Do not clear the terminal in between
    #[arg(long)]
    no_reset: bool,
    /// Show one result and end
    #[arg(long)]
    no_stream: bool,
    /// Do not cut output
    #[arg(long)]
    no_trunc: bool,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<StatsArgs>(command, "rbox stats [OPTIONS] [CONTAINER...]")
}

const COLUMNS: [Column; 10] = [
    Column { heading: "CONTAINER ID", field: "ID", shown: true },
    Column { heading: "NAME", field: "Name", shown: true },
    Column { heading: "CPU %", field: "CPUPerc", shown: true },
    Column { heading: "MEM USAGE / LIMIT", field: "MemUsage", shown: true },
    Column { heading: "MEM %", field: "MemPerc", shown: true },
    Column { heading: "NET I/O", field: "NetIO", shown: true },
    Column { heading: "BLOCK I/O", field: "BlockIO", shown: true },
    Column { heading: "PIDS", field: "PIDs", shown: true },
    Column { heading: "CONTAINER", field: "Container", shown: false },
    Column { heading: "PRESSURE", field: "Pressure", shown: false },
];

/// Prints what containers use until it is told to end, or the containers that were named are gone.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = StatsArgs::from_arg_matches_mut(&mut matches)?;
    let interval = interval(&args.interval).with_context(|| format!("--interval {}", args.interval))?;
    let typed = Typed::read(&args)?;
    let mut stats = Stats::of(typed.whom(args.all));
    let redraws = std::io::stdout().is_terminal() && !args.no_stream && !args.no_reset;
    let mut pace = Pace::begin(interval)?;
    let mut told: Vec<Failure> = Vec::new();
    let mut is_first = true;
    loop {
        let counted = stats.count()?;
        let news: Vec<Failure> = counted.failures.into_iter().filter(|failure| !told.contains(failure)).collect();
        failure::tell(&news);
        told.extend(news);
        let figures = typed.sorted(counted.all);
        if figures.is_empty() && !typed.is_empty() && !args.no_stream {
            break;
        }
        let row = |(typed, figures): &(Option<&str>, Figures)| row::row(figures, *typed, args.no_trunc);
        let text = format::list(&figures.iter().map(row).collect::<Vec<_>>(), &COLUMNS, args.format.as_deref(), true)?;
        // The first time nobody's share of processors is known; whoever looks on sees at once that there is something.
        let waits = is_first && !redraws && figures.iter().any(|(_, figures)| figures.runs);
        if !waits {
            output::print(&if redraws { over(&text) } else { text })?;
        }
        if (args.no_stream && !waits) || !pace.wait()? {
            break;
        }
        is_first = false;
    }
    Ok(if told.is_empty() { 0 } else { FAILED })
}

/// podman has whole seconds.
fn interval(text: &str) -> Result<Duration> {
    let interval = Duration::try_from_secs_f64(text.parse().context("a number of seconds is wanted")?)?;
    ensure!(interval >= Duration::from_millis(1), "at least a millisecond is wanted");
    Ok(interval)
}

/// Text in place of what the terminal shows, line by line, so that nothing flickers.
fn over(text: &str) -> String {
    let lines: String = text.lines().map(|line| format!("{line}\x1b[K\n")).collect();
    format!("\x1b[H{lines}\x1b[J")
}

/// The containers that were named, as they were typed, and their ids; none means all.
struct Typed(Vec<(String, String)>);

impl Typed {
    fn read(args: &StatsArgs) -> Result<Typed> {
        let mut all: Vec<(String, String)> = Vec::new();
        if args.latest {
            ensure!(args.containers.is_empty(), "--latest: excludes names");
            ensure!(!args.all, "--latest: excludes --all");
            let id = selection::latest()?.container.id;
            return Ok(Typed(vec![(id.get(..12).unwrap_or(&id).to_owned(), id)]));
        }
        for name in &args.containers {
            let id = container::find(name)?.container.id;
            if all.iter().all(|(_, known)| *known != id) {
                all.push((name.clone(), id));
            }
        }
        Ok(Typed(all))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn whom(&self, all: bool) -> Whom {
        match (self.is_empty(), all) {
            (false, _) => Whom::These(self.0.iter().map(|(_, id)| id.clone()).collect()),
            (true, true) => Whom::All,
            (true, false) => Whom::Running,
        }
    }

    /// In the order in which they were typed, with what was typed.
    fn sorted(&self, mut figures: Vec<Figures>) -> Vec<(Option<&str>, Figures)> {
        let place = |figures: &Figures| self.0.iter().position(|(_, id)| *id == figures.id);
        figures.sort_by_key(place);
        let typed = |figures: &Figures| place(figures).map(|place| self.0[place].0.as_str());
        figures.into_iter().map(|figures| (typed(&figures), figures)).collect()
    }
}
