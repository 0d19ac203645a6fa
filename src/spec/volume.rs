//! `-v [SRC:]DST[:WORDS]` (docker-run(1), podman-run(1)), and what else there is to say of volumes.

use super::bind::Words;
use super::options::{Mount, Volume, VolumesFrom};
use super::{path, tmpfs};
use crate::error::Advise;
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Reads one `-v`. A relative source is one of `cwd`. `selinux`: whether this host enforces labels.
pub fn parse(text: &str, cwd: &Path, selinux: bool) -> Result<Mount> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, words) = match parts[..] {
        [source, target, words] => (Some(source), target, words),
        // The second part is a path or, after a path alone, the words.
        [source, target] if target.starts_with('/') || !source.starts_with('/') => (Some(source), target, ""),
        [target, words] => (None, target, words),
        [target] => (None, target, ""),
        _ => bail!("not of the form [SRC:]DST[:WORDS]; --mount takes paths with colons"),
    };
    if source == Some("") {
        bail!("no source");
    }
    let target = path::target(target)?;
    let mut read = Words::default();
    for word in words.split(',').filter(|word| !word.is_empty()) {
        if !read.read(word, selinux)? {
            bail!("invalid mode: {word}");
        }
    }
    match source {
        Some(source) if path::is_path(source) => read.mount(path::source(source, cwd), target),
        source => {
            source.map(name).transpose()?;
            Ok(Mount::Volume(read.volume(source.map(str::to_owned), target)?))
        }
    }
}

/// Checks the name of a volume (docker: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`).
pub fn name(text: &str) -> Result<()> {
    let rest = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) || !text.chars().all(rest) {
        return Err(anyhow!(
            "{text} includes invalid characters for a local volume name: only [a-zA-Z0-9][a-zA-Z0-9_.-]* is allowed"
        ))
        .hint(|| "a directory of the host is an absolute path or begins with ./".to_owned());
    }
    // The kernel's limit for one name (NAME_MAX).
    if text.len() > 255 {
        bail!("the name of a volume is at most 255 bytes long");
    }
    Ok(())
}

/// Reads `KEY=VALUE`, or `KEY` alone, of a label or an option of the driver.
pub fn pair(text: &str) -> Result<(String, String)> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() {
        bail!("no key");
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// Checks the name of a driver: there is one.
pub fn driver(text: &str) -> Result<()> {
    match text {
        "local" | "" => Ok(()),
        _ => bail!("{text}: no such volume driver: local is the only one"),
    }
}

/// Reads `--volumes-from CONTAINER[:ro|rw|z]`.
pub fn from_container(text: &str, selinux: bool) -> Result<VolumesFrom> {
    let (container, words) = text.split_once(':').unwrap_or((text, ""));
    if container.is_empty() {
        bail!("no container");
    }
    let mut readonly = false;
    for word in words.split(',').filter(|word| !word.is_empty()) {
        match word {
            "ro" => readonly = true,
            "rw" => {}
            "z" | "Z" => Words::default().relabel(word == "Z", selinux)?,
            _ => bail!("invalid mode: {word}"),
        }
    }
    Ok(VolumesFrom { container: container.to_owned(), readonly })
}

/// What the options of docker's local driver make of a volume (mount(8)'s words: `type`, `o`, `device`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory of its own.
    Directory,
    /// A directory of the host (`type=none,o=bind,device=PATH`).
    Bind {
        /// Absolute path.
        path: PathBuf,
        /// `o=ro`.
        readonly: bool,
    },
    /// A tmpfs, one for each container (`type=tmpfs`), with these options.
    Tmpfs(Vec<String>),
}

impl Kind {
    /// Reads the options. What needs root on the host is refused.
    pub fn of(options: &BTreeMap<String, String>) -> Result<Kind> {
        if let Some(key) = options.keys().find(|key| !matches!(key.as_str(), "type" | "o" | "device")) {
            return match key.as_str() {
                "size" => Err(anyhow!("option size: a quota needs root"))
                    .hint(|| "type=tmpfs with o=size=100m has a size".to_owned()),
                _ => bail!("invalid option: \"{key}\""),
            };
        }
        let get = |key: &str| options.get(key).map(String::as_str).unwrap_or_default();
        let (kind, device) = (get("type"), get("device"));
        let words = || get("o").split(',').filter(|word| !word.is_empty());
        let binds = words().any(|word| matches!(word, "bind" | "rbind"));
        match kind {
            "" if options.is_empty() => Ok(Kind::Directory),
            "none" | "" | "bind" if binds || kind == "bind" => {
                if !device.starts_with('/') {
                    bail!("device={device}: an absolute path is wanted");
                }
                let mut readonly = false;
                for word in words() {
                    match word {
                        "ro" => readonly = true,
                        "bind" | "rbind" | "rw" | "defaults" => {}
                        _ => bail!("o={word}: not there for a bind"),
                    }
                }
                Ok(Kind::Bind { path: device.into(), readonly })
            }
            "tmpfs" => Ok(Kind::Tmpfs(words().map(tmpfs::option).collect::<Result<_>>().context("o")?)),
            "" | "none" => bail!("type=none: only with o=bind and device=PATH"),
            other => Err(anyhow!("type={other}: mounting it needs root"))
                .hint(|| "type=none,o=bind,device=PATH takes a directory of the host, type=tmpfs memory".to_owned()),
        }
    }
}

/// More are in no image that means well; each is a directory and a mount.
const MAX_OF_IMAGE: usize = 1000;

/// The volumes that an image wants, at each of the places where nothing else is to be mounted: anonymous ones, as docker
/// has it. An image may name any place: what would take the place of rbox's own mounts is refused.
pub fn of_image(places: &[String], mounts: &[Mount]) -> Result<Vec<Mount>> {
    ensure!(places.len() <= MAX_OF_IMAGE, "the image wants {} volumes, more than {MAX_OF_IMAGE}", places.len());
    let mut wanted: Vec<String> = Vec::new();
    for place in places {
        let named = || format!("the image wants a volume on {place:?}");
        let target = path::target(place).with_context(named)?;
        if mounts.iter().any(|mount| mount.target() == target) || wanted.contains(&target) {
            continue;
        }
        let guarded = ["/proc", "/sys", "/dev"].iter().any(|own| Path::new(&target).starts_with(own));
        if guarded || target.contains('\0') {
            return Err(anyhow!("an image has no business there"))
                .hint(|| "--mount or --tmpfs with the same place takes precedence".to_owned())
                .with_context(named);
        }
        wanted.push(target);
    }
    wanted.sort();
    Ok(wanted.into_iter().map(|target| Mount::Volume(Volume { target, ..Volume::default() })).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::options::Propagation;

    fn read(text: &str) -> Result<Mount> {
        parse(text, Path::new("/home/ada"), false)
    }

    #[test]
    fn binds() {
        let bind = |source: &str, target: &str, change: fn(&mut Bind)| {
            let mut bind = Bind { readonly: false, recursive: true, propagation: Propagation::RPrivate, flags: vec![] };
            change(&mut bind);
            let Bind { readonly, recursive, propagation, flags } = bind;
            let flags = flags.into_iter().map(str::to_owned).collect();
            Mount::Bind { source: source.into(), target: target.into(), readonly, recursive, propagation, flags }
        };
        struct Bind {
            readonly: bool,
            recursive: bool,
            propagation: Propagation,
            flags: Vec<&'static str>,
        }
        for (text, mount) in [
            ("/a:/b", bind("/a", "/b", |_| {})),
            ("/a:/b:", bind("/a", "/b", |_| {})),
            ("/a:/b//c/:rw", bind("/a", "/b/c", |_| {})),
            ("./a:/b:ro", bind("/home/ada/a", "/b", |b| b.readonly = true)),
            (".:/b:rro", bind("/home/ada", "/b", |b| b.readonly = true)),
            ("/:/host:bind", bind("/", "/host", |b| b.recursive = false)),
            ("/a:/b:ro,rslave,ro", bind("/a", "/b", |b| (b.readonly, b.propagation) = (true, Propagation::RSlave))),
            ("/a:/b:noexec,suid,nodev", bind("/a", "/b", |b| b.flags = vec!["noexec", "nodev"])),
            ("/a:/b:z,nocopy", bind("/a", "/b", |_| {})),
        ] {
            assert_eq!(read(text).expect(text), mount, "{text}");
        }
        let overlay = Mount::Overlay { source: "/a".into(), target: "/b".into() };
        assert_eq!(read("/a:/b:O").expect("overlay"), overlay);
    }

    #[test]
    fn volumes() {
        let volume = |name: Option<&str>, target: &str| Volume {
            name: name.map(str::to_owned),
            target: target.to_owned(),
            ..Volume::default()
        };
        for (text, mount) in [
            ("data:/b", volume(Some("data"), "/b")),
            ("d:/b:", volume(Some("d"), "/b")),
            ("Data_1.x-y:/b/../c:rw", volume(Some("Data_1.x-y"), "/c")),
            ("data:/b:ro,nocopy", Volume { readonly: true, nocopy: true, ..volume(Some("data"), "/b") }),
            ("data:/b:z,copy,noexec", Volume { flags: vec!["noexec".to_owned()], ..volume(Some("data"), "/b") }),
            ("/a", volume(None, "/a")),
            ("/a:ro", Volume { readonly: true, ..volume(None, "/a") }),
        ] {
            assert_eq!(read(text).expect(text), Mount::Volume(mount), "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        let invalid = |name: &str| {
            format!(
                "{name} includes invalid characters for a local volume name: only [a-zA-Z0-9][a-zA-Z0-9_.-]* is allowed"
            )
        };
        for (text, message) in [
            ("", "no path in the container"),
            ("data", "data: a path in the container must be absolute"),
            ("_a:/b", &invalid("_a")),
            (".data:/b", &invalid(".data")),
            ("a/b:/c", &invalid("a/b")),
            ("é:/c", &invalid("é")),
            ("data:/b:O", "O: a volume keeps its changes"),
            (
                "data:/b:rslave",
                "propagation, bind and rbind are for directories of the host: nothing is mounted below a volume",
            ),
            ("data:/b:copy,nocopy", "copy and nocopy exclude each other"),
            ("/a:b:ro", "b: a path in the container must be absolute"),
            ("/a:/", "/: the container's root cannot be a mount point of its own"),
            (":/b", "no source"),
            ("/a:/b:ro:x", "not of the form [SRC:]DST[:WORDS]; --mount takes paths with colons"),
            ("/a:/b:ro,rw", "ro and rw exclude each other"),
            ("/a:/b:copy", "copy: only a volume can be filled from the image"),
            ("/a:/b:slave,rslave", "two kinds of propagation exclude each other"),
            ("/a:/b:exec,noexec", "noexec and its opposite exclude each other"),
            ("/a:/b:z,Z", "z and Z exclude each other"),
            ("/a:/b:O,noexec", "O excludes all other words: changes go to an upper layer of its own"),
            ("/a:/b:rshared", "rshared: without root no mount gets from a container to the host"),
            ("/a:/b:U", "U: the owners of the host's files are not changed"),
            ("/a:/b:x", "invalid mode: x"),
        ] {
            let error = read(text).expect_err(text);
            assert_eq!(crate::error::Failure::from(&error).message, message, "{text}");
        }
        assert!(parse("/a:/b:z", Path::new("/"), true).is_err());
    }

    #[test]
    fn options_of_the_driver() {
        let of = |text: &str| {
            let pairs = text.split(';').filter(|pair| !pair.is_empty()).map(|text| pair(text).expect("a pair"));
            Kind::of(&pairs.collect()).map_err(|error| crate::error::Failure::from(&error).message)
        };
        let bind = |readonly| Kind::Bind { path: "/srv".into(), readonly };
        assert_eq!(of(""), Ok(Kind::Directory));
        assert_eq!(of("type=none;o=bind;device=/srv"), Ok(bind(false)));
        assert_eq!(of("o=ro,bind;device=/srv"), Ok(bind(true)));
        let size = vec!["size=1048576".to_owned(), "uid=5".to_owned()];
        assert_eq!(of("type=tmpfs;device=tmpfs;o=size=1m,uid=5"), Ok(Kind::Tmpfs(size)));
        for (text, message) in [
            ("type=none;o=bind;device=srv", "device=srv: an absolute path is wanted"),
            ("type=none;device=/srv", "type=none: only with o=bind and device=PATH"),
            ("o=bind,noatime;device=/srv", "o=noatime: not there for a bind"),
            ("type=nfs;o=addr=1.2.3.4;device=:/x", "type=nfs: mounting it needs root"),
            ("type=tmpfs;o=foo", "o: invalid tmpfs option foo"),
            ("size=10m", "option size: a quota needs root"),
            ("foo=1", "invalid option: \"foo\""),
        ] {
            assert_eq!(of(text), Err(message.to_owned()), "{text}");
        }
    }

    #[test]
    fn from_containers() {
        let from = |container: &str, readonly| VolumesFrom { container: container.to_owned(), readonly };
        for (text, expected) in
            [("web", from("web", false)), ("web:ro", from("web", true)), ("web:rw,z", from("web", false))]
        {
            assert_eq!(from_container(text, false).expect(text), expected);
        }
        for text in ["", ":ro", "web:x"] {
            assert!(from_container(text, false).is_err(), "{text}");
        }
    }

    #[test]
    fn places_that_an_image_names() {
        let places = |all: &[&str], mounts: &[Mount]| {
            let all: Vec<String> = all.iter().map(|place| (*place).to_owned()).collect();
            of_image(&all, mounts).map(|found| found.iter().map(|mount| mount.target().to_owned()).collect::<Vec<_>>())
        };
        let own = Mount::Tmpfs { target: "/data".to_owned(), options: vec![] };
        assert_eq!(
            places(&["/var/lib/x/", "/data/../data", "/a", "/a/."], &[own]).expect("valid"),
            ["/a", "/var/lib/x"]
        );
        for place in ["", "/", "x", "/..", "/proc", "/a/../proc/self", "/sys/fs", "/dev", "/x\0y"] {
            assert!(places(&[place], &[]).is_err(), "{place:?}");
        }
        let many: Vec<String> = (0..1001).map(|number| format!("/{number}")).collect();
        assert_eq!(of_image(&many[1..], &[]).expect("as many as there may be").len(), 1000);
        let error = of_image(&many, &[]).expect_err("too many");
        assert_eq!(error.to_string(), "the image wants 1001 volumes, more than 1000");
        let own = Mount::Tmpfs { target: "/dev/shm".to_owned(), options: vec![] };
        assert!(places(&["/dev/shm"], &[own]).expect("the user's").is_empty());
    }
}
