//! `rbox container` and the verbs below it, most of which stand alone, too.

use super::confirm::confirm;
use super::each::partly;
use super::filter::Filters;
use super::{
    attach, commit, cp, diff, export, failure, format, grammar, group, human, logs, output, pause, port, ps, rm, run,
    start, stats, stop, top, update, verb,
};
use crate::engine::{container, inspect, prune};
use crate::time::Time;
use anyhow::Result;
use clap::{ArgMatches, Args, Command, FromArgMatches};

#[derive(Debug, Args)]
struct InspectArgs {
    /// Names or ids of containers
    #[arg(value_name = "CONTAINER", required = true)]
    names: Vec<String>,
    /// Format output: json, or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Display total file sizes
    #[arg(short, long)]
    size: bool,
}

#[derive(Debug, Args)]
struct ExistsArgs {
    /// Name or id of the container
    #[arg(value_name = "CONTAINER")]
    name: String,
}

#[derive(Debug, Args)]
struct PruneArgs {
    /// Provide filter values: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE]
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    let exists = |command| grammar::<ExistsArgs>(command, "rbox container exists CONTAINER");
    let inspect = |command| grammar::<InspectArgs>(command, "rbox container inspect [OPTIONS] CONTAINER...");
    let prune = |command| grammar::<PruneArgs>(command, "rbox container prune [OPTIONS]");
    group(command, "rbox container COMMAND")
        .subcommand(verb("attach", "Attach to what a container that runs says and reads", attach::options))
        .subcommand(verb("commit", "Make an image of a container", commit::options))
        .subcommand(verb("cp", "Copy files between a container and the host", cp::options))
        .subcommand(verb("create", "Create a new container", run::create_options))
        .subcommand(verb("diff", "Show what a container has changed", diff::options))
        .subcommand(verb("exists", "Tell by the exit status whether a container is here", exists))
        .subcommand(verb("export", "Write a container's files to an archive", export::options))
        .subcommand(verb("inspect", "Display detailed information on containers", inspect))
        .subcommand(verb("kill", "Send a signal to containers that run", stop::kill_options))
        .subcommand(verb("logs", "Show what a container has said", logs::options))
        .subcommand(verb("ls", "List containers", ps::options).visible_aliases(["list", "ps"]))
        .subcommand(verb("pause", "Pause all processes of containers", pause::options))
        .subcommand(verb("port", "List the ports of a container that are published", port::options))
        .subcommand(verb("prune", "Remove containers that have ended", prune))
        .subcommand(verb("rename", "Give a container another name", start::rename_options))
        .subcommand(verb("restart", "Stop containers and start them again", stop::restart_options))
        .subcommand(verb("rm", "Remove containers", rm::options).visible_alias("remove"))
        .subcommand(verb("run", "Create and run a new container", run::options))
        .subcommand(verb("start", "Start containers", start::options))
        .subcommand(verb("stats", "Show what containers use, again and again", stats::options))
        .subcommand(verb("stop", "Stop containers that run", stop::options))
        .subcommand(verb("top", "Show the processes of a container", top::options))
        .subcommand(verb("unpause", "Let containers that were paused go on", pause::unpause_options))
        .subcommand(verb("update", "Change the limits of containers", update::options))
        .subcommand(verb("wait", "Wait for the end of containers, then print their statuses", stop::wait_options))
}

/// Calls the verb.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let (verb, mut matches) = super::chosen(&mut matches)?;
    match verb.as_str() {
        "ls" => ps::main(matches),
        "exists" => {
            let args = ExistsArgs::from_arg_matches_mut(&mut matches)?;
            Ok(u8::from(container::find_if_there(&args.name)?.is_none()))
        }
        "inspect" => {
            let args = InspectArgs::from_arg_matches_mut(&mut matches)?;
            let mut damaged = 0;
            let (values, status) = partly(&args.names, |name| {
                let (value, failures) = inspect::inspect(&container::find(name)?, args.size);
                damaged = damaged.max(failure::tell(&failures));
                Ok(value)
            });
            output::print(&format::objects(&values, args.format.as_deref())?)?;
            Ok(status.max(damaged))
        }
        "prune" => prune_all(&PruneArgs::from_arg_matches_mut(&mut matches)?),
        verb => super::call(verb, matches),
    }
}

fn prune_all(args: &PruneArgs) -> Result<u8> {
    let filters = Filters::parse(&args.filter, &["until", "label!"])?;
    if !args.force && !confirm("This will remove all stopped containers.")? {
        return Ok(0);
    }
    let until = filters.until(Time::now())?;
    let pruned = prune::prune(|found| {
        let labels = &found.container.config["Labels"];
        until.is_none_or(|until| found.container.created < until) && filters.labels(|key| labels[key].as_str())
    })?;
    let status = failure::tell(&pruned.failures);
    let mut text = String::new();
    if !pruned.ids.is_empty() {
        text += &format!("Deleted Containers:\n{}\n\n", pruned.ids.join("\n"));
    }
    text += &format!("Total reclaimed space: {}\n", human::size_with_digits(pruned.bytes, 4));
    output::print(&text)?;
    Ok(status)
}
