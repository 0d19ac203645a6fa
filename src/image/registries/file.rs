//! The files and what can be in one.

use super::{Mirror, Rule, check_host};
use crate::image::reference::Reference;
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The variable that names the first file.
const NAMED: &str = "CONTAINERS_REGISTRIES_CONF";
/// A file is not longer.
const MAX_FILE: u64 = 1 << 20;

/// One file, or the table of rbox's.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct File {
    unqualified_search_registries: Option<Vec<String>>,
    pub short_name_mode: Option<String>,
    pub aliases: BTreeMap<String, String>,
    registry: Vec<Registry>,
    registries: V1,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Registry {
    prefix: Option<String>,
    location: Option<String>,
    insecure: bool,
    blocked: bool,
    mirror_by_digest_only: bool,
    mirror: Vec<RawMirror>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct RawMirror {
    location: String,
    insecure: bool,
    pull_from_mirror: Option<String>,
}

/// The form of before 2019.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct V1 {
    search: V1List,
    insecure: V1List,
    block: V1List,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct V1List {
    registries: Vec<String>,
}

/// rbox's own file.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    registries: Option<File>,
}

/// The files that there may be, in the order in which they are read, and whether each is rbox's.
pub fn paths() -> Result<Vec<(PathBuf, bool)>> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = variable("XDG_CONFIG_HOME").or_else(|| variable("HOME").map(|home| home.join(".config")));
    let (system, user) = (Path::new("/etc"), config.as_deref());
    let conf = |dir: &Path| dir.join("containers/registries.conf");
    let main = match variable(NAMED) {
        Some(named) => {
            // The others need not be there.
            fs_err::metadata(&named).context(NAMED)?;
            named
        }
        None => user.map(conf).filter(|path| path.exists()).unwrap_or_else(|| conf(system)),
    };
    let mut paths = vec![(main, false)];
    for dir in [Some(system), user].into_iter().flatten() {
        paths.extend(drop_ins(&dir.join("containers/registries.conf.d"))?.into_iter().map(|path| (path, false)));
    }
    paths.extend([Some(system), user].into_iter().flatten().map(|dir| (dir.join("rbox/config.toml"), true)));
    Ok(paths)
}

/// `*.conf`, by name.
fn drop_ins(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs_err::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(vec![]),
        Err(error) => return Err(error.into()),
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    paths.sort();
    Ok(paths)
}

/// What a file says; nothing if it is not there.
pub fn read(path: &Path, is_ours: bool) -> Result<Option<File>> {
    let text = match fs_err::metadata(path) {
        Ok(meta) if meta.len() > MAX_FILE => bail!("{}: longer than {MAX_FILE} bytes", path.display()),
        Ok(_) => fs_err::read_to_string(path)?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let parsed = if is_ours {
        toml::from_str(&text).map(|config: Config| config.registries)
    } else {
        toml::from_str(&text).map(Some)
    };
    parsed.map_err(|error| {
        // Without the excerpt, which takes several lines.
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        anyhow!("{}:{line}: {}", path.display(), error.message().replace('\n', " "))
    })
}

impl File {
    /// The list for short names, if the file has one.
    pub fn search(&self) -> Option<Vec<String>> {
        let old = &self.registries.search.registries;
        self.unqualified_search_registries.clone().or_else(|| (!old.is_empty()).then(|| old.clone()))
    }

    /// The rules; `path` is for errors.
    pub fn rules(&self, path: &Path) -> Result<Vec<Rule>> {
        let mut rules = Vec::new();
        for registry in &self.registry {
            rules.push(registry.rule(path).context("registry")?);
        }
        let old = |prefix: &String, insecure: bool, blocked: bool| -> Result<Rule> {
            check_host(prefix)?;
            let registry = Registry { location: Some(prefix.clone()), insecure, blocked, ..Registry::default() };
            registry.rule(path)
        };
        let V1 { insecure, block, .. } = &self.registries;
        for prefix in insecure.registries.iter().filter(|prefix| !block.registries.contains(prefix)) {
            rules.push(old(prefix, true, false).context("registries.insecure")?);
        }
        for prefix in &block.registries {
            rules.push(old(prefix, false, true).context("registries.block")?);
        }
        Ok(rules)
    }
}

impl Registry {
    fn rule(&self, path: &Path) -> Result<Rule> {
        let plain = |text: &Option<String>| text.as_ref().map(|text| text.trim_end_matches('/').to_owned());
        let location = plain(&self.location).filter(|location| !location.is_empty());
        if let Some(location) = &location {
            check_place(location)?;
        }
        let prefix = match plain(&self.prefix).filter(|prefix| !prefix.is_empty()) {
            Some(prefix) => prefix,
            None => location.clone().context("neither a prefix nor a location")?,
        };
        match prefix.strip_prefix("*.") {
            Some(domain) => check_host(domain).with_context(|| format!("prefix {prefix:?}"))?,
            None => check_place(&prefix)?,
        }
        let mut mirrors = Vec::new();
        for mirror in &self.mirror {
            let location = mirror.location.trim_end_matches('/').to_owned();
            check_place(&location).context("mirror")?;
            let (digests, tags) = match mirror.pull_from_mirror.as_deref() {
                None | Some("") => (true, !self.mirror_by_digest_only),
                Some(_) if self.mirror_by_digest_only => {
                    bail!("mirror {location}: pull-from-mirror, and mirror-by-digest-only says it already")
                }
                Some("all") => (true, true),
                Some("digest-only") => (true, false),
                Some("tag-only") => (false, true),
                Some(other) => bail!("pull-from-mirror: {other:?}: all, digest-only or tag-only is wanted"),
            };
            mirrors.push(Mirror { location, insecure: mirror.insecure, digests, tags });
        }
        let location = location.filter(|location| *location != prefix);
        Ok(Rule { prefix, location, insecure: self.insecure, blocked: self.blocked, mirrors, file: path.to_owned() })
    }
}

/// `HOST[:PORT][/PATH…]`, with or without a tag or a digest.
fn check_place(text: &str) -> Result<()> {
    let first = text.split('/').next().unwrap_or_default();
    ensure!(!text.contains("://"), "{text:?}: without https:// or the like");
    if first == text {
        // A colon is before a port, there is no tag yet.
        return check_host(text);
    }
    check_host(first)?;
    Reference::parse(text).map(drop)
}
