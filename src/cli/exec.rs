//! `rbox exec`.

use super::{boolean, descriptors, grammar, selection};
use crate::engine::exec::{self, Wanted};
use crate::spec::{env, keys};
use crate::supervisor::attach::{self, How};
use anyhow::{Context, Result, ensure};
use clap::{ArgMatches, Args, Command, FromArgMatches};

#[derive(Debug, Args)]
struct ExecArgs {
    /// Name or id of a container that runs, unless --latest says which; then the command and its arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "CONTAINER")]
    words: Vec<String>,
    /// The container that was created last
    #[arg(short, long)]
    latest: bool,
    /// Run in the background
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    detach: Option<bool>,
    /// Override the key sequence for detaching from it [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Set an environment variable; without a value that of the caller
    #[arg(short, long, value_name = "NAME[=VALUE]", allow_hyphen_values = true)]
    env: Vec<String>,
    /// Keep STDIN open
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    interactive: Option<bool>,
    /// Give it every capability over the container's namespaces
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    privileged: Option<bool>,
    /// Pass so many further descriptors on, from 3 on
    #[arg(long, value_name = "N")]
    preserve_fds: Option<String>,
    /// Allocate a pseudo-TTY
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    tty: Option<bool>,
    /// Name or id of the user and of the group, to run as
    #[arg(short, long, value_name = "USER[:GROUP]", allow_hyphen_values = true)]
    user: Option<String>,
    /// Working directory inside the container
    #[arg(short, long, value_name = "DIR", allow_hyphen_values = true)]
    workdir: Option<String>,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<ExecArgs>(command.args_override_self(true), "rbox exec [OPTIONS] CONTAINER COMMAND [ARG...]")
}

/// Runs one more program in a container; the exit status is the program's.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = ExecArgs::from_arg_matches_mut(&mut matches)?;
    let more = descriptors::take(args.preserve_fds.as_deref())?;
    let of_caller = |name: &str| Ok(std::env::var(name).ok());
    let env = args.env.iter().map(|text| env::parse(text, of_caller).with_context(|| format!("-e {text}")));
    let mut words = args.words;
    let container = match args.latest {
        true => selection::latest()?.container.id,
        false => words.remove(0),
    };
    ensure!(!words.is_empty(), "no command");
    let wanted = Wanted {
        command: words,
        env: env.collect::<Result<_>>()?,
        user: args.user,
        workdir: args.workdir.filter(|dir| !dir.is_empty()),
        privileged: args.privileged.unwrap_or(false),
        tty: args.tty.unwrap_or(false),
    };
    let (dir, process) = exec::process(&container, &wanted)?;
    let keys = args.detach_keys.as_deref().map(|text| keys::parse(text).context("--detach-keys")).transpose()?;
    let how = How {
        tty: wanted.tty,
        input: args.interactive.unwrap_or(false),
        prints: [true; 2],
        keys: keys.unwrap_or_else(|| keys::DEFAULT.to_vec()),
        proxy: true,
    };
    attach::exec(&container, &dir, process, &how, more, args.detach.unwrap_or(false)).map(attach::Ending::status)
}
