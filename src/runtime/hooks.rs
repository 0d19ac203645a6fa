//! Programs that a Spec wants run at points of a container's life (runtime-spec config.md, "POSIX-platform Hooks").
//!
//! Runs in: the host's namespaces for createRuntime, poststart and poststop; the container's for the other two.

use crate::sys::process;
use anyhow::{Context, Result, anyhow, bail};
use oci_spec::runtime::{Hook, Spec, State};
use std::io::Write;
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
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().context("run")?;
    if let Some(mut input) = child.stdin.take() {
        // A hook need not read it.
        let _ = input.write_all(&serde_json::to_vec(state)?);
    }
    if let Some(seconds) = hook.timeout() {
        let pidfd = process::open_pidfd(child.id() as i32)?;
        if !process::ends_within(pidfd.as_fd(), std::time::Duration::from_secs(seconds.max(0) as u64))? {
            child.kill()?;
            child.wait()?;
            return Err(anyhow!("not ended after {seconds} s"));
        }
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(anyhow!("{}{}", output.status, said.lines().last().map(|line| format!(": {line}")).unwrap_or_default()))
}
