//! What a boot has to do with containers: those whose restart policy wants it are started after it, and stopped before one that is
//! done in order.

use super::container::{self, Found};
use super::state::{self, State, Status};
use super::{damage, restart, stop};
use crate::error::Failure;
use crate::spec::restart::Restart;
use anyhow::Result;

/// Those that are to be started, the oldest first: others may need it. And those of which nobody can say.
pub fn wanted() -> Result<(Vec<Found>, Vec<Failure>)> {
    chosen(is_wanted)
}

/// Those that run and have a policy.
pub fn running() -> Result<(Vec<Found>, Vec<Failure>)> {
    chosen(|found, state| {
        found.container.restart != Restart::No && (state.runs() || state.status == Status::Restarting)
    })
}

fn chosen(is_one: impl Fn(&Found, &State) -> bool) -> Result<(Vec<Found>, Vec<Failure>)> {
    let container::All { found, damaged } = container::all()?;
    let mut failures: Vec<Failure> =
        damaged.into_iter().map(|(dir, failure)| damage::of_record(&dir, failure)).collect();
    let mut all = Vec::new();
    for found in found {
        match state::of(&found) {
            Ok(state) if is_one(&found, &state) => all.push(found),
            Ok(_) => {}
            Err(error) => failures.push(damage::of(&found, error)),
        }
    }
    all.sort_by_key(|found| found.container.created);
    Ok((all, failures))
}

/// docker's rules (moby, `restartmanager`, `ShouldRestart`, and `daemon.restore`): one that was never started is not started. But
/// whoever has stopped one with `on-failure` does not want it to run, whatever its status was.
fn is_wanted(found: &Found, state: &State) -> bool {
    if state.status != Status::Exited {
        return false;
    }
    match found.container.restart {
        Restart::No => false,
        Restart::Always => true,
        Restart::UnlessStopped => !restart::is_stopped_for_good(&found.dir),
        Restart::OnFailure(_) => state.exit_code() != 0 && !restart::is_stopped_for_good(&found.dir),
    }
}

/// Stops one, which is started again after the next boot.
pub fn stop(found: &Found) -> Result<()> {
    restart::mark_stopped_for_now(&found.dir)?;
    stop::end(found, None, None)
}
