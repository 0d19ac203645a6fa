//! `ps`: containers and what they are doing.

use super::container::{self, Found};
use super::state::State;
use super::{damage, port};
use crate::error::Failure;
use crate::net::port::Published;
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
}

/// All containers, the newest first; and which of their files cannot be read.
pub fn list() -> Result<(Vec<Listed>, Vec<Failure>)> {
    let container::All { found, damaged } = container::all()?;
    let mut failures: Vec<Failure> =
        damaged.into_iter().map(|(dir, failure)| damage::of_record(&dir, failure)).collect();
    let mut all = Vec::with_capacity(found.len());
    for found in found {
        let (state, failure) = damage::state(&found);
        failures.extend(failure);
        let publishes = state.pid().is_some() && port::may_have(&found.container);
        let ports = if publishes { damage::part(&found, port::of(&found), &mut failures) } else { Vec::new() };
        all.push(Listed { found, state, ports });
    }
    all.sort_by_key(|listed| std::cmp::Reverse(listed.found.container.created));
    Ok((all, failures))
}
