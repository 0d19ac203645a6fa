//! The command line: what is typed becomes a call of one verb; its error is printed once, here.

pub mod commit;
pub mod completion;
pub mod confirm;
pub mod container;
pub mod containers;
pub mod cp;
pub mod diff;
pub mod each;
pub mod exec;
pub mod export;
pub mod failure;
pub mod file;
pub mod filter;
pub mod format;
pub mod human;
pub mod image;
pub mod inspect;
pub mod login;
pub mod logout;
pub mod logs;
pub mod man;
pub mod network;
pub mod output;
pub mod port;
pub mod progress;
pub mod prompt;
pub mod ps;
pub mod pull;
pub mod push;
pub mod remote;
pub mod rm;
pub mod run;
pub mod search;
pub mod start;
pub mod stop;
pub mod system;
pub mod unshare;
pub mod usage;
pub mod volume;

use crate::error::Advise;
use crate::net::shared::keeper as networks;
use crate::net::{keeper, relay};
use crate::runtime::{exec as joiner, visitor};
use crate::storage::worker;
use crate::sys::signal;
use anyhow::{Context, Result, anyhow};
use clap::{Arg, ArgAction, ArgMatches, Args, Command};
use std::ffi::OsString;
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
    if let [_, role, task] = args.as_slice() {
        if role == worker::ROLE {
            return worker::main(task);
        }
    }
    match args.as_slice() {
        [_, role, program, arguments @ ..] if role == keeper::ROLE => return keeper::main(program, arguments),
        [_, role, rest @ ..] if role == joiner::ROLE => return joiner::main(rest),
        [_, role] if role == visitor::ROLE => return visitor::main(),
        [_, role, start] if role == networks::ROLE => return networks::main(start),
        [_, role, pid, places] if role == relay::ROLE => return relay::main(pid, places),
        _ => {}
    }
    let verb = args.get(1).cloned().unwrap_or_default();
    let mut matches = match command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => return usage::report(&error, &verb),
    };
    let Some((verb, matches)) = matches.remove_subcommand() else {
        return output::print(&command().render_help().to_string());
    };
    call(&verb, matches)
}

/// One line for each verb; the second half of the table is in [`command`].
fn call(verb: &str, matches: ArgMatches) -> Result<u8> {
    match verb {
        "run" => run::main(matches),
        "create" => run::create(matches),
        "start" => start::main(matches),
        "stop" => stop::main(matches),
        "restart" => stop::restart(matches),
        "kill" => stop::kill(matches),
        "wait" => stop::wait(matches),
        "ps" => ps::main(matches),
        "exec" => exec::main(matches),
        "logs" => logs::main(matches),
        "rename" => start::rename(matches),
        "container" => containers::main(matches),
        "pull" => pull::main(matches),
        "push" => push::main(matches),
        "inspect" => inspect::main(matches),
        "rm" => rm::main(matches),
        "cp" => cp::main(matches),
        "diff" => diff::main(matches),
        "commit" => commit::main(matches),
        "export" => export::main(matches),
        "images" => image::ls::main(matches),
        "rmi" => image::rm::main(matches),
        "tag" => image::tag::main(matches),
        "untag" => image::tag::untag(matches),
        "history" => image::history::main(matches),
        "save" => image::save::main(matches),
        "load" => image::load::main(matches),
        "import" => image::import::main(matches),
        "image" => image::main(matches),
        "system" => system::main(matches),
        "login" => login::main(matches),
        "logout" => logout::main(matches),
        "search" => search::main(matches),
        "unshare" => unshare::main(matches),
        "port" => port::main(matches),
        "volume" => volume::main(matches),
        "network" => network::main(matches),
        "completion" => completion::main(matches),
        "man" => man::main(matches),
        _ => Err(anyhow!("{verb}: no such command")),
    }
}

/// The grammar. The options of a verb are made only when it is the one: that halves the time of a start.
pub fn command() -> Command {
    Command::new("rbox")
        .about("Run containers without root")
        .version(VERSION)
        .override_usage("rbox COMMAND [OPTIONS]")
        .disable_help_subcommand(true)
        .disable_version_flag(true)
        .arg(version_flag())
        .subcommand_value_name("COMMAND")
        .subcommand_help_heading("Commands")
        .subcommand(verb("run", "Create and run a new container", run::options))
        .subcommand(verb("create", "Create a new container", run::create_options))
        .subcommand(verb("start", "Start containers", start::options))
        .subcommand(verb("stop", "Stop containers that run", stop::options))
        .subcommand(verb("restart", "Stop containers and start them again", stop::restart_options))
        .subcommand(verb("kill", "Send a signal to containers that run", stop::kill_options))
        .subcommand(verb("wait", "Wait for the end of containers, then print their statuses", stop::wait_options))
        .subcommand(verb("exec", "Run a program in a container that runs", exec::options))
        .subcommand(verb("ps", "List containers", ps::options))
        .subcommand(verb("logs", "Show what a container has said", logs::options))
        .subcommand(verb("rename", "Give a container another name", start::rename_options))
        .subcommand(verb("container", "Manage containers", containers::options))
        .subcommand(verb("pull", "Download an image from a registry", pull::options))
        .subcommand(verb("push", "Upload an image to a registry", push::options))
        .subcommand(verb(
            "inspect",
            "Display detailed information on containers, images, volumes and networks",
            inspect::options,
        ))
        .subcommand(verb("rm", "Remove containers", rm::options))
        .subcommand(verb("cp", "Copy files between a container and the host", cp::options))
        .subcommand(verb("diff", "Show what a container has changed", diff::options))
        .subcommand(verb("commit", "Make an image of a container", commit::options))
        .subcommand(verb("export", "Write a container's files to an archive", export::options))
        .subcommand(verb("images", "List images", image::ls::options))
        .subcommand(verb("rmi", "Remove images", image::rm::options))
        .subcommand(verb("tag", "Give an image another name", image::tag::options))
        .subcommand(verb("untag", "Take names of an image away", image::tag::untag_options))
        .subcommand(verb("history", "Show the history of an image", image::history::options))
        .subcommand(verb("save", "Save images to an archive", image::save::options))
        .subcommand(verb("load", "Load images from an archive", image::load::options))
        .subcommand(verb("import", "Make an image of an archive of files", image::import::options))
        .subcommand(verb("image", "Manage images", image::options))
        .subcommand(verb("system", "Manage the store as a whole", system::options))
        .subcommand(verb("login", "Log in to a registry", login::options))
        .subcommand(verb("logout", "Log out of a registry", logout::options))
        .subcommand(verb("search", "Search registries for images", search::options))
        .subcommand(verb("unshare", "Run a program in the user namespace of containers", unshare::options))
        .subcommand(verb("port", "List the ports of a container that are published", port::options))
        .subcommand(verb("volume", "Manage volumes", volume::options))
        .subcommand(verb("network", "Manage networks", network::options))
        .subcommand(verb("completion", "Print the completion script for a shell", completion::options))
        .subcommand(verb("man", "Write the manual pages into a directory", man::options))
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
