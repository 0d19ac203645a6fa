//! Names of images, as docker reads them (distribution/reference, reference.go and normalize.go).
//!
//! ```text
//! reference   [registry/]repository[:tag][@digest]
//! registry    host[:port]; host: a DNS name, an IPv4 address, or an IPv6 address in brackets
//! repository  components of a-z 0-9, with . _ __ - between, joined by /
//! tag         a letter, digit or _, then up to 127 letters, digits, _ . -
//! ```

use crate::storage::digest::Digest;
use anyhow::{Context, Result, bail, ensure};
use std::fmt;

/// The registry that a name without one is from.
pub const DOCKER_HUB: &str = "docker.io";
/// The tag that a name without tag and digest has.
pub const LATEST: &str = "latest";
/// A repository is not longer, with what docker's official ones begin with (distribution/reference,
/// RepositoryNameTotalLengthMax); nor is a registry, whose name in the DNS ends before.
const MAX_NAME: usize = 255;
/// The first part of the repositories of docker's official images, which nobody types.
const OFFICIAL: &str = "library/";

/// The full name of an image: registry, repository, and a tag or a digest or both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Host and port.
    pub registry: String,
    /// The path of the repository there.
    pub repository: String,
    /// The tag, if one was given or stands for none.
    pub tag: Option<String>,
    /// The digest of the manifest, which wins over the tag.
    pub digest: Option<Digest>,
}

/// A name as it was typed: the registry may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    registry: Option<String>,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Name {
    /// Reads a name.
    pub fn parse(text: &str) -> Result<Name> {
        read(text).with_context(|| format!("{text:?}: not a name of an image"))
    }

    /// True if no registry was typed, so that several may be asked.
    pub fn is_short(&self) -> bool {
        self.registry.is_none()
    }

    /// What was typed between the registry and the tag.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// True if neither a tag nor a digest was typed.
    pub fn is_bare(&self) -> bool {
        self.tag.is_none() && self.digest.is_none()
    }

    /// The full name of another repository, with this one's tag and digest.
    pub fn of(&self, other: &Name) -> Reference {
        let (tag, digest) = (self.tag.clone(), self.digest.clone());
        Name { tag, digest, ..other.clone() }.within(DOCKER_HUB)
    }

    /// The full name in the registry that was typed, or else in this one.
    pub fn within(&self, registry: &str) -> Reference {
        let registry = self.registry.clone().unwrap_or_else(|| registry.to_owned());
        // docker's official images are typed without the repository's first part.
        let repository = if registry == DOCKER_HUB && !self.repository.contains('/') {
            format!("{OFFICIAL}{}", self.repository)
        } else {
            self.repository.clone()
        };
        let tag = match (&self.tag, &self.digest) {
            (None, None) => Some(LATEST.to_owned()),
            (tag, _) => tag.clone(),
        };
        Reference { registry, repository, tag, digest: self.digest.clone() }
    }
}

/// What is before the first slash if that is a registry, and the rest.
pub fn split_registry(text: &str) -> (Option<&str>, &str) {
    match text.split_once('/') {
        Some((first, rest)) if is_registry(first) => (Some(first), rest),
        _ => (None, text),
    }
}

fn read(text: &str) -> Result<Name> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest.parse()?)),
        None => (text, None),
    };
    // A colon before the last slash belongs to a port.
    let name_from = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (path, tag) = match rest[name_from..].find(':') {
        Some(colon) => (&rest[..name_from + colon], Some(&rest[name_from + colon + 1..])),
        None => (rest, None),
    };
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    let (registry, repository) = split_registry(path);
    if let Some(registry) = registry {
        check_registry(registry)?;
    }
    check_repository(repository)?;
    let unsaid = if repository.contains('/') { 0 } else { OFFICIAL.len() };
    ensure!(unsaid + repository.len() <= MAX_NAME, "a repository longer than {} bytes", MAX_NAME - unsaid);
    ensure!(registry.is_some() || !is_id(repository), "64 hexadecimal digits are an id");
    let registry = match registry {
        Some("index.docker.io" | "registry-1.docker.io") => Some(DOCKER_HUB.to_owned()),
        registry => registry.map(str::to_owned),
    };
    Ok(Name { registry, repository: repository.to_owned(), tag: tag.map(str::to_owned), digest })
}

/// What cannot be the name of an image without more.
fn is_id(repository: &str) -> bool {
    repository.len() == 64 && repository.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// docker's rule: a first component is a host if it cannot be a repository's, or is "localhost".
fn is_registry(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':', '[']) || first.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn check_registry(registry: &str) -> Result<()> {
    ensure!(registry.len() <= MAX_NAME, "a registry longer than {MAX_NAME} bytes");
    let (host, port) = match registry.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').context("registry: no ] after the address")?;
            ensure!(host.parse::<std::net::Ipv6Addr>().is_ok(), "registry: [{host}] is no IPv6 address");
            (None, after.strip_prefix(':').or(after.is_empty().then_some("")).context("registry: text after ]")?)
        }
        None => {
            let (host, port) = registry.split_once(':').unwrap_or((registry, ""));
            ensure!(!registry.ends_with(':'), "registry: a colon without a port");
            (Some(host), port)
        }
    };
    // Digits only: numbers may have a sign.
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    ensure!(port.is_empty() || is_port, "registry: {port}: not a port");
    let part_is_well = |part: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !part.is_empty() && part.bytes().all(inner) && !part.starts_with('-') && !part.ends_with('-')
    };
    if let Some(host) = host {
        ensure!(host.split('.').all(part_is_well), "registry: {host}: not a host name");
    }
    Ok(())
}

fn check_repository(repository: &str) -> Result<()> {
    ensure!(!repository.is_empty(), "no repository");
    for part in repository.split('/') {
        ensure!(!part.is_empty(), "an empty part between slashes");
        if part.bytes().any(|byte| byte.is_ascii_uppercase()) {
            bail!("repository: {part}: must be lower case");
        }
        ensure!(is_component(part), "repository: {part}: letters and digits, with one of . _ __ - between them");
    }
    Ok(())
}

/// Runs of a-z and 0-9 with a separator between two: one dot, one or two underscores, or any number of dashes.
fn is_component(part: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !part.starts_with(plain) || !part.ends_with(plain) {
        return false;
    }
    part.split(plain)
        .filter(|separator| !separator.is_empty())
        .all(|separator| matches!(separator, "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-'))
}

/// Checks a tag.
pub fn check_tag(tag: &str) -> Result<()> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let first = tag.bytes().next().context("a colon without a tag")?;
    let well = word(first) && tag.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-');
    ensure!(well && tag.len() <= 128, "tag: {tag}: up to 128 letters, digits, _ . -, and the first none of . -");
    Ok(())
}

impl Reference {
    /// Reads a full name, such as one that rbox has written.
    pub fn parse(text: &str) -> Result<Reference> {
        Ok(Name::parse(text)?.within(DOCKER_HUB))
    }

    /// Registry and repository.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// As docker shows it: without what it would add by itself. Other than docker's it always reads as the same name: a
    /// part that looks like a registry, or like an id, keeps what is before it.
    pub fn familiar_name(&self) -> String {
        if self.registry != DOCKER_HUB {
            return self.name();
        }
        let short = self.repository.strip_prefix(OFFICIAL).filter(|rest| !rest.contains('/'));
        let short = short.unwrap_or(&self.repository);
        match split_registry(short) {
            (None, short) if !is_id(short) => short.to_owned(),
            _ => format!("{DOCKER_HUB}/{short}"),
        }
    }

    /// The whole of it, as docker shows it.
    pub fn familiar(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = self.digest.as_ref().map(|digest| format!("@{digest}")).unwrap_or_default();
        format!("{}{tag}{digest}", self.familiar_name())
    }

    /// What a registry is asked for: the digest if there is one, else the tag.
    pub fn version(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => LATEST.to_owned(),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_are_completed_as_docker_does() {
        let with_digest = format!("alpine@{DIGEST}");
        let (id, long) = ("a".repeat(64), "a".repeat(247));
        for (typed, full, familiar) in [
            ("alpine", "docker.io/library/alpine:latest", "alpine"),
            ("alpine:3.20", "docker.io/library/alpine:3.20", "alpine"),
            ("user/app", "docker.io/user/app:latest", "user/app"),
            ("docker.io/alpine", "docker.io/library/alpine:latest", "alpine"),
            ("index.docker.io/library/alpine", "docker.io/library/alpine:latest", "alpine"),
            ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b"),
            ("localhost/app", "localhost/app:latest", "localhost/app"),
            ("localhost:5000/app:v1", "localhost:5000/app:v1", "localhost:5000/app"),
            ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b:latest", "127.0.0.1:5000/a/b"),
            ("[::1]:5000/app", "[::1]:5000/app:latest", "[::1]:5000/app"),
            ("[fe80::1]/app:x", "[fe80::1]/app:x", "[fe80::1]/app"),
            ("Host/app", "Host/app:latest", "Host/app"),
            ("docker.io/localhost/app", "docker.io/localhost/app:latest", "docker.io/localhost/app"),
            ("docker.io/quay.io/app", "docker.io/quay.io/app:latest", "docker.io/quay.io/app"),
            (&format!("docker.io/{id}"), &format!("docker.io/library/{id}:latest"), &format!("docker.io/{id}")),
            (&long, &format!("docker.io/library/{long}:latest"), &long),
            ("quay.io/a/b-c__d.e:T_1.-", "quay.io/a/b-c__d.e:T_1.-", "quay.io/a/b-c__d.e"),
            (&with_digest, &format!("docker.io/library/alpine@{DIGEST}"), "alpine"),
        ] {
            let reference = Reference::parse(typed).expect(typed);
            assert_eq!((reference.to_string(), reference.familiar_name()), (full.to_owned(), familiar.to_owned()));
            for text in [full, &reference.familiar()] {
                assert_eq!(Reference::parse(text).expect(text), reference, "{text} reads as itself");
            }
        }
    }

    #[test]
    fn a_digest_wins_over_a_tag() {
        let both = Reference::parse(&format!("quay.io/a/b:v1@{DIGEST}")).expect("valid");
        assert_eq!((both.version().as_str(), both.tag.as_deref()), (DIGEST, Some("v1")));
        assert_eq!(Reference::parse("a:v1").expect("valid").version(), "v1");
    }

    #[test]
    fn short_names_go_to_any_registry() {
        let short = Name::parse("alpine").expect("valid");
        assert!(short.is_short());
        assert_eq!(short.within("quay.io").to_string(), "quay.io/alpine:latest");
        assert!(!Name::parse("quay.io/alpine").expect("valid").is_short());
    }

    #[test]
    fn what_is_no_name() {
        let id = "a".repeat(64);
        let (long, long_host) = ("a".repeat(248), format!("{}/a", "a.".repeat(127) + "io"));
        let long_tag = format!("a:{}", "t".repeat(129));
        for text in [
            "",
            ":tag",
            "a:",
            "a:.x",
            "a:-x",
            "a:b:c",
            "a@",
            "a@sha256:00",
            "Alpine",
            "a//b",
            "/a",
            "a/",
            "a..b",
            "a___b",
            "a._b",
            "-a",
            "a-",
            "_a",
            "a_",
            "a b",
            "a\n",
            "ä",
            "quay.io/",
            "quay.io:/a",
            "quay.io:0/a",
            "quay.io:99999/a",
            "quay.io:+80/a",
            "[::1]:+80/a",
            "quay..io/a",
            "-quay.io/a",
            "[::1/a",
            "[::1]x/a",
            "[zz::1]/a",
            "..",
            "../a",
            "a/../b",
            "quay.io/A",
            "a:b/c:",
            &id,
            &long,
            &long_host,
            &long_tag,
        ] {
            assert!(Name::parse(text).is_err(), "{text:?} was read as {:?}", Name::parse(text));
        }
    }
}
