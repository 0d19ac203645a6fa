//! A program in the caller's own id map, without a container: to look at and change files of subordinate ids.

use super::ids::{self, Caller};
use crate::error::{Advise, NOT_EXECUTABLE, NOT_FOUND};
use crate::spec::options::{IdMode, Options};
use crate::sys::Alone;
use crate::userns::write::HelperFailed;
use anyhow::{Context, Result, anyhow};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Runs it as root of a new user and mount namespace, in the current directory with the caller's environment. Without
/// a command a shell. Returns its exit status.
pub fn run(id_mode: IdMode, command: &[String]) -> Result<u8> {
    match run_with(id_mode, command) {
        // As for a container: one id works always.
        Err(error) if id_mode == IdMode::Auto && error.chain().any(|cause| cause.is::<HelperFailed>()) => {
            run_with(IdMode::Single, command)
        }
        result => result,
    }
}

fn run_with(id_mode: IdMode, command: &[String]) -> Result<u8> {
    let maps = ids::ids(&Options { id_mode, ..Options::default() }, Caller::this())?.maps;
    let shell = std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_owned());
    let (name, args) = match command.split_first() {
        Some((name, args)) => (name.clone(), args.to_vec()),
        None => (shell, Vec::new()),
    };
    // The terminal sends its signals to the program as well, which decides what they mean.
    crate::sys::signal::ignore_terminal()?;
    crate::userns::run::run(&Alone::check()?, &maps, || {
        crate::sys::signal::reset()?;
        let error = Command::new(&name).args(&args).exec();
        let status = if error.kind() == std::io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE };
        Err(anyhow!(error)).with_context(|| format!("exec {name}")).exit(status)
    })
}
