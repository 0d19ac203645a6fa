//! Programs that a Spec wants run at points of a container's life (runtime-spec config.md, "POSIX-platform Hooks").
//!
//! Runs in: the host's namespaces for createRuntime, poststart and poststop; the container's for the other two.

use crate::sys::{Named, process};
use anyhow::{Context, Result, anyhow, bail, ensure};
use oci_spec::runtime::{Hook, Spec, State};
use rustix::fs::MemfdFlags;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Runs them in order, each with the container's state on its standard input; the first that fails ends the row.
pub fn run(point: &str, hooks: Option<&Vec<Hook>>, state: &State) -> Result<()> {
    for hook in hooks.into_iter().flatten() {
        run_one(hook, state).with_context(|| format!("{point} hook {}", hook.path().display()))?;
    }
    Ok(())
}

/// Runs the poststop hooks. The container has ended whatever they do: of those that fail the errors come back, and the
/// others run all the same (runtime-spec runtime.md, "Lifecycle").
pub fn run_poststop(spec: &Spec, state: &State) -> Vec<anyhow::Error> {
    let all = spec.hooks().as_ref().and_then(|all| all.poststop().as_ref());
    let run = |hook: &Hook| {
        let result = run_one(hook, state).with_context(|| format!("poststop hook {}", hook.path().display()));
        result.err()
    };
    all.into_iter().flatten().filter_map(run).collect()
}

fn run_one(hook: &Hook, state: &State) -> Result<()> {
    ensure!(hook.path().is_absolute(), "path: not absolute");
    let mut command = Command::new(hook.path());
    let args = hook.args().as_deref().unwrap_or_default();
    if let Some(name) = args.first() {
        command.arg0(name).args(&args[1..]);
    }
    command.env_clear();
    for entry in hook.env().iter().flatten() {
        let Some((key, value)) = entry.split_once('=') else { bail!("env {entry:?}: no =") };
        command.env(key, value);
    }
    // Files in memory and no pipes: a hook need not read the first nor stop at what a pipe takes of the second.
    let input = in_memory(&serde_json::to_vec(state)?)?;
    let said = in_memory(&[])?;
    command.stdin(input).stdout(Stdio::null()).stderr(said.try_clone()?);
    let mut child = command.spawn().context("run")?;
    if let Some(seconds) = hook.timeout() {
        let pidfd = process::open_pidfd(child.id() as i32)?;
        if !process::ends_within(pidfd.as_fd(), std::time::Duration::from_secs(seconds.max(0) as u64))? {
            child.kill()?;
            child.wait()?;
            return Err(anyhow!("not ended after {seconds} s"));
        }
    }
    let status = child.wait()?;
    if status.success() {
        return Ok(());
    }
    let mut text = Vec::new();
    let mut said = said;
    said.seek(SeekFrom::Start(0))?;
    said.take(MAX_SAID).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    Err(anyhow!("{status}{}", text.lines().last().map(|line| format!(": {line}")).unwrap_or_default()))
}

/// As much is read of what a hook says.
const MAX_SAID: u64 = 64 * 1024;

fn in_memory(bytes: &[u8]) -> Result<File> {
    let fd = rustix::fs::memfd_create("hook", MemfdFlags::CLOEXEC).named(|| "memfd_create".to_owned())?;
    let mut file = File::from(fd);
    file.write_all(bytes)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}
