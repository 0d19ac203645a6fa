//! Names and passwords for registries, in the files of docker and podman and with their helpers
//! (containers-auth.json(5), docker's "Credential stores").

mod account;
mod helper;
mod keep;

pub use account::Account;
pub use keep::{Kept, forget, forget_all, keep};

use super::reference::{DOCKER_HUB, Reference};
use crate::paths;
use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

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

/// Where credentials may be.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// The one file that was named, by `--authfile` or `$REGISTRY_AUTH_FILE`: no other one counts then.
    named: Option<PathBuf>,
    /// podman's of this session: `$XDG_RUNTIME_DIR/containers/auth.json`, if that directory is the caller's.
    session: Option<PathBuf>,
    /// podman's that stays: `~/.config/containers/auth.json`.
    own: Option<PathBuf>,
    /// docker's: `~/.docker/config.json`.
    docker: Option<PathBuf>,
}

impl Files {
    /// Those that the environment and `--authfile` name.
    pub fn new(authfile: Option<&Path>) -> Files {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(named) = authfile.map(Path::to_owned).or_else(|| variable("REGISTRY_AUTH_FILE")) {
            return Files { named: Some(named), ..Files::default() };
        }
        let home = variable("HOME");
        let config = variable("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
        let docker = variable("DOCKER_CONFIG").or_else(|| home.map(|home| home.join(".docker")));
        let session = variable("XDG_RUNTIME_DIR").filter(|dir| paths::belongs_to_caller(dir));
        Files {
            named: None,
            session: session.map(|dir| dir.join("containers/auth.json")),
            own: config.map(|dir| dir.join("containers/auth.json")),
            docker: docker.map(|dir| dir.join("config.json")),
        }
    }

    /// All that are looked into, the first one first.
    fn all(&self) -> impl Iterator<Item = &Path> {
        [&self.named, &self.session, &self.own, &self.docker].into_iter().filter_map(|file| file.as_deref())
    }
}

/// The credentials for an image, if there are any.
pub fn find(files: &Files, image: &Reference) -> Result<Option<Credentials>> {
    find_for(files, &image.registry, &image.name())
}

/// The credentials for a registry or a part of it, if there are any.
pub fn find_account(files: &Files, account: &Account) -> Result<Option<Credentials>> {
    find_for(files, account.registry(), &account.to_string())
}

fn find_for(files: &Files, registry: &str, name: &str) -> Result<Option<Credentials>> {
    for file in files.all() {
        let Some(config) = read(file)? else { continue };
        if let Some(found) = find_in(&config, registry, name).with_context(|| file.display().to_string())? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// A file, if it is there. An empty one is as good as one with nothing in it.
fn read(file: &Path) -> Result<Option<Map<String, Value>>> {
    let text = match fs_err::metadata(file) {
        Ok(meta) if meta.len() > MAX_FILE => bail!("{}: longer than {MAX_FILE} bytes", file.display()),
        Ok(_) => fs_err::read(file)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if text.trim_ascii().is_empty() {
        return Ok(Some(Map::new()));
    }
    serde_json::from_slice(&text).map(Some).with_context(|| file.display().to_string())
}

/// A field of a map within a map; null where either is missing.
fn field<'a>(config: &'a Map<String, Value>, name: &str) -> &'a Value {
    config.get(name).unwrap_or(&Value::Null)
}

fn find_in(config: &Map<String, Value>, registry: &str, name: &str) -> Result<Option<Credentials>> {
    let keys = keys(registry, name);
    for key in &keys {
        if let Some(helper) = field(config, "credHelpers")[key].as_str() {
            return helper::get(helper, key);
        }
    }
    if let Some(auths) = field(config, "auths").as_object() {
        for key in &keys {
            // Old files have whole addresses for names.
            let entry = auths.iter().find(|(name, _)| *name == key || plain(name) == *key);
            if let Some(found) = entry.map(|(_, entry)| decode(entry)).transpose()?.flatten() {
                return Ok(Some(found));
            }
        }
    }
    match field(config, "credsStore").as_str() {
        Some(helper) if registry == DOCKER_HUB => helper::get(helper, DOCKER_KEY),
        Some(helper) => helper::get(helper, registry),
        None => Ok(None),
    }
}

/// The names under which credentials may be kept: the repository, what it is in, the registry.
fn keys(registry: &str, name: &str) -> Vec<String> {
    let mut path = name.to_owned();
    let mut keys = vec![path.clone()];
    while let Some(slash) = path.rfind('/') {
        path.truncate(slash);
        keys.push(path.clone());
    }
    if registry == DOCKER_HUB {
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

/// The entry for credentials, as docker and podman write it.
fn encode(credentials: &Credentials) -> Value {
    match credentials {
        Credentials::Password { user, password } => {
            serde_json::json!({ "auth": STANDARD.encode(format!("{user}:{password}")) })
        }
        Credentials::Identity(token) => serde_json::json!({ "identitytoken": token }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn password(user: &str, password: &str) -> Option<Credentials> {
        Some(Credentials::Password { user: user.to_owned(), password: password.to_owned() })
    }

    fn found_or(config: &Value, image: &str) -> Result<Option<Credentials>> {
        let image = Reference::parse(image).expect(image);
        find_in(config.as_object().expect("an object"), &image.registry, &image.name())
    }

    fn found(config: &Value, image: &str) -> Option<Credentials> {
        found_or(config, image).expect("valid")
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
            let error = found_or(&config, "quay.io/x").expect_err("damaged");
            assert!(!format!("{error:#}").contains("secret"), "{error:#}");
        }
        assert_eq!(format!("{:?}", password("name", "secret")), "Some(Credentials)");
    }

    #[test]
    fn fuzz_credentials() {
        let auth = STANDARD.encode("ada:secret");
        let seeds = [
            json!({ "auths": { "quay.io": { "auth": auth }, "https://quay.io/v1/": {}, "quay.io/team": { "auth": "" } } }),
            json!({ "auths": { "quay.io/team/app": { "identitytoken": "t", "auth": auth } }, "HttpHeaders": {} }),
            json!({ "auths": { "docker.io": { "auth": auth }, "https://index.docker.io/v1/": { "auth": auth } } }),
        ];
        let seeds = seeds.map(|seed| seed.to_string().into_bytes()).to_vec();
        let mutate = Some(crate::fuzz::json::mutate as crate::fuzz::Mutate);
        let words: [&[u8]; 4] = [b"https://", b"quay.io/", b"/v1/", b"=="];
        crate::fuzz::Target { name: "credentials", seeds, words: &words, longest: 1 << 16, mutate }.run(|bytes| {
            let Ok(Value::Object(mut config)) = serde_json::from_slice(bytes) else { return None };
            // Programs are not for random names.
            config.retain(|key, _| !matches!(key.as_str(), "credHelpers" | "credsStore"));
            let config = Value::Object(config);
            let found = found_or(&config, "quay.io/team/app");
            if let Ok(Some(_)) = found {
                let is_for = |key: &String| "quay.io/team/app/".starts_with(&format!("{}/", plain(key)));
                assert!(config["auths"].as_object().is_some_and(|all| all.keys().any(is_for)), "{config}");
            }
            Some(found.map(|found| found.is_some()).map_err(|error| crate::fuzz::kind_of(&error)))
        });
    }
}
