//! `ps`: containers and what they are doing.

use super::container::{self, Found};
use super::port;
use super::state::{self, State};
use crate::error::Failure;
use crate::net::port::Published;
use anyhow::Result;
use std::path::PathBuf;

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

/// The directory of a container that cannot be read, and why.
pub type Damaged = (PathBuf, Failure);

/// All containers, the newest first; and those that cannot be read.
pub fn list() -> Result<(Vec<Listed>, Vec<Damaged>)> {
    let container::All { found, mut damaged } = container::all()?;
    let mut all = Vec::with_capacity(found.len());
    for found in found {
        match state::of(&found) {
            Ok(state) => {
                let publishes = state.pid().is_some() && port::may_have(&found.container);
                let ports = if publishes { port::of(&found)? } else { Vec::new() };
                all.push(Listed { found, state, ports });
            }
            Err(error) => damaged.push((found.dir, Failure::from(&error))),
        }
    }
    all.sort_by_key(|listed| std::cmp::Reverse(listed.found.container.created));
    Ok((all, damaged))
}
