//! `rbox run`.

use super::container::ContainerArgs;
use super::progress::Shown;
use super::{descriptors, grammar, output, start};
use crate::engine::images::Remote;
use crate::engine::{self, linger, said};
use crate::error::Failure;
use crate::spec::options::{IdMode, Options};
use crate::supervisor::detach::Starter;
use crate::supervisor::{self, detach};
use crate::sys::{fd, process};
use crate::userns::write::HelperFailed;
use anyhow::{Context, Result, ensure};
use clap::{ArgMatches, Command, FromArgMatches};

/// The grammar: as in docker the last one of two equal options counts.
pub fn options(command: Command) -> Command {
    let usage = "rbox run [OPTIONS] IMAGE [COMMAND [ARG...]]";
    grammar::<ContainerArgs>(command.args_override_self(true), usage)
}

/// Runs a container; the exit status is that of its command.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    process::set_plain_umask();
    let args = ContainerArgs::from_arg_matches_mut(&mut matches)?;
    let cwd = std::env::current_dir().context("current directory")?;
    let remote = args.remote.remote(&cwd)?;
    let (mut options, dropped) = args.options(&cwd)?;
    if let Some(text) = dropped {
        output::say(Failure { message: text, ..Failure::default() });
    }
    descriptors::pass_on(&mut options)?;
    if options.detach {
        // What the caller has open would be as long as the container is.
        fd::close_range(3 + options.extra.descriptors, u32::MAX)?;
    }
    match run(&options, &remote) {
        // The range is there and newuidmap cannot write it: on a nosuid mount, in an outer container, under a tracer.
        Err(error) if options.id_mode == IdMode::Auto && error.chain().any(|cause| cause.is::<HelperFailed>()) => {
            if said::first_time(said::ONE_ID) {
                output::note(Failure::from(&error), "going on with one id");
            }
            run(&Options { id_mode: IdMode::Single, ..options }, &remote)
        }
        result => result,
    }
}

/// Again, in another way, if the kernel refuses an overlay.
fn run(options: &Options, remote: &Remote) -> Result<u8> {
    match run_once(options, remote) {
        Ok(status) => Ok(status),
        Err(error) => match engine::overlay::next(&error, options.overlays)? {
            Some((way, why)) => {
                if let Some(why) = why {
                    output::note(why, "going on without");
                }
                run(&Options { overlays: Some(way), ..options.clone() }, remote)
            }
            None => Err(error),
        },
    }
}

fn run_once(options: &Options, remote: &Remote) -> Result<u8> {
    let mut created = engine::create::create(options, remote, &Shown::default())?;
    if let Some(why) = created.note.take() {
        output::note(why, "going on with one id");
    }
    created.warning.take().into_iter().for_each(output::say);
    let id = created.record.id.clone();
    match options.detach {
        true => {
            detach::start(created, Starter::Goes, start::tell)?;
            if linger::is_to_be_told() {
                let message =
                    "with your last logout systemd takes away what containers need, and may end them".to_owned();
                let hints = vec!["`loginctl enable-linger` lets them run from boot to shutdown".to_owned()];
                output::say(Failure { message, hints, ..Failure::default() });
            }
            output::print(&format!("{id}\n"))
        }
        // What it says passes through nobody's hands.
        false if options.runs_here() && !created.may_restart() => supervisor::run(created, start::tell),
        false => start::stay(created, &id, &options.foreground),
    }
}

/// The grammar of `create`.
pub fn create_options(command: Command) -> Command {
    grammar::<ContainerArgs>(command.args_override_self(true), "rbox create [OPTIONS] IMAGE [COMMAND [ARG...]]")
}

/// Makes a container that is to be started later, and prints its id.
pub fn create(mut matches: ArgMatches) -> Result<u8> {
    process::set_plain_umask();
    let args = ContainerArgs::from_arg_matches_mut(&mut matches)?;
    let cwd = std::env::current_dir().context("current directory")?;
    let remote = args.remote.remote(&cwd)?;
    let (options, dropped) = args.options(&cwd)?;
    ensure!(
        !options.detach,
        "--detach: a container is not run when it is made; `rbox start` runs it in the background"
    );
    ensure!(
        options.extra.descriptors == 0,
        "--preserve-fds: a container is not run when it is made; `rbox run` gives it descriptors"
    );
    if let Some(text) = dropped {
        output::say(Failure { message: text, ..Failure::default() });
    }
    let options = Options { later: true, ..options };
    let mut created = engine::create::create(&options, &remote, &Shown::default())?;
    if let Some(why) = created.note.take() {
        output::note(why, "going on with one id");
    }
    output::print(&format!("{}\n", created.stay()))
}
