//! Names and passwords for registries, from the files that docker and podman write, and from their helpers
//! (containers-auth.json(5), docker's "Credential stores").

use super::reference::{DOCKER_HUB, Reference};
use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// docker's name for its own registry in these files.
const DOCKER_KEY: &str = "https://index.docker.io/v1/";
/// A file of credentials is not longer.
const MAX_FILE: u64 = 1 << 20;

/// What opens a registry. Never shown: it has no `Debug` that would.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A name and a password.
    Password {
        /// Name.
        user: String,
        /// Password.
        password: String,
    },
    /// A token that is exchanged for others (OAuth 2 refresh token).
    Identity(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials")
    }
}

impl Credentials {
    /// `NAME:PASSWORD`, as `--creds` has it.
    pub fn parse(text: &str) -> Result<Credentials> {
        let (user, password) = text.split_once(':').context("--creds: NAME:PASSWORD is wanted")?;
        ensure!(!user.is_empty(), "--creds: an empty name");
        Ok(Credentials::Password { user: user.to_owned(), password: password.to_owned() })
    }
}

/// The files to look into, the first one first.
pub fn files(authfile: Option<&Path>) -> Vec<PathBuf> {
    if let Some(file) = authfile {
        return vec![file.to_owned()];
    }
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(file) = variable("REGISTRY_AUTH_FILE") {
        return vec![file];
    }
    let home = variable("HOME");
    let config = variable("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
    let docker = variable("DOCKER_CONFIG").or_else(|| home.map(|home| home.join(".docker")));
    [
        variable("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json")),
        config.map(|dir| dir.join("containers/auth.json")),
        docker.map(|dir| dir.join("config.json")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The credentials for an image, if there are any.
pub fn find(files: &[PathBuf], image: &Reference) -> Result<Option<Credentials>> {
    for file in files {
        let text = match fs_err::metadata(file) {
            Ok(meta) if meta.len() > MAX_FILE => bail!("{}: longer than {MAX_FILE} bytes", file.display()),
            Ok(_) => fs_err::read(file)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        let config: Value = serde_json::from_slice(&text).with_context(|| file.display().to_string())?;
        if let Some(found) = find_in(&config, image).with_context(|| file.display().to_string())? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn find_in(config: &Value, image: &Reference) -> Result<Option<Credentials>> {
    let keys = keys(image);
    for key in &keys {
        if let Some(helper) = config["credHelpers"].get(key).and_then(Value::as_str) {
            return ask(helper, key);
        }
    }
    if let Some(auths) = config["auths"].as_object() {
        for key in &keys {
            // Old files have whole addresses for names.
            let entry = auths.iter().find(|(name, _)| *name == key || plain(name) == *key);
            if let Some(found) = entry.map(|(_, entry)| decode(entry)).transpose()?.flatten() {
                return Ok(Some(found));
            }
        }
    }
    match config["credsStore"].as_str() {
        Some(helper) if image.registry == DOCKER_HUB => ask(helper, DOCKER_KEY),
        Some(helper) => ask(helper, &image.registry),
        None => Ok(None),
    }
}

/// The names under which credentials may be kept: the repository, what it is in, the registry.
fn keys(image: &Reference) -> Vec<String> {
    let mut path = image.name();
    let mut keys = vec![path.clone()];
    while let Some(slash) = path.rfind('/') {
        path.truncate(slash);
        keys.push(path.clone());
    }
    if image.registry == DOCKER_HUB {
        keys.extend(["index.docker.io".to_owned(), DOCKER_KEY.to_owned()]);
    }
    keys
}

fn plain(name: &str) -> &str {
    let name = name.strip_prefix("https://").or(name.strip_prefix("http://")).unwrap_or(name);
    let name = name.strip_suffix("/v1/").or(name.strip_suffix("/v2/")).unwrap_or(name);
    name.trim_end_matches('/')
}

/// One entry: `{"auth": base64(NAME:PASSWORD), "identitytoken": …}`.
fn decode(entry: &Value) -> Result<Option<Credentials>> {
    if let Some(token) = entry["identitytoken"].as_str().filter(|token| !token.is_empty()) {
        return Ok(Some(Credentials::Identity(token.to_owned())));
    }
    let Some(auth) = entry["auth"].as_str().filter(|auth| !auth.is_empty()) else { return Ok(None) };
    // The text itself is kept out of the message.
    let bytes = STANDARD.decode(auth).map_err(|_| anyhow::anyhow!("auth: not base64"))?;
    let text = String::from_utf8(bytes).map_err(|_| anyhow::anyhow!("auth: not UTF-8"))?;
    let (user, password) = text.split_once(':').context("auth: no colon between name and password")?;
    // docker pads with NULs.
    Ok(Some(Credentials::Password { user: user.to_owned(), password: password.trim_end_matches('\0').to_owned() }))
}

/// `docker-credential-HELPER get`.
fn ask(helper: &str, key: &str) -> Result<Option<Credentials>> {
    let name = format!("docker-credential-{helper}");
    ensure!(!helper.is_empty() && !helper.contains('/'), "{name}: not the name of a helper");
    let spawned = Command::new(&name).arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = spawned.with_context(|| format!("run {name}"))?;
    if let Some(mut input) = child.stdin.take() {
        // One that does not read its input is judged by its answer.
        let _ = input.write_all(key.as_bytes());
    }
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        // The one error that every helper says in these words.
        if text.contains("credentials not found") {
            return Ok(None);
        }
        bail!("{name}: {}", text.trim());
    }
    let answer: Value = serde_json::from_str(&text).map_err(|_| anyhow::anyhow!("{name}: its answer is no JSON"))?;
    let get = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
    let (user, secret) = (get("Username"), get("Secret"));
    Ok(match user.as_str() {
        "" => None,
        "<token>" => Some(Credentials::Identity(secret)),
        _ => Some(Credentials::Password { user, password: secret }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn password(user: &str, password: &str) -> Option<Credentials> {
        Some(Credentials::Password { user: user.to_owned(), password: password.to_owned() })
    }

    fn found(config: &Value, image: &str) -> Option<Credentials> {
        find_in(config, &Reference::parse(image).expect(image)).expect("valid")
    }

    #[test]
    fn the_longest_name_wins() {
        let auth = |text: &str| json!({ "auth": STANDARD.encode(text) });
        let config = json!({ "auths": {
            "quay.io": auth("all:1"), "quay.io/team": auth("team:2"), "quay.io/team/app": auth("app:3:4"),
            "https://index.docker.io/v1/": auth("hub:5"), "https://old.example/v1/": auth("old:6"),
            "token.example": { "identitytoken": "t" }, "empty.example": {}
        } });
        assert_eq!(found(&config, "quay.io/other/app"), password("all", "1"));
        assert_eq!(found(&config, "quay.io/team/x"), password("team", "2"));
        assert_eq!(found(&config, "quay.io/team/app:v1"), password("app", "3:4"));
        assert_eq!(found(&config, "alpine"), password("hub", "5"));
        assert_eq!(found(&config, "old.example/x"), password("old", "6"));
        assert_eq!(found(&config, "token.example/x"), Some(Credentials::Identity("t".to_owned())));
        assert_eq!(found(&config, "empty.example/x"), None);
        // Neither a longer host nor one that ends alike.
        assert_eq!(found(&config, "quay.io.evil.example/team/app"), None);
        assert_eq!(found(&config, "evilquay.io/team/app"), None);
    }

    #[test]
    fn damaged_entries_do_not_show_what_they_hold() {
        for auth in ["secret!", &STANDARD.encode("secret")] {
            let config = json!({ "auths": { "quay.io": { "auth": auth } } });
            let error = find_in(&config, &Reference::parse("quay.io/x").expect("valid")).expect_err("damaged");
            assert!(!format!("{error:#}").contains("secret"), "{error:#}");
        }
        assert_eq!(format!("{:?}", password("name", "secret")), "Some(Credentials)");
    }
}
