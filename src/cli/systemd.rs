//! What systemd units of rbox have in common.

use crate::spec::unit;
use anyhow::{Context, Result};

/// This program, as the first word of a command line.
pub fn own_program() -> Result<String> {
    let path = std::env::current_exe().context("path of this program")?;
    Ok(unit::program(path.to_str().context("path of this program: not UTF-8, which a unit must be")?))
}

/// `Environment=` lines for where things are kept, if that is elsewhere than usual.
pub fn environment() -> String {
    let lines = ["XDG_DATA_HOME", "XDG_CONFIG_HOME"].into_iter().filter_map(|name| {
        let value = std::env::var(name).ok().filter(|value| value.starts_with('/'))?;
        Some(format!("Environment={}\n", unit::assignment(name, &value)))
    });
    lines.collect()
}
