//! The options of whatever speaks to a registry.

use super::boolean;
use super::rare::Rare;
use crate::engine::images::Remote;
use crate::image::credentials::Credentials;
use crate::image::manifest::Platform;
use crate::image::reference::Name;
use crate::image::registry::Access;
use anyhow::{Result, bail};
use clap::Args;
use std::path::{Path, PathBuf};

/// podman's words for places that are no registry.
const OTHER_PLACES: [&str; 8] =
    ["containers-storage", "dir", "docker-archive", "docker-daemon", "oci", "oci-archive", "ostree", "sif"];

/// The name of an image in a registry, `docker://` before it or not.
pub fn name(text: &str) -> Result<Name> {
    if let Some(name) = text.strip_prefix("docker://") {
        return Name::parse(name);
    }
    match text.split_once(':') {
        Some((place, _)) if OTHER_PLACES.contains(&place) => {
            bail!("{text}: {place}: is no registry (docker://{text} would be one's image of that name)")
        }
        _ => Name::parse(text),
    }
}

/// What is typed about any registry.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Registry")]
pub struct AccessArgs {
    /// Require HTTPS and a valid certificate; false allows others. Registries on this machine need none
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    tls_verify: Option<bool>,
    /// File with credentials, instead of auth.json and ~/.docker/config.json
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// Directory with certificates for the registry
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,
}

/// What is typed about images in one.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Registry")]
pub struct RemoteArgs {
    #[command(flatten)]
    access: Rare<AccessArgs>,
    /// Name and password for the registry
    #[arg(long, value_name = "NAME:PASSWORD")]
    creds: Option<String>,
    /// Take the image for another platform
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
}

impl AccessArgs {
    /// Reads everything; `creds`: `NAME:PASSWORD`.
    pub fn remote(&self, creds: Option<&str>, cwd: &Path) -> Result<Remote> {
        Ok(Remote {
            access: Access {
                tls_verify: self.tls_verify,
                cert_dir: self.cert_dir.as_ref().map(|dir| cwd.join(dir)),
                credentials: creds.map(Credentials::parse).transpose()?,
            },
            authfile: self.authfile.as_ref().map(|file| cwd.join(file)),
            platform: None,
        })
    }
}

impl RemoteArgs {
    /// Reads everything.
    pub fn remote(&self, cwd: &Path) -> Result<Remote> {
        let platform = self.platform.as_deref().map(Platform::parse).transpose()?;
        Ok(Remote { platform, ..self.access.remote(self.creds.as_deref(), cwd)? })
    }
}
