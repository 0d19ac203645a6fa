//! Where images are looked for, as the user and the host say (containers-registries.conf(5)): the list for short names,
//! aliases, and for parts of the name space other locations, mirrors, and what is insecure or blocked.
//!
//! Read, each over the ones before it:
//!
//! - `$CONTAINERS_REGISTRIES_CONF`, else `~/.config/containers/registries.conf`, else `/etc/containers/registries.conf`;
//! - `/etc/containers/registries.conf.d/*.conf`, `~/.config/containers/registries.conf.d/*.conf`, by name;
//! - the table `[registries]` of `/etc/rbox/config.toml` and `~/.config/rbox/config.toml`, with the same keys.
//!
//! What needs none of it, such as a container from an image that is here under its full name, reads none of it.

mod file;

use super::reference::{DOCKER_HUB, Name, Reference};
use crate::error::Advise;
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// podman's registry for images that were built or loaded here.
const LOCALHOST: &str = "localhost";

/// What all files say together.
#[derive(Debug, Clone, Default)]
pub struct Registries {
    search: Option<Vec<String>>,
    /// A short name is an error where more than one registry could be meant.
    enforcing: bool,
    /// Names without tags, with their registries, by short name.
    aliases: BTreeMap<String, Name>,
    rules: Vec<Rule>,
}

/// What holds for names that begin alike.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    /// `HOST[:PORT][/PATH…][:TAG|@DIGEST]` or `*.DOMAIN`.
    prefix: String,
    /// What stands there instead of it; as it is if there is none.
    location: Option<String>,
    insecure: bool,
    blocked: bool,
    mirrors: Vec<Mirror>,
    /// Who says so.
    file: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mirror {
    location: String,
    insecure: bool,
    /// Asked for images by digest.
    digests: bool,
    /// Asked for images by tag.
    tags: bool,
}

/// A place to get an image from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The registry and what the image is called there.
    pub reference: Reference,
    /// Plain HTTP and any certificate will do.
    pub insecure: bool,
    /// It stands in for the registry that was named.
    pub is_mirror: bool,
}

impl Registries {
    /// Reads all files.
    pub fn load() -> Result<Registries> {
        let mut all = Registries::default();
        for (path, is_ours) in file::paths()? {
            if let Some(file) = file::read(&path, is_ours)? {
                all.add(file, &path).with_context(|| path.display().to_string())?;
            }
        }
        Ok(all)
    }

    /// The registries that a short name may be from, in this order.
    pub fn search(&self) -> Vec<String> {
        self.search.clone().unwrap_or_else(|| vec![DOCKER_HUB.to_owned()])
    }

    /// The full names that a name may stand for, to be looked for in registries in this order.
    pub fn sources(&self, name: &Name) -> Result<Vec<Reference>> {
        if !name.is_short() {
            return Ok(vec![name.within(DOCKER_HUB)]);
        }
        if let Some(alias) = self.aliases.get(name.repository()) {
            return Ok(vec![name.of(alias)]);
        }
        let sources: Vec<Reference> = self.search().iter().map(|registry| name.within(registry)).collect();
        match sources.as_slice() {
            [] => Err(anyhow!("{}: a name without a registry, and no registries are searched", name.repository()))
                .hint(|| "name the registry, or set unqualified-search-registries in registries.conf".to_owned()),
            [_, _, ..] if self.enforcing => {
                let names: Vec<String> = sources.iter().map(Reference::to_string).collect();
                Err(anyhow!("{}: may be any of {}", name.repository(), names.join(", "))).hint(|| {
                    "name the registry, or make an alias: registries.conf says short-name-mode = \"enforcing\""
                        .to_owned()
                })
            }
            _ => Ok(sources),
        }
    }

    /// The full names that a name may have in the store, in the order in which they are looked for: docker's, those of
    /// the registries that are searched, podman's for what was made here.
    pub fn candidates(&self, name: &Name) -> Vec<Reference> {
        let mut found = vec![name.within(DOCKER_HUB)];
        if name.is_short() {
            found.extend(self.aliases.get(name.repository()).map(|alias| name.of(alias)));
            found.extend(self.search().iter().map(|registry| name.within(registry)));
            found.push(name.within(LOCALHOST));
        }
        let mut seen = Vec::new();
        found.retain(|reference| {
            let is_new = !seen.contains(reference);
            seen.push(reference.clone());
            is_new
        });
        found
    }

    /// The places to get an image from: mirrors first.
    pub fn places(&self, image: &Reference) -> Result<Vec<Place>> {
        let Some(rule) = self.rule(image)? else { return Ok(vec![Place::plain(image)]) };
        let mut places = Vec::new();
        let by_digest = image.digest.is_some();
        for mirror in &rule.mirrors {
            if if by_digest { mirror.digests } else { mirror.tags } {
                let reference = rule.moved(image, &mirror.location)?;
                places.push(Place { reference, insecure: mirror.insecure, is_mirror: true });
            }
        }
        let reference = match &rule.location {
            Some(location) => rule.moved(image, location)?,
            None => image.clone(),
        };
        places.push(Place { reference, insecure: rule.insecure, is_mirror: false });
        Ok(places)
    }

    /// The place that a name is pushed to: mirrors and other locations are for reading only.
    pub fn own_place(&self, image: &Reference) -> Result<Place> {
        let insecure = self.rule(image)?.is_some_and(|rule| rule.insecure);
        Ok(Place { insecure, ..Place::plain(image) })
    }

    /// The rule with the longest prefix.
    fn rule(&self, image: &Reference) -> Result<Option<&Rule>> {
        let name = image.to_string();
        let rules = self.rules.iter().filter(|rule| rule.matched(&name).is_some());
        let Some(rule) = rules.max_by_key(|rule| rule.prefix.trim_start_matches('*').len()) else { return Ok(None) };
        if rule.blocked {
            return Err(anyhow!("{image}: {} is blocked by {}", rule.prefix, rule.file.display()))
                .hint(|| "`blocked = true` there forbids it".to_owned());
        }
        Ok(Some(rule))
    }
}

impl Rule {
    /// How much of a name the prefix stands for, in bytes.
    fn matched(&self, name: &str) -> Option<usize> {
        let length = match self.prefix.strip_prefix('*') {
            Some(domain) => {
                let authority = name.find('/')?;
                let host = name[..authority].find(':').unwrap_or(authority);
                name[..host].ends_with(domain).then_some(host)?
            }
            None => name.starts_with(self.prefix.as_str()).then_some(self.prefix.len())?,
        };
        (name.len() == length || name[length..].starts_with(['/', ':', '@'])).then_some(length)
    }

    /// The image below another location.
    fn moved(&self, image: &Reference, location: &str) -> Result<Reference> {
        let name = image.to_string();
        let rest = &name[self.matched(&name).unwrap_or_default()..];
        Reference::parse(&format!("{location}{rest}"))
            .with_context(|| format!("{}: location {location:?} for {image}", self.file.display()))
    }
}

impl Place {
    fn plain(image: &Reference) -> Place {
        Place { reference: image.clone(), insecure: false, is_mirror: false }
    }
}

impl Registries {
    /// Takes what one more file says; it wins.
    fn add(&mut self, file: file::File, path: &std::path::Path) -> Result<()> {
        if let Some(search) = file.search() {
            search.iter().try_for_each(|registry| check_host(registry))?;
            self.search = Some(search);
        }
        match file.short_name_mode.as_deref() {
            None | Some("") => {}
            Some("enforcing") => self.enforcing = true,
            Some("permissive" | "disabled") => self.enforcing = false,
            Some(other) => bail!("short-name-mode: {other:?}: enforcing, permissive or disabled is wanted"),
        }
        for (short, full) in &file.aliases {
            let alias = || -> Result<Option<Name>> {
                let name = Name::parse(short)?;
                ensure!(name.is_short() && name.is_bare(), "{short:?}: a name without registry and tag is wanted");
                if full.is_empty() {
                    return Ok(None);
                }
                let full_name = Name::parse(full)?;
                ensure!(
                    !full_name.is_short() && full_name.is_bare(),
                    "{full:?}: a name with a registry and without a tag is wanted"
                );
                Ok(Some(full_name))
            };
            match alias().context("aliases")? {
                Some(full) => self.aliases.insert(short.clone(), full),
                None => self.aliases.remove(short),
            };
        }
        for rule in file.rules(path)? {
            self.rules.retain(|old| old.prefix != rule.prefix);
            self.rules.push(rule);
        }
        Ok(())
    }
}

/// `HOST[:PORT]`, as it would be before the first slash of a name.
fn check_host(registry: &str) -> Result<()> {
    let is_host = Name::parse(&format!("{registry}/x")).is_ok_and(|name| !name.is_short() && !registry.contains('/'));
    ensure!(is_host, "{registry:?}: HOST[:PORT] of a registry is wanted");
    Ok(())
}

#[cfg(test)]
mod tests;
