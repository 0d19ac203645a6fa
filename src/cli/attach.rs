//! `rbox attach`.

use super::{boolean, grammar, selection};
use crate::engine::{record, state};
use crate::error::Advise;
use crate::spec::keys;
use crate::supervisor::attach::{self, Ending, How};
use anyhow::{Context, Result, anyhow, bail};
use clap::{ArgMatches, Args, Command, FromArgMatches};

#[derive(Debug, Args)]
struct AttachArgs {
    /// Name or id of a container that runs
    #[arg(value_name = "CONTAINER")]
    container: Option<String>,
    /// The container that was created last
    #[arg(short, long)]
    latest: bool,
    /// Override the key sequence for detaching a container [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Do not attach STDIN
    #[arg(long)]
    no_stdin: bool,
    /// Proxy received signals to the process [default: true]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    sig_proxy: Option<bool>,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<AttachArgs>(command, "rbox attach [OPTIONS] CONTAINER")
}

/// Shows what a container says from now on, and passes on what is typed; the exit status is the container's.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = AttachArgs::from_arg_matches_mut(&mut matches)?;
    let found = selection::one(args.container.as_deref(), args.latest)?;
    let name = found.shown();
    state::of(&found)?
        .pid()
        .ok_or_else(|| anyhow!("container {name} is not running"))
        .hint(|| format!("rbox start -a {name} starts it, and `rbox logs` shows what it has said"))?;
    if state::of(&found)?.status == state::Status::Paused {
        bail!("you cannot attach to a paused container, unpause it first");
    }
    let keys = args.detach_keys.as_deref().map(|text| keys::parse(text).context("--detach-keys")).transpose()?;
    let id = &found.container.id;
    let has_terminal = record::spec_of(id)?.process().as_ref().and_then(|process| process.terminal());
    let how = How {
        tty: has_terminal.unwrap_or(false),
        input: !args.no_stdin,
        prints: [true; 2],
        keys: keys.unwrap_or_else(|| keys::DEFAULT.to_vec()),
        proxy: args.sig_proxy.unwrap_or(true),
    };
    attach::attach(name, &record::runtime_of(id)?, &how).map(Ending::status)
}
