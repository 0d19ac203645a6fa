//! `rbox logout`.

use super::{grammar, output};
use crate::engine::images::Remote;
use crate::engine::login;
use anyhow::{Context, Result, ensure};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use std::path::PathBuf;

/// What is typed.
#[derive(Debug, Args)]
struct LogoutArgs {
    /// Registry, or a part of one; the first that is searched if none is named
    #[arg(value_name = "REGISTRY", conflicts_with = "all")]
    registry: Option<String>,
    /// Forget all credentials but those in docker's own file
    #[arg(short, long)]
    all: bool,
    /// File with credentials, instead of auth.json and ~/.docker/config.json
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<LogoutArgs>(command.args_override_self(true), "rbox logout [OPTIONS] [REGISTRY]")
}

/// Forgets credentials.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = LogoutArgs::from_arg_matches_mut(&mut matches)?;
    let cwd = std::env::current_dir().context("current directory")?;
    let remote = Remote { authfile: args.authfile.map(|file| cwd.join(file)), ..Remote::default() };
    if args.all {
        login::logout_all(&remote)?;
        return output::print("Removed login credentials for all registries\n");
    }
    let account = login::account(args.registry.as_deref())?;
    ensure!(!login::logout(&account, &remote)?.is_empty(), "not logged in to {account}");
    output::print(&format!("Removed login credentials for {account}\n"))
}
