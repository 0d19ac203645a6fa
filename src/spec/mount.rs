//! `--mount type=…,src=…,dst=…`, comma-separated values in docker's and podman's words, and the short form
//! `HOST:CONTAINER[:WORDS]`, which is that of `-v`.

use super::bind::Words;
use super::options::{Mount, Volume};
use super::{csv, path, size, tmpfs, volume};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::path::Path;

/// Reads one `--mount`. A relative source is one of `cwd`. `selinux`: whether this host enforces labels.
pub fn parse(text: &str, cwd: &Path, selinux: bool) -> Result<Mount> {
    if path::is_path(text) {
        return volume::parse(text, cwd, selinux);
    }
    let fields = csv::split(text)?;
    let pairs: Vec<(&str, Option<&str>)> = fields
        .iter()
        .map(|field| match field.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (field.as_str(), None),
        })
        .collect();
    let kind = pairs.iter().rev().find(|(key, _)| *key == "type").map(|(_, value)| value.unwrap_or_default());
    let rest = pairs.iter().copied().filter(|(key, _)| *key != "type");
    match kind.map(str::to_ascii_lowercase).as_deref() {
        Some("bind") => bind(rest, cwd, selinux),
        Some("tmpfs") => tmpfs_mount(rest),
        Some("volume") | None => volume_mount(rest, selinux),
        Some(other @ ("image" | "cluster" | "npipe" | "devpts" | "ramfs" | "glob" | "artifact")) => {
            bail!("type={other}: not there yet: use bind, tmpfs or volume")
        }
        Some(other) => bail!("type={other}: not a mount type: use bind, tmpfs or volume"),
    }
}

fn bind<'a>(pairs: impl Iterator<Item = (&'a str, Option<&'a str>)>, cwd: &Path, selinux: bool) -> Result<Mount> {
    let (mut source, mut target, mut words) = (None, None, Words::default());
    for (key, value) in pairs {
        match (key, value) {
            ("source" | "src", Some(value)) => source = Some(value),
            ("target" | "dst" | "destination", Some(value)) => target = Some(value),
            ("readonly" | "ro", _) => words.readonly(flag(key, value)?)?,
            ("readwrite" | "rw", _) => words.readonly(!flag(key, value)?)?,
            ("bind-propagation", Some(value)) => words.propagation(&value.to_ascii_lowercase())?,
            ("bind-nonrecursive", _) => words.recursive(!flag(key, value)?)?,
            ("bind-recursive", Some(value)) => match value.to_ascii_lowercase().as_str() {
                "enabled" | "readonly" => words.recursive(true)?,
                "disabled" => words.recursive(false)?,
                "writable" => bail!("bind-recursive=writable: what is mounted below a read-only bind is read-only too"),
                _ => bail!("invalid value for {key}: {value}"),
            },
            ("consistency", Some("default" | "consistent" | "cached" | "delegated")) => {}
            ("relabel", Some("shared")) => words.relabel(false, selinux)?,
            ("relabel", Some("private")) => words.relabel(true, selinux)?,
            ("U" | "chown", _) => {
                if flag(key, value)? {
                    words.read("U", selinux)?;
                }
            }
            (word, None) if words.read(word, selinux)? => {}
            _ => return unknown(key, value, "bind"),
        }
    }
    let source = source.filter(|source| !source.is_empty()).context("source is required")?;
    let target = path::target(target.context("target is required")?)?;
    words.mount(path::source(source, cwd), target)
}

fn tmpfs_mount<'a>(pairs: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> Result<Mount> {
    let (mut target, mut options) = (None, Vec::new());
    for (key, value) in pairs {
        match (key, value) {
            ("target" | "dst" | "destination", Some(value)) => target = Some(value),
            ("readonly" | "ro", _) => {
                if flag(key, value)? {
                    options.push("ro".to_owned());
                }
            }
            ("readwrite" | "rw", _) => {
                if !flag(key, value)? {
                    options.push("ro".to_owned());
                }
            }
            ("tmpfs-size", Some(value)) => {
                let size = size::parse(value).with_context(|| format!("invalid value for {key}: {value}"))?;
                options.push(format!("size={size}"));
            }
            ("tmpfs-mode", Some(value)) => options.push(
                tmpfs::option(&format!("mode={value}")).with_context(|| format!("invalid value for {key}: {value}"))?,
            ),
            ("size" | "mode" | "uid" | "gid" | "nr_inodes", Some(value)) => {
                options.push(tmpfs::option(&format!("{key}={value}"))?);
            }
            ("consistency", Some("default" | "consistent" | "cached" | "delegated")) => {}
            ("source" | "src", Some(_)) => bail!("a tmpfs has no source"),
            (word, None) if word.starts_with("no") || matches!(word, "exec" | "dev" | "suid" | "tmpcopyup") => {
                options.push(tmpfs::option(word)?);
            }
            _ => return unknown(key, value, "tmpfs"),
        }
    }
    Ok(Mount::Tmpfs { target: path::target(target.context("target is required")?)?, options })
}

fn volume_mount<'a>(pairs: impl Iterator<Item = (&'a str, Option<&'a str>)>, selinux: bool) -> Result<Mount> {
    let (mut source, mut target, mut words) = (None, None, Words::default());
    let (mut options, mut labels) = (BTreeMap::new(), BTreeMap::new());
    for (key, value) in pairs {
        match (key, value) {
            ("source" | "src", Some(value)) => source = Some(value).filter(|value| !value.is_empty()),
            ("target" | "dst" | "destination", Some(value)) => target = Some(value),
            ("readonly" | "ro", _) => words.readonly(flag(key, value)?)?,
            ("readwrite" | "rw", _) => words.readonly(!flag(key, value)?)?,
            ("volume-nocopy", _) => words.copy(!flag(key, value)?)?,
            ("volume-driver", Some(value)) => volume::driver(value)?,
            ("volume-opt", Some(value)) => drop(volume::pair(value).map(|(key, value)| options.insert(key, value))?),
            ("volume-label", Some(value)) => drop(volume::pair(value).map(|(key, value)| labels.insert(key, value))?),
            ("volume-subpath", Some(_)) => bail!("volume-subpath: not there yet"),
            ("consistency", Some("default" | "consistent" | "cached" | "delegated")) => {}
            ("relabel", Some("shared")) => words.relabel(false, selinux)?,
            ("relabel", Some("private")) => words.relabel(true, selinux)?,
            (word, None) if words.read(word, selinux)? => {}
            _ => return unknown(key, value, "volume"),
        }
    }
    source.map(volume::name).transpose()?;
    volume::Kind::of(&options)?;
    let target = path::target(target.context("target is required")?)?;
    let volume = words.volume(source.map(str::to_owned), target)?;
    Ok(Mount::Volume(Volume { options, labels, ..volume }))
}

/// `key`, `key=true` or `key=0`: what Go's ParseBool takes.
fn flag(key: &str, value: Option<&str>) -> Result<bool> {
    match value {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(value) => bail!("invalid value for {key}: {value}"),
    }
}

fn unknown<T>(key: &str, value: Option<&str>, kind: &str) -> Result<T> {
    for (prefix, owner) in [("volume-", "volume"), ("bind-", "bind"), ("tmpfs-", "tmpfs"), ("image-", "image")] {
        if key.starts_with(prefix) && owner != kind {
            bail!("cannot mix '{prefix}*' options with mount type '{kind}'");
        }
    }
    match value {
        Some(value) => bail!("unexpected key '{key}' in '{key}={value}'"),
        None => bail!("invalid field '{key}' must be a key=value pair"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::options::Propagation;

    fn read(text: &str) -> Result<Mount> {
        parse(text, Path::new("/home/ada"), false)
    }

    fn bind(source: &str, readonly: bool, recursive: bool, propagation: Propagation) -> Mount {
        Mount::Bind { source: source.into(), target: "/b".into(), readonly, recursive, propagation, flags: Vec::new() }
    }

    #[test]
    fn binds() {
        use Propagation::{RPrivate, RSlave, Slave};
        for (text, mount) in [
            ("type=bind,src=/a,dst=/b", bind("/a", false, true, RPrivate)),
            ("type=bind,source=./a,target=/b,readonly", bind("/home/ada/a", true, true, RPrivate)),
            ("destination=/b,type=BIND,src=/a,ro=true", bind("/a", true, true, RPrivate)),
            ("type=bind,src=/a,dst=/b,ro=false", bind("/a", false, true, RPrivate)),
            ("type=bind,src=/a,dst=/b,rw=false", bind("/a", true, true, RPrivate)),
            ("type=bind,src=/a,dst=/b,bind-propagation=rslave", bind("/a", false, true, RSlave)),
            ("type=bind,src=/a,dst=/b,slave", bind("/a", false, true, Slave)),
            ("type=bind,src=/a,dst=/b,bind-nonrecursive", bind("/a", false, false, RPrivate)),
            ("type=bind,src=/a,dst=/b,bind-recursive=disabled", bind("/a", false, false, RPrivate)),
            ("type=bind,src=/a,dst=/b,relabel=shared,U=false", bind("/a", false, true, RPrivate)),
            (r#"type=bind,"src=/a,b:c",dst=/b"#, bind("/a,b:c", false, true, RPrivate)),
            ("/a:/b:ro", bind("/a", true, true, RPrivate)),
            ("./a=1:/b", bind("/home/ada/a=1", false, true, RPrivate)),
        ] {
            assert_eq!(read(text).expect(text), mount, "{text}");
        }
    }

    #[test]
    fn tmpfs() {
        let mount = |options: &[&str]| Mount::Tmpfs {
            target: "/t".into(),
            options: options.iter().map(|word| (*word).to_owned()).collect(),
        };
        for (text, options) in [
            ("type=tmpfs,dst=/t", mount(&[])),
            ("type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770", mount(&["size=1048576", "mode=1770"])),
            ("type=tmpfs,dst=/t,ro,noexec", mount(&["ro", "noexec"])),
        ] {
            assert_eq!(read(text).expect(text), options, "{text}");
        }
    }

    #[test]
    fn volumes() {
        let volume =
            |name: Option<&str>| Volume { name: name.map(str::to_owned), target: "/b".to_owned(), ..Volume::default() };
        let pairs =
            |all: &[(&str, &str)]| all.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        for (text, mount) in [
            ("dst=/b", volume(None)),
            ("type=volume,src=,dst=/b", volume(None)),
            ("src=v,dst=/b", volume(Some("v"))),
            (
                "type=volume,source=v,target=/b,ro,volume-nocopy",
                Volume { readonly: true, nocopy: true, ..volume(Some("v")) },
            ),
            ("type=volume,dst=/b,volume-nocopy=false,volume-driver=local", volume(None)),
            (
                "type=volume,src=v,dst=/b,volume-opt=type=tmpfs,volume-opt=o=size=1m,volume-label=a,volume-label=b=c",
                Volume {
                    options: pairs(&[("type", "tmpfs"), ("o", "size=1m")]),
                    labels: pairs(&[("a", ""), ("b", "c")]),
                    ..volume(Some("v"))
                },
            ),
        ] {
            assert_eq!(read(text).expect(text), Mount::Volume(mount), "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        for (text, message) in [
            ("type=volume", "target is required"),
            ("type=volume,src=/v,dst=/b,volume-nocopy=maybe", "invalid value for volume-nocopy: maybe"),
            ("type=volume,src=v,dst=/b,volume-driver=nfs", "nfs: no such volume driver: local is the only one"),
            ("type=volume,dst=/b,volume-opt=type=ext4", "type=ext4: mounting it needs root"),
            ("type=volume,dst=/b,volume-subpath=x", "volume-subpath: not there yet"),
            ("type=volume,dst=/b,bind-propagation=x", "cannot mix 'bind-*' options with mount type 'volume'"),
            ("type=image,src=v,dst=/b", "type=image: not there yet: use bind, tmpfs or volume"),
            ("type=x,src=v,dst=/b", "type=x: not a mount type: use bind, tmpfs or volume"),
            ("type=bind,dst=/b", "source is required"),
            ("type=bind,src=/a", "target is required"),
            ("type=bind,src=/a,dst=b", "b: a path in the container must be absolute"),
            ("type=bind,src=/a,dst=/b,foo", "invalid field 'foo' must be a key=value pair"),
            ("type=bind,src=/a,dst=/b,foo=1", "unexpected key 'foo' in 'foo=1'"),
            ("type=bind,src=/a,dst=/b,ro=maybe", "invalid value for ro: maybe"),
            ("type=bind,src=/a,dst=/b,tmpfs-size=1m", "cannot mix 'tmpfs-*' options with mount type 'bind'"),
            ("type=bind,src=/a,dst=/b,bind-propagation=x", "x: not a propagation"),
            ("type=tmpfs,dst=/t,src=/a", "a tmpfs has no source"),
            ("type=tmpfs,dst=/t,bind-nonrecursive", "cannot mix 'bind-*' options with mount type 'tmpfs'"),
            ("type=tmpfs,dst=/t,tmpfs-size=x", "invalid value for tmpfs-size: x: not a size such as 512k, 64m or 2g"),
            (r#"type=bind,src="/a",dst=/b"#, "a quote in the middle of a field: the whole field must be quoted"),
        ] {
            let error = read(text).expect_err(text);
            assert_eq!(crate::error::Failure::from(&error).message, message, "{text}");
        }
    }
}
