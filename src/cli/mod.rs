//! The command line: what is typed becomes a call of one verb; its error is printed once, here.

pub mod attach;
pub mod commit;
pub mod completion;
pub mod confirm;
pub mod container;
pub mod containers;
pub mod cp;
pub mod descriptors;
pub mod diff;
pub mod each;
pub mod events;
pub mod exec;
pub mod export;
pub mod failure;
pub mod file;
pub mod filter;
pub mod format;
pub mod generate;
pub mod healthcheck;
pub mod human;
pub mod image;
pub mod inspect;
pub mod login;
pub mod logout;
pub mod logs;
pub mod man;
pub mod network;
pub mod output;
pub mod pause;
pub mod port;
pub mod progress;
pub mod prompt;
pub mod ps;
pub mod pull;
pub mod push;
pub mod rare;
pub mod remote;
pub mod rm;
pub mod run;
pub mod search;
pub mod selection;
pub mod start;
pub mod stats;
pub mod stop;
pub mod system;
pub mod systemd;
pub mod top;
pub mod unshare;
pub mod update;
pub mod usage;
pub mod volume;

use crate::error::Advise;
use crate::net::shared::keeper as networks;
use crate::net::{keeper, relay};
use crate::runtime::{exec as joiner, visitor};
use crate::storage::worker;
use crate::supervisor::again;
use crate::sys::signal;
use anyhow::{Context, Result, anyhow};
use clap::{Arg, ArgAction, ArgMatches, Args, Command};
use std::ffi::OsString;
use std::mem::ManuallyDrop;
use std::process::ExitCode;

/// What kind of binary this is, for reports of errors.
const VERSION: &str = if cfg!(all(target_env = "musl", target_feature = "crt-static")) {
    concat!(env!("CARGO_PKG_VERSION"), " (static, musl)")
} else if cfg!(target_env = "musl") {
    concat!(env!("CARGO_PKG_VERSION"), " (dynamic, musl)")
} else {
    concat!(env!("CARGO_PKG_VERSION"), " (dynamic, glibc)")
};

/// Runs the command that the arguments name; its exit status is the program's.
pub fn main() -> ExitCode {
    crate::sys::process::warm_heap();
    let prepared = signal::prepare().map_err(Into::into);
    let status = prepared.and_then(|()| arguments(std::env::args_os())).and_then(dispatch).unwrap_or_else(|error| {
        let failure = failure::told(error);
        output::error(&failure.render());
        failure.exit
    });
    ExitCode::from(status)
}

/// The arguments as text, which is what a Spec can hold.
fn arguments(args: impl Iterator<Item = OsString>) -> Result<Vec<String>> {
    args.enumerate()
        .map(|(number, arg)| {
            let refuse = |arg: OsString| anyhow!("argument {number}: {}: not UTF-8", arg.to_string_lossy());
            arg.into_string().map_err(refuse)
        })
        .collect::<Result<_>>()
        .hint(|| "a Spec is JSON, which has no other text; a symlink with another name may help".to_owned())
}

fn dispatch(args: Vec<String>) -> Result<u8> {
    if let Some(ended) = role(&args) {
        return ended;
    }
    let verb = args.get(1).cloned().unwrap_or_default();
    if let Some((known, matches)) = shortly(&verb, &args) {
        return (known.main)(matches);
    }
    // Most of a process's life is over when a verb ends: giving back the grammar's memory would cost a start its time.
    let mut grammar = ManuallyDrop::new(command_of(&verb));
    let mut matches = match grammar.try_get_matches_from_mut(args) {
        Ok(matches) => matches,
        Err(error) => return usage::report(&error, &verb),
    };
    let Some((verb, matches)) = matches.remove_subcommand() else {
        return output::print(&command().render_help().to_string());
    };
    call(&verb, matches)
}

/// Most of what is typed needs neither the grammar around that of its verb nor options that few containers have. Whatever the short one
/// does not know is left to the whole one, which also has the words for what is wrong.
fn shortly(verb: &str, args: &[String]) -> Option<(&'static Verb, ArgMatches)> {
    let known = VERBS.iter().find(|known| known.name == verb)?;
    let mut grammar = ManuallyDrop::new((known.options)(Command::new(SHORT).disable_help_flag(true)));
    Some((known, grammar.try_get_matches_from_mut(args.get(1..)?).ok()?))
}

/// The name of a short grammar, which nobody gets to see.
const SHORT: &str = "short";

/// True for one.
fn is_short(command: &Command) -> bool {
    command.get_name() == SHORT
}

/// What rbox is started as by itself; nobody types these. On its own, so that a start does not pay for their stack.
#[inline(never)]
fn role(args: &[String]) -> Option<Result<u8>> {
    match args {
        [_, role, task] if role == worker::ROLE => Some(worker::main(task)),
        [_, role, program, arguments @ ..] if role == keeper::ROLE => Some(keeper::main(program, arguments)),
        [_, role, rest @ ..] if role == joiner::ROLE => Some(joiner::main(rest)),
        [_, role] if role == visitor::ROLE => Some(visitor::main()),
        [_, role, id, lock, held] if role == again::ROLE => Some(again::main(id, [lock, held], start::tell)),
        [_, role, start] if role == networks::ROLE => Some(networks::main(start)),
        [_, role, pid, places] if role == relay::ROLE => Some(relay::main(pid, places)),
        _ => None,
    }
}

fn call(verb: &str, matches: ArgMatches) -> Result<u8> {
    let found = VERBS.iter().find(|known| known.name == verb).with_context(|| format!("{verb}: no such command"))?;
    (found.main)(matches)
}

/// One thing that rbox does.
struct Verb {
    name: &'static str,
    /// For `rbox --help`.
    about: &'static str,
    /// Its grammar, made only when it is the one: that halves the time of a start.
    options: fn(Command) -> Command,
    main: fn(ArgMatches) -> Result<u8>,
}

impl Verb {
    const fn new(
        name: &'static str,
        about: &'static str,
        options: fn(Command) -> Command,
        main: fn(ArgMatches) -> Result<u8>,
    ) -> Verb {
        Verb { name, about, options, main }
    }
}

/// All of them.
const VERBS: &[Verb] = &[
    Verb::new("run", "Create and run a new container", run::options, run::main),
    Verb::new("create", "Create a new container", run::create_options, run::create),
    Verb::new("start", "Start containers", start::options, start::main),
    Verb::new("stop", "Stop containers that run", stop::options, stop::main),
    Verb::new("restart", "Stop containers and start them again", stop::restart_options, stop::restart),
    Verb::new("kill", "Send a signal to containers that run", stop::kill_options, stop::kill),
    Verb::new("pause", "Pause all processes of containers", pause::options, pause::main),
    Verb::new("unpause", "Let containers that were paused go on", pause::unpause_options, pause::unpause),
    Verb::new("wait", "Wait for the end of containers, then print their statuses", stop::wait_options, stop::wait),
    Verb::new("attach", "Attach to what a container that runs says and reads", attach::options, attach::main),
    Verb::new("exec", "Run a program in a container that runs", exec::options, exec::main),
    Verb::new("ps", "List containers", ps::options, ps::main),
    Verb::new("events", "Show what happens to containers, images, volumes and networks", events::options, events::main),
    Verb::new("healthcheck", "Check whether a container is healthy", healthcheck::options, healthcheck::main),
    Verb::new("logs", "Show what a container has said", logs::options, logs::main),
    Verb::new("top", "Show the processes of a container", top::options, top::main),
    Verb::new("stats", "Show what containers use, again and again", stats::options, stats::main),
    Verb::new("update", "Change the limits of containers", update::options, update::main),
    Verb::new("rename", "Give a container another name", start::rename_options, start::rename),
    Verb::new("container", "Manage containers", containers::options, containers::main),
    Verb::new("pull", "Download an image from a registry", pull::options, pull::main),
    Verb::new("push", "Upload an image to a registry", push::options, push::main),
    Verb::new(
        "inspect",
        "Display detailed information on containers, images, volumes and networks",
        inspect::options,
        inspect::main,
    ),
    Verb::new("rm", "Remove containers", rm::options, rm::main),
    Verb::new("cp", "Copy files between a container and the host", cp::options, cp::main),
    Verb::new("diff", "Show what a container has changed", diff::options, diff::main),
    Verb::new("commit", "Make an image of a container", commit::options, commit::main),
    Verb::new("export", "Write a container's files to an archive", export::options, export::main),
    Verb::new("images", "List images", image::ls::options, image::ls::main),
    Verb::new("rmi", "Remove images", image::rm::options, image::rm::main),
    Verb::new("tag", "Give an image another name", image::tag::options, image::tag::main),
    Verb::new("untag", "Take names of an image away", image::tag::untag_options, image::tag::untag),
    Verb::new("history", "Show the history of an image", image::history::options, image::history::main),
    Verb::new("save", "Save images to an archive", image::save::options, image::save::main),
    Verb::new("load", "Load images from an archive", image::load::options, image::load::main),
    Verb::new("import", "Make an image of an archive of files", image::import::options, image::import::main),
    Verb::new("image", "Manage images", image::options, image::main),
    Verb::new("generate", "Print units that run containers", generate::options, generate::main),
    Verb::new("system", "Manage the store as a whole", system::options, system::main),
    Verb::new("login", "Log in to a registry", login::options, login::main),
    Verb::new("logout", "Log out of a registry", logout::options, logout::main),
    Verb::new("search", "Search registries for images", search::options, search::main),
    Verb::new("unshare", "Run a program in the user namespace of containers", unshare::options, unshare::main),
    Verb::new("port", "List the ports of a container that are published", port::options, port::main),
    Verb::new("volume", "Manage volumes", volume::options, volume::main),
    Verb::new("network", "Manage networks", network::options, network::main),
    Verb::new("completion", "Print the completion script for a shell", completion::options, completion::main),
    Verb::new("man", "Write the manual pages into a directory", man::options, man::main),
];

/// The grammar.
pub fn command() -> Command {
    VERBS.iter().fold(outer(), |rbox, known| rbox.subcommand(verb(known.name, known.about, known.options)))
}

/// The grammar as far as one verb needs it; all of it if there is no such verb.
fn command_of(name: &str) -> Command {
    match VERBS.iter().find(|known| known.name == name) {
        Some(known) => outer().subcommand(verb(known.name, known.about, known.options)),
        None => command(),
    }
}

fn outer() -> Command {
    Command::new("rbox")
        .about("Run containers without root")
        .version(VERSION)
        .override_usage("rbox COMMAND [OPTIONS]")
        .disable_help_subcommand(true)
        .disable_version_flag(true)
        .arg(version_flag())
        .subcommand_value_name("COMMAND")
        .subcommand_help_heading("Commands")
}

fn verb(name: &'static str, about: &'static str, options: fn(Command) -> Command) -> Command {
    Command::new(name).about(about).disable_help_flag(true).defer(options)
}

/// The grammar of a verb with verbs of its own.
fn group(command: Command, usage: &'static str) -> Command {
    let help = Arg::new("help").long("help").action(ArgAction::Help).help("Print usage").help_heading("Help");
    command
        .override_usage(usage)
        .arg(help)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand_value_name("COMMAND")
        .subcommand_help_heading("Commands")
}

/// The verb of a group that was typed.
fn chosen(matches: &mut ArgMatches) -> Result<(String, ArgMatches)> {
    matches.remove_subcommand().context("no command")
}

fn version_flag() -> Arg {
    Arg::new("version").short('v').long("version").action(ArgAction::Version).help("Print the version and quit")
}

/// The grammar of a verb: its options, and `--help` alone, since `-h` is the host name of `run`, as in docker.
fn grammar<A: Args>(command: Command, usage: &'static str) -> Command {
    // The derived code takes the comment on its type for the text about the command.
    let about = command.get_about().cloned().unwrap_or_default();
    let help = Arg::new("help").long("help").action(ArgAction::Help).help("Print usage").help_heading("Help");
    A::augment_args(command.override_usage(usage)).about(about).arg(help)
}

/// Yes or no in docker's words, which are Go's (strconv.ParseBool).
fn boolean(text: &str) -> Result<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(anyhow!("true or false is wanted")),
    }
}

#[cfg(test)]
mod tests;
