//! `rbox generate`.

use super::{chosen, grammar, group, output, systemd, verb};
use crate::engine::container::{self, Found};
use crate::engine::generate::{self, About};
use crate::error::Advise;
use crate::spec::unit;
use anyhow::{Context, Result, anyhow, ensure};
use clap::{ArgMatches, Args, Command, FromArgMatches};

/// What is typed.
#[derive(Debug, Args)]
struct UnitArgs {
    /// Name or id of a container
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// Write it to container-NAME.service in this directory, and print the path
    #[arg(short, long)]
    files: bool,
    /// Call the container by its name, not by its id
    #[arg(short, long)]
    name: bool,
    /// Not there: rbox starts the container that is there
    #[arg(long, hide = true)]
    new: bool,
    /// When systemd starts it again: no, always, on-success, on-failure, on-abnormal, on-watchdog, on-abort
    /// [default: on-failure]
    #[arg(long, value_name = "POLICY")]
    restart_policy: Option<String>,
    /// Seconds before it does
    #[arg(long, value_name = "SECONDS")]
    restart_sec: Option<String>,
    /// Seconds between the signal to stop and a kill; -1 is for ever [default: as it was made, or 10]
    #[arg(
        short = 't',
        long = "time",
        visible_alias = "stop-timeout",
        value_name = "SECONDS",
        allow_hyphen_values = true
    )]
    time: Option<String>,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    let unit = verb("unit", "Print a systemd user unit for a container", unit_options);
    group(command, "rbox generate COMMAND").subcommand(unit.visible_alias("systemd"))
}

fn unit_options(command: Command) -> Command {
    grammar::<UnitArgs>(command, "rbox generate unit [OPTIONS] CONTAINER")
}

/// Calls the verb.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let (_, mut matches) = chosen(&mut matches)?;
    let args = UnitArgs::from_arg_matches_mut(&mut matches)?;
    if args.new {
        return Err(anyhow!("--new: what a container was made with is not kept as a command"))
            .hint(|| "without --new the unit starts the container that is there".to_owned());
    }
    let found = container::find(&args.container)?;
    let about = generate::about(&found)?;
    let called = if args.name { found.shown().to_owned() } else { found.container.id.clone() };
    let file = format!("container-{called}.service");
    let text = text(&args, &found, &about, &called, &file)?;
    if !args.files {
        return output::print(&text);
    }
    let path = std::env::current_dir().context("current directory")?.join(&file);
    fs_err::write(&path, text)?;
    output::print(&format!("{}\n", path.display()))
}

/// The supervisor in the foreground is the unit's main process, and its status the container's.
fn text(args: &UnitArgs, found: &Found, about: &About, called: &str, file: &str) -> Result<String> {
    const POLICIES: [&str; 7] = ["no", "always", "on-success", "on-failure", "on-abnormal", "on-watchdog", "on-abort"];
    let policy = args.restart_policy.as_deref().unwrap_or("on-failure");
    ensure!(POLICIES.contains(&policy), "--restart-policy {policy}: not one of {}", POLICIES.join(", "));
    let seconds = |option: &str, text: &str| {
        text.parse::<i64>()
            .ok()
            .filter(|seconds| *seconds >= -1)
            .with_context(|| format!("{option} {text}: not a number"))
    };
    let pause = args.restart_sec.as_deref().map(|text| seconds("--restart-sec", text)).transpose()?;
    ensure!(pause.is_none_or(|pause| pause >= 0), "--restart-sec: a number of seconds is wanted");
    let time = args.time.as_deref().map(|text| seconds("--time", text)).transpose()?.unwrap_or(about.stop_timeout);
    // podman's time for what comes after the kill.
    let limit = if time < 0 { "infinity".to_owned() } else { (time + 60).to_string() };
    let (rbox, environment) = (systemd::own_program()?, systemd::environment());
    let (container, description) = (unit::argument(called), unit::text(found.shown()));
    let kind = if about.notifies { "notify" } else { "exec" };
    let pause = pause.map(|pause| format!("RestartSec={pause}\n")).unwrap_or_default();
    // A kill may be that of a `stop`, which ends the unit in any case, or that of the kernel for want of memory.
    let killed = if policy == "on-failure" { "RestartForceExitStatus=137\n" } else { "" };
    Ok(format!(
        "# {file}: the container {description}. What it says goes to the journal. To install it:
#   mkdir -p ~/.config/systemd/user && cp {file} ~/.config/systemd/user/
#   systemctl --user daemon-reload
#   systemctl --user enable --now {file}
# Your systemd runs from your first login to your last logout; from boot to shutdown with
#   loginctl enable-linger

[Unit]
Description=Container {description} (rbox)

[Service]
Type={kind}
Restart={policy}
{pause}{environment}ExecStart={rbox} start -a {container}
ExecStop={rbox} stop -t {time} {container}
TimeoutStopSec={limit}
# Ended by a signal, as `stop` does.
SuccessExitStatus=143 137
{killed}# The container ends with rbox; what others share may have been begun here.
KillMode=process

[Install]
WantedBy=default.target
"
    ))
}
