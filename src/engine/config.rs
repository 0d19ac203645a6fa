//! `/etc/rbox/config.toml` and `~/.config/rbox/config.toml`: what the administrator and the user want otherwise. Of the table
//! `[registries]` the image layer knows.

use anyhow::{Context, Result};
use serde::Deserialize;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// What the files say; the user's comes last and counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Config {
    /// The table `[network]`.
    pub network: Network,
}

/// How containers are connected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// The address of the host that ports are published on where the command line names none; without it all addresses.
    pub publish_address: Option<IpAddr>,
}

/// Reads both.
pub fn read() -> Result<Config> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let user = variable("XDG_CONFIG_HOME").or_else(|| variable("HOME").map(|home| home.join(".config")));
    let mut config = Config::default();
    for dir in [Some(PathBuf::from("/etc")), user].into_iter().flatten() {
        let path = dir.join("rbox/config.toml");
        let found = read_one(&path)?;
        config.network.publish_address = found.network.publish_address.or(config.network.publish_address);
    }
    Ok(config)
}

fn read_one(path: &Path) -> Result<Config> {
    match fs_err::read_to_string(path) {
        Ok(text) => toml::from_str(&text).with_context(|| path.display().to_string()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(Config::default()),
        Err(error) => Err(error.into()),
    }
}
