//! `ps`: containers and what they are doing.

use super::container::{self, Found};
use super::health::{self, Health};
use super::state::State;
use super::{damage, port, spread};
use crate::error::Failure;
use crate::net::port::{Protocol, Published};
use anyhow::Result;

/// One of them.
#[derive(Debug)]
pub struct Listed {
    /// What it was made as.
    pub found: Found,
    /// What it is doing.
    pub state: State,
    /// Its published ports, while it runs.
    pub ports: Vec<Published>,
    /// Those that it says it serves and that are not published, while it runs on a network of which some could be.
    pub exposed: Vec<(u16, Protocol)>,
    /// How it was at its last checks, if there are some.
    pub health: Option<Health>,
}

/// All containers, the newest first; and which of their files cannot be read.
pub fn list() -> Result<(Vec<Listed>, Vec<Failure>)> {
    let container::All { found, damaged } = container::all()?;
    let mut failures: Vec<Failure> =
        damaged.into_iter().map(|(dir, failure)| damage::of_record(&dir, failure)).collect();
    let mut all = Vec::with_capacity(found.len());
    let states = spread::over(&found, damage::state);
    for (found, (state, failure)) in found.into_iter().zip(states) {
        failures.extend(failure);
        let (mut ports, mut exposed) = (Vec::new(), Vec::new());
        if state.pid().is_some() && port::may_have(&found.container) {
            ports = damage::part(&found, port::of(&found), &mut failures);
            exposed = damage::part(&found, port::exposed(&found, &ports), &mut failures);
        }
        let health = if health::may_be(&found) { health::read(&found) } else { Ok(None) };
        let health = damage::part(&found, health, &mut failures);
        all.push(Listed { found, state, ports, exposed, health });
    }
    all.sort_by_key(|listed| std::cmp::Reverse(listed.found.container.created));
    Ok((all, failures))
}
