//! `rbox system boot`.

use crate::cli::each::each;
use crate::cli::{failure, grammar, output, start, systemd};
use crate::engine::boot;
use crate::engine::container::Found;
use crate::error::{FAILED, Failure};
use crate::sys::{fd, process};
use anyhow::{Context, Result, bail};
use clap::{ArgMatches, Args, Command, FromArgMatches};

/// What is typed.
#[derive(Debug, Args)]
struct BootArgs {
    /// Stop those that run instead, as before a shutdown: they are started again with the next boot
    #[arg(long)]
    stop: bool,
    /// Print a systemd user unit that does both
    #[arg(long)]
    unit: bool,
}

/// The grammar.
pub fn options(command: Command) -> Command {
    grammar::<BootArgs>(command, "rbox system boot [OPTIONS]")
}

/// Starts containers whose restart policy wants it after a boot, and prints their ids.
pub fn main(mut matches: ArgMatches) -> Result<u8> {
    let args = BootArgs::from_arg_matches_mut(&mut matches)?;
    match (args.stop, args.unit) {
        (true, true) => bail!("conflicting options: --stop and --unit"),
        (true, false) => stop(),
        (false, true) => output::print(&unit()?),
        (false, false) => start(),
    }
}

fn start() -> Result<u8> {
    process::set_plain_umask();
    fd::close_range(3, u32::MAX)?;
    let (all, damaged) = boot::wanted()?;
    let status = each(&all, |found| {
        start::in_background(found)?;
        output::print(&format!("{}\n", found.container.id)).map(drop)
    });
    Ok(told(&damaged, status))
}

/// All at once: each has its time between the signal and the kill.
fn stop() -> Result<u8> {
    let (all, damaged) = boot::running()?;
    let ended: Vec<Result<()>> = std::thread::scope(|scope| {
        let threads: Vec<_> = all.iter().map(|found| scope.spawn(|| boot::stop(found))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| bail!("a thread has panicked"))).collect()
    });
    let ended: Vec<(&Found, Result<()>)> = all.iter().zip(ended).collect();
    let mut ended = ended.into_iter();
    let status = each(&all, |_| {
        let (found, result) = ended.next().context("no result")?;
        result.with_context(|| format!("container {}", found.shown()))?;
        output::print(&format!("{}\n", found.container.id)).map(drop)
    });
    Ok(told(&damaged, status))
}

/// Those that cannot be read are no reason to leave the others alone.
fn told(damaged: &[Failure], status: u8) -> u8 {
    let of_damaged = failure::tell(damaged);
    if status == 0 && of_damaged == 0 { 0 } else { FAILED }
}

fn unit() -> Result<String> {
    let (rbox, environment) = (systemd::own_program()?, systemd::environment());
    Ok(format!(
        "# Starts containers that have a restart policy with your systemd, and stops them with it. To install it:
#   mkdir -p ~/.config/systemd/user
#   rbox system boot --unit >~/.config/systemd/user/rbox-boot.service
#   systemctl --user daemon-reload
#   systemctl --user enable --now rbox-boot.service
# Your systemd runs from your first login to your last logout; from boot to shutdown with
#   loginctl enable-linger

[Unit]
Description=Containers with a restart policy (rbox)

[Service]
Type=oneshot
RemainAfterExit=yes
{environment}ExecStart={rbox} system boot
# Why one has not started is in the journal. The others are to be stopped in order all the same.
SuccessExitStatus={FAILED}
ExecStop={rbox} system boot --stop
TimeoutStopSec=120
# What containers of other units share may have been begun here.
KillMode=process

[Install]
WantedBy=default.target
"
    ))
}
