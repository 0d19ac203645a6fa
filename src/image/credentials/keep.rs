//! Credentials are kept where docker and podman find them, too, and forgotten.
//!
//! The place for a new one: the file that was named; else the helper that docker's file names for the registry; else
//! podman's file of this session, or where there is no runtime directory of the caller's, the one that stays.

use super::{Account, Credentials, DOCKER_KEY, Files, encode, field, helper, read};
use crate::image::reference::DOCKER_HUB;
use crate::paths;
use crate::storage::lock::{Kind, Lock};
use crate::sys::Named;
use anyhow::{Context, Result, bail};
use rustix::fs::{Mode, OFlags};
use serde_json::{Map, Value};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// docker's file, whose names for things differ.
const DOCKER_FILE: &str = "config.json";
/// As many links are followed as the kernel follows.
const MAX_LINKS: u32 = 40;

/// Where credentials are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// In a file, readable for the caller alone.
    File(PathBuf),
    /// With a helper of this name.
    Helper(String),
}

/// Keeps credentials, in the place of older ones.
pub fn keep(files: &Files, account: &Account, credentials: &Credentials) -> Result<Kept> {
    let _turn = turn()?;
    let file = files.named.as_ref().or(files.session.as_ref()).or(files.own.as_ref());
    let file = file.context("neither XDG_RUNTIME_DIR nor HOME is set: no place for credentials")?;
    let mut helper = helper_of(file, account)?;
    if let (None, Some(docker)) = (&helper, &files.docker) {
        helper = helper_of(docker, account)?;
    }
    if let Some((name, key)) = helper {
        helper::store(&name, &key, credentials)?;
        // What is found before it would count.
        for file in files.all() {
            forget_in(file, account)?;
        }
        return Ok(Kept::Helper(name));
    }
    let is_docker = file.file_name().is_some_and(|name| name == DOCKER_FILE);
    let key = if is_docker && account.is_whole() && account.registry() == DOCKER_HUB {
        DOCKER_KEY.to_owned()
    } else {
        account.to_string()
    };
    change(file, |config| {
        let auths = auths(config)?;
        auths.retain(|name, _| !account.is_called(name));
        auths.insert(key, encode(credentials));
        Ok(true)
    })?;
    Ok(Kept::File(file.clone()))
}

/// Forgets the credentials of an account in all files and with all helpers. Where they were.
pub fn forget(files: &Files, account: &Account) -> Result<Vec<Kept>> {
    let _turn = turn()?;
    let mut found = Vec::new();
    for file in files.all() {
        if let Some((name, key)) = helper_of(file, account)? {
            if helper::erase(&name, &key)? {
                found.push(Kept::Helper(name));
            }
        }
        if forget_in(file, account)? {
            found.push(Kept::File(file.to_owned()));
        }
    }
    Ok(found)
}

/// Forgets everything in the files that rbox writes, and with the helpers that they name. docker's own file stays as it
/// is. Where something was.
pub fn forget_all(files: &Files) -> Result<Vec<Kept>> {
    let _turn = turn()?;
    let mut found = Vec::new();
    for file in [&files.named, &files.session, &files.own].into_iter().flatten() {
        let Some(config) = read(file)? else { continue };
        for (key, helper) in field(&config, "credHelpers").as_object().into_iter().flatten() {
            let Some(helper) = helper.as_str() else { continue };
            if helper::erase(helper, key)? {
                found.push(Kept::Helper(helper.to_owned()));
            }
        }
        let emptied = change(file, |config| {
            let auths = auths(config)?;
            let had = !auths.is_empty();
            auths.clear();
            Ok(had)
        })?;
        if emptied {
            found.push(Kept::File(file.clone()));
        }
    }
    Ok(found)
}

/// Two at once would each write what the other one has not seen.
fn turn() -> Result<Lock> {
    Lock::take(&paths::runtime_dir()?.join("credentials"), Kind::Exclusive, |_| {})
}

/// The helper that a file names for an account, and the name of the account with it.
fn helper_of(file: &Path, account: &Account) -> Result<Option<(String, String)>> {
    let Some(config) = read(file)? else { return Ok(None) };
    if !account.is_whole() {
        return Ok(None);
    }
    let helpers = field(&config, "credHelpers").as_object();
    let own = helpers.into_iter().flatten().find(|(key, _)| account.is_called(key));
    if let Some((key, Value::String(helper))) = own {
        return Ok(Some((helper.clone(), key.clone())));
    }
    let key = if account.registry() == DOCKER_HUB { DOCKER_KEY } else { account.registry() };
    let store = field(&config, "credsStore").as_str().filter(|store| !store.is_empty());
    Ok(store.map(|helper| (helper.to_owned(), key.to_owned())))
}

fn forget_in(file: &Path, account: &Account) -> Result<bool> {
    change(file, |config| {
        if !config.contains_key("auths") {
            return Ok(false);
        }
        let auths = auths(config)?;
        let before = auths.len();
        auths.retain(|name, _| !account.is_called(name));
        Ok(auths.len() < before)
    })
}

fn auths(config: &mut Map<String, Value>) -> Result<&mut Map<String, Value>> {
    let auths = config.entry("auths").or_insert_with(|| Value::Object(Map::new()));
    if auths.is_null() {
        *auths = Value::Object(Map::new());
    }
    auths.as_object_mut().context("auths: not an object")
}

/// Changes a file; what else is in it stays. It is replaced as a whole, if `change` says that something is new.
fn change(file: &Path, change: impl FnOnce(&mut Map<String, Value>) -> Result<bool>) -> Result<bool> {
    let file = &target(file)?;
    let mut config = read(file)?.unwrap_or_default();
    if !change(&mut config).with_context(|| file.display().to_string())? {
        return Ok(false);
    }
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.with_context(|| format!("create {}", dir.display()))?;
    let mut text = serde_json::to_string_pretty(&config)?;
    text.push('\n');
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).named(|| "getrandom".to_owned())?;
    let aside = dir.join(format!(".rbox-{:016x}", u64::from_ne_bytes(bytes)));
    let written = write(&aside, text.as_bytes()).and_then(|()| Ok(fs_err::rename(&aside, file)?));
    if written.is_err() {
        // What was written is a secret.
        let _ = rustix::fs::unlink(&aside);
    }
    written?;
    Ok(true)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).named(|| format!("create {}", path.display()))?;
    let mut file = std::fs::File::from(file);
    file.write_all(bytes).and_then(|()| file.sync_all()).with_context(|| format!("write {}", path.display()))
}

/// The file itself: some have theirs in a repository, and a symlink to it.
fn target(file: &Path) -> Result<PathBuf> {
    let mut file = file.to_owned();
    for _ in 0..MAX_LINKS {
        match fs_err::read_link(&file) {
            Ok(link) => file = file.parent().unwrap_or(Path::new("/")).join(link),
            // Not a symlink, or not there.
            Err(_) => return Ok(file),
        }
    }
    bail!("{}: too many symlinks", file.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn password(user: &str) -> Credentials {
        Credentials::Password { user: user.to_owned(), password: "s:ecret".to_owned() }
    }

    fn account(text: &str) -> Account {
        Account::parse(text).expect(text)
    }

    fn json_of(file: &Path) -> Value {
        serde_json::from_slice(&fs_err::read(file).expect("there")).expect("JSON")
    }

    #[test]
    fn what_else_is_in_the_file_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let (link, file) = (dir.path().join("link.json"), dir.path().join("real/auth.json"));
        symlink("real/auth.json", &link).expect("a symlink");
        let files = Files { named: Some(link.clone()), ..Files::default() };
        // Neither the directory nor the file are there yet.
        let kept = keep(&files, &account("quay.io/team"), &password("team")).expect("kept");
        assert_eq!(kept, Kept::File(link.clone()));
        let mode = |path: &Path| fs_err::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(&dir.path().join("real"))), (0o600, 0o700));
        let mut config = json_of(&file);
        config["HttpHeaders"] = json!({ "X": "y" });
        config["auths"]["other.example"] = json!({ "auth": "eDp5", "email": "z" });
        config["auths"]["https://quay.io/v1/"] = json!({ "auth": "b2xkOm9sZA==" });
        fs_err::write(&file, config.to_string()).expect("written");
        fs_err::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("allowed");
        keep(&files, &account("quay.io"), &password("all")).expect("kept");
        assert_eq!(find(&files, "quay.io"), Some(password("all")));
        assert_eq!(find(&files, "quay.io/team"), Some(password("team")));
        let config = json_of(&file);
        assert_eq!(
            (&config["HttpHeaders"]["X"], &config["auths"]["other.example"]["email"]),
            (&json!("y"), &json!("z"))
        );
        assert_eq!(config["auths"].as_object().expect("an object").len(), 3, "{config}");
        assert_eq!(mode(&file), 0o600);
        assert!(fs_err::symlink_metadata(&link).expect("there").is_symlink());
        assert_eq!(fs_err::read_dir(dir.path().join("real")).expect("there").count(), 1, "nothing is left beside it");
        assert_eq!(forget(&files, &account("quay.io")).expect("works"), [Kept::File(link.clone())]);
        assert_eq!(find(&files, "quay.io"), None);
        assert_eq!(find(&files, "quay.io/team"), Some(password("team")));
        assert_eq!(forget(&files, &account("quay.io")).expect("works"), []);
        assert_eq!(forget_all(&files).expect("works"), [Kept::File(link)]);
        assert_eq!(json_of(&file), json!({ "auths": {}, "HttpHeaders": { "X": "y" } }));
    }

    fn find(files: &Files, text: &str) -> Option<Credentials> {
        super::super::find_account(files, &account(text)).expect("valid")
    }

    #[test]
    fn the_hub_has_another_name_in_dockers_file() {
        let dir = tempfile::tempdir().expect("a directory");
        for (name, key) in [("config.json", DOCKER_KEY), ("auth.json", "docker.io")] {
            let file = dir.path().join(name);
            let files = Files { named: Some(file.clone()), ..Files::default() };
            keep(&files, &account("docker.io"), &password("ada")).expect("kept");
            assert!(json_of(&file)["auths"][key].is_object());
            assert_eq!(find(&files, "index.docker.io"), Some(password("ada")));
        }
    }

    #[test]
    fn a_damaged_file_is_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("auth.json");
        let files = Files { named: Some(file.clone()), ..Files::default() };
        for text in ["{", "[]", r#"{"auths": 5}"#] {
            fs_err::write(&file, text).expect("written");
            let error = keep(&files, &account("quay.io"), &password("ada")).expect_err(text);
            assert!(format!("{error:#}").contains("auth.json"), "{error:#}");
            assert_eq!(fs_err::read_to_string(&file).expect("there"), text);
        }
        fs_err::write(&file, "\n").expect("written");
        keep(&files, &account("quay.io"), &password("ada")).expect("an empty file is no damage");
    }
}
