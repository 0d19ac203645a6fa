//! `rbox start` and `rbox rename`.

use super::each::each;
use super::selection::Selection;
use super::{boolean, failure, grammar, output};
use crate::engine::container::{self, Found};
use crate::engine::create;
use crate::engine::created::Created;
use crate::engine::record::InUse;
use crate::engine::state::Status;
use crate::engine::{self, rename as engine_rename, start as engine_start};
use crate::error::Failure;
use crate::spec::foreground::Foreground;
use crate::spec::options::Overlays;
use crate::spec::{keys, name};
use crate::supervisor;
use crate::supervisor::attach::{self, How};
use crate::supervisor::detach::{self, Starter};
use crate::sys::signal::Blocked;
use crate::sys::{fd, process};
use anyhow::{Context, Result, bail, ensure};
use clap::{ArgMatches, Args, Command, FromArgMatches};

#[derive(Debug, Args)]
struct StartArgs {
    /// Names or ids of containers
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
    /// All containers
    #[arg(long)]
    all: bool,
    /// Those that match: id=TEXT, name=TEXT, label=KEY[=VALUE], status=STATUS
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    /// The container that was created last
    #[arg(short, long)]
    latest: bool,
    /// Run it in the foreground: its output is rbox's, and nothing of it goes to its log
    #[arg(short, long)]
    attach: bool,
    /// In the foreground, also with rbox's standard input
    #[arg(short, long)]
    interactive: bool,
    /// Override the key sequence for detaching a container [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Proxy received signals to the process [default: true]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    sig_proxy: Option<bool>,
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
    let selection = Selection::of(args.containers, args.all, args.latest, args.filter);
    let names = selection.names(|status| matches!(status, Status::Created | Status::Exited))?;
    if args.attach || args.interactive {
        let [name] = names.as_slice() else { bail!("only one container can run in the foreground") };
        let found = container::find(name)?;
        // One whose end is told, and whose supervisor is about to go, is waited for.
        if !engine_start::is_needed(&found).with_context(|| format!("container {name}"))? {
            bail!("container {name}: runs in the background already");
        }
        let keys = args.detach_keys.as_deref().map(|text| keys::parse(text).context("--detach-keys")).transpose()?;
        let foreground = Foreground {
            keys: keys.unwrap_or_else(|| keys::DEFAULT.to_vec()),
            proxy: args.sig_proxy.unwrap_or(true),
            ..Foreground::default()
        };
        return in_one_way_or_another(&found, |way| {
            let mut created = create::again(&found, way)?;
            created.warning.take().into_iter().for_each(output::say);
            created.interactive = args.interactive;
            if !created.tty && foreground.is_plain() && !created.may_restart() {
                return supervisor::run(created, tell);
            }
            stay(created, &found.container.id, &foreground)
        });
    }
    ensure!(args.detach_keys.is_none() && args.sig_proxy.is_none(), "--detach-keys and --sig-proxy need --attach");
    fd::close_range(3, u32::MAX)?;
    Ok(each(&names, |name| {
        in_background(&container::find(name)?)?;
        output::print(&format!("{name}\n")).map(drop)
    }))
}

/// Starts a container and stays with it. Its exit status; 0 if it was left.
pub fn stay(created: Created, id: &str, foreground: &Foreground) -> Result<u8> {
    let how = How {
        tty: created.tty,
        input: created.interactive && foreground.streams[0],
        prints: [foreground.streams[1], foreground.streams[2]],
        keys: foreground.keys.clone(),
        proxy: foreground.proxy,
    };
    let supervisor = detach::start(created, Starter::Stays, tell)?;
    attach::follow(id, supervisor, &Blocked::all()?, &how).map(attach::Ending::status)
}

/// Starts a container that was made before, and leaves one that runs as it is.
pub fn in_background(found: &Found) -> Result<()> {
    let mut may_be_brief = true;
    while engine_start::is_needed(found).with_context(|| format!("container {}", found.shown()))? {
        let started = in_one_way_or_another(found, |way| {
            let mut created = create::again(found, way)?;
            created.warning.take().into_iter().for_each(output::say);
            detach::start(created, Starter::Goes, tell)?;
            Ok(())
        });
        match started {
            // Somebody was faster, and is about to start it, or has done so and it has ended.
            Err(error) if error.chain().any(|cause| cause.is::<InUse>()) && (may_be_brief || found.is_held()?) => {
                may_be_brief = false;
            }
            started => return started,
        }
    }
    Ok(())
}

/// Starts it, in another way if the kernel refuses an overlay.
fn in_one_way_or_another<T>(found: &Found, start: impl Fn(Option<Overlays>) -> Result<T>) -> Result<T> {
    let named = || format!("container {}", found.shown());
    let mut way = None;
    loop {
        let error = match start(way) {
            Err(error) => error,
            started => return started,
        };
        let Some((next, why)) = engine::overlay::next(&error, way).with_context(named)? else {
            return Err(error).with_context(named);
        };
        way = Some(next);
        if let Some(why) = why {
            output::note(why, "going on without");
        }
    }
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
