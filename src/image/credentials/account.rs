//! What one logs in to.

use crate::image::reference::{DOCKER_HUB, Name};
use anyhow::{Context, Result, ensure};
use std::fmt;

/// A registry, or a part of one: `quay.io`, `quay.io/team`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    registry: String,
    path: Option<String>,
}

impl Account {
    /// Reads `[https://]HOST[:PORT][/PATH…]`. docker's own registry has several names, and of an address with a scheme
    /// only the host counts, as with docker.
    pub fn parse(text: &str) -> Result<Account> {
        let wrong = || format!("{text:?}: HOST[:PORT] of a registry is wanted, or HOST[:PORT]/PATH");
        let is_address = text.contains("://");
        let plain = super::plain(text);
        let (registry, path) = match plain.split_once('/') {
            Some((registry, _)) if is_address => (registry, None),
            Some((registry, path)) => (registry, Some(path)),
            None => (plain, None),
        };
        let name = Name::parse(&format!("{registry}/{}", path.unwrap_or("x"))).with_context(wrong)?;
        ensure!(!name.is_short() && name.is_bare(), wrong());
        // docker's official images have no part of the hub of their own here.
        let registry = name.within(DOCKER_HUB).registry;
        let path = path.filter(|path| !(registry == DOCKER_HUB && *path == "v1")).map(str::to_owned);
        Ok(Account { registry, path })
    }

    /// The registry.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// True if it is the whole registry; helpers know no parts.
    pub fn is_whole(&self) -> bool {
        self.path.is_none()
    }

    /// True if it goes by this name in a file.
    pub(super) fn is_called(&self, key: &str) -> bool {
        let plain = super::plain(key);
        plain == self.to_string() || (self.is_whole() && self.registry == DOCKER_HUB && is_hub(plain))
    }
}

fn is_hub(name: &str) -> bool {
    matches!(name, "docker.io" | "index.docker.io" | "registry-1.docker.io")
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.registry)?;
        self.path.as_ref().map_or(Ok(()), |path| write!(f, "/{path}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_accounts() {
        for (typed, account) in [
            ("quay.io", "quay.io"),
            ("https://quay.io", "quay.io"),
            ("https://quay.io/v2/", "quay.io"),
            ("https://quay.io/some/page", "quay.io"),
            ("quay.io/team/app", "quay.io/team/app"),
            ("127.0.0.1:5000", "127.0.0.1:5000"),
            ("localhost", "localhost"),
            ("docker.io", "docker.io"),
            ("index.docker.io", "docker.io"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("registry-1.docker.io", "docker.io"),
            ("docker.io/library", "docker.io/library"),
        ] {
            assert_eq!(Account::parse(typed).expect(typed).to_string(), account, "{typed}");
        }
        for wrong in ["", "https://", "team", "team/app", "quay.io/Team", "quay.io/a:v1", "a b", "-x.y", "quay.io/../x"]
        {
            assert!(Account::parse(wrong).is_err(), "{wrong}");
        }
        let hub = Account::parse("docker.io").expect("valid");
        assert!(
            hub.is_called("https://index.docker.io/v1/") && hub.is_called("docker.io") && !hub.is_called("quay.io")
        );
        let quay = Account::parse("quay.io").expect("valid");
        assert!(quay.is_called("https://quay.io/v1/") && !quay.is_called("quay.io/team"));
    }
}
