//! `rbox start` and `rbox rename`.

use super::each::each;
use super::{failure, grammar, output};
use crate::engine::container::{self, Found};
use crate::engine::{create, rename as engine_rename};
use crate::error::Failure;
use crate::spec::name;
use crate::supervisor::{self, detach};
use crate::sys::{fd, process};
use anyhow::{Context, Result, bail};
use clap::{ArgMatches, Args, Command, FromArgMatches};

#[derive(Debug, Args)]
struct StartArgs {
    /// Names or ids of containers
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
    /// Run it in the foreground: its output is rbox's, and nothing of it goes to its log
    #[arg(short, long)]
    attach: bool,
    /// In the foreground, also with rbox's standard input
    #[arg(short, long)]
    interactive: bool,
}

#[derive(Debug, Args)]
struct RenameArgs {
    /// Name or id of a container
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// The new name
    #[arg(value_name = "NAME")]
    name: String,
}

/// The grammar of `start`.
pub fn options(command: Command) -> Command {
    grammar::<StartArgs>(command, "rbox start [OPTIONS] CONTAINER...")
}

/// The grammar of `rename`.
pub fn rename_options(command: Command) -> Command {
    grammar::<RenameArgs>(command, "rbox rename CONTAINER NAME")
}

/// Starts containers and prints what was typed for them; one that runs is left as it is.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    process::set_plain_umask();
    let args = StartArgs::from_arg_matches_mut(&mut matches)?;
    if args.attach || args.interactive {
        let [name] = args.containers.as_slice() else { bail!("only one container can run in the foreground") };
        let found = container::find(name)?;
        if found.live {
            bail!("container {name}: runs in the background already");
        }
        let mut created = create::again(&found).with_context(|| format!("container {name}"))?;
        created.interactive = args.interactive;
        return supervisor::run(created, tell);
    }
    fd::close_range(3, u32::MAX)?;
    Ok(each(&args.containers, |name| {
        let found = container::find(name)?;
        if !found.live {
            in_background(&found)?;
        }
        output::print(&format!("{name}\n")).map(drop)
    }))
}

/// Starts a container that was made before.
pub fn in_background(found: &Found) -> Result<()> {
    let created = create::again(found).with_context(|| format!("container {}", found.shown()))?;
    detach::start(created, tell)
}

/// Gives a container another name.
pub fn rename(mut matches: ArgMatches) -> Result<u8> {
    let args = RenameArgs::from_arg_matches_mut(&mut matches)?;
    name::container(&args.name).with_context(|| args.name.clone())?;
    engine_rename::rename(&container::find(&args.container)?, &args.name)?;
    Ok(0)
}

/// What goes wrong while a container runs.
pub fn tell(error: anyhow::Error) {
    let failure: Failure = failure::told(error);
    output::error(&failure.render());
}
