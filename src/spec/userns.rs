//! `--userns` in podman's words (podman-run(1)).

use super::options::Userns;
use anyhow::{Result, bail};

/// Reads one `--userns`. `host` gives the same as the default, as in podman: without root the caller is root inside.
pub fn parse(text: &str) -> Result<Userns> {
    let (mode, rest) = match text.split_once(':') {
        Some((mode, rest)) => (mode, Some(rest)),
        None => (text, None),
    };
    match (mode, rest) {
        ("" | "private" | "host", None) => Ok(Userns::Private),
        ("nomap", None) => Ok(Userns::NoMap),
        ("keep-id", rest) => keep_id(rest.unwrap_or_default()),
        ("auto", rest) => auto(rest.unwrap_or_default()),
        ("container", Some(name)) if !name.is_empty() => Ok(Userns::Container(name.to_owned())),
        ("ns", Some(path)) if path.starts_with('/') => Ok(Userns::Path(path.into())),
        ("ns", Some(path)) => bail!("{path}: the path of a namespace must be absolute"),
        _ => bail!("not one of private, host, keep-id, nomap, auto, container:NAME, ns:PATH"),
    }
}

fn keep_id(text: &str) -> Result<Userns> {
    let (mut uid, mut gid, mut size) = (None, None, None);
    for (key, value) in pairs(text) {
        match key {
            "uid" => uid = Some(number(key, value)?),
            "gid" => gid = Some(number(key, value)?),
            "size" => size = Some(count(value)?),
            _ => bail!("keep-id takes uid=, gid= and size=, not {key}"),
        }
    }
    Ok(Userns::KeepId { uid, gid, size })
}

fn auto(text: &str) -> Result<Userns> {
    let mut size = None;
    for (key, value) in pairs(text) {
        match key {
            "size" => size = Some(count(value)?),
            "uidmapping" | "gidmapping" => bail!("auto:{key}= is not there yet: use --uidmap and --gidmap"),
            _ => bail!("auto takes size=, not {key}"),
        }
    }
    Ok(Userns::Auto { size })
}

fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(',').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn count(value: &str) -> Result<u32> {
    match number("size", value)? {
        0 => bail!("size=0: at least one id is needed"),
        count => Ok(count),
    }
}

fn number(key: &str, value: &str) -> Result<u32> {
    match value.parse() {
        Ok(id) if id <= super::user::MAX_ID && !value.starts_with('+') => Ok(id),
        _ => bail!("{key}={value}: not a number from 0 to {}", super::user::MAX_ID),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let keep = |uid, gid, size| Userns::KeepId { uid, gid, size };
        for (text, userns) in [
            ("", Userns::Private),
            ("host", Userns::Private),
            ("private", Userns::Private),
            ("nomap", Userns::NoMap),
            ("keep-id", keep(None, None, None)),
            ("keep-id:uid=1000,gid=0", keep(Some(1000), Some(0), None)),
            ("keep-id:size=2", keep(None, None, Some(2))),
            ("auto", Userns::Auto { size: None }),
            ("auto:size=4096", Userns::Auto { size: Some(4096) }),
            ("container:ada", Userns::Container("ada".into())),
            ("ns:/proc/1/ns/user", Userns::Path("/proc/1/ns/user".into())),
        ] {
            assert_eq!(parse(text).expect(text), userns);
        }
        for text in [
            "keep",
            "host:1",
            "nomap:x",
            "container:",
            "container",
            "ns:x",
            "keep-id:uid=-1",
            "keep-id:uid=4294967295",
            "keep-id:ada=1",
            "keep-id:size=0",
            "auto:uidmapping=0:1:2",
            "auto:x",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
