//! `-v [SRC:]DST[:WORDS]` (docker-run(1), podman-run(1)).

use super::bind::Words;
use super::options::Mount;
use super::path;
use crate::error::Advise;
use anyhow::{Result, anyhow, bail};
use std::path::Path;

/// Reads one `-v`. A relative source is one of `cwd`. `selinux`: whether this host enforces labels.
pub fn parse(text: &str, cwd: &Path, selinux: bool) -> Result<Mount> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, words) = match parts[..] {
        [source, target, words] => (source, target, words),
        // The second part is a path or, after a path alone, the words.
        [source, target] if target.starts_with('/') || !source.starts_with('/') => (source, target, ""),
        [_, _] => return no_volumes("a path in the container alone asks for an anonymous volume"),
        [target] => {
            path::target(target)?;
            return no_volumes("a path in the container alone asks for an anonymous volume");
        }
        _ => bail!("not of the form [SRC:]DST[:WORDS]; --mount takes paths with colons"),
    };
    if source.is_empty() {
        bail!("no source");
    }
    let target = path::target(target)?;
    if !path::is_path(source) {
        return no_volumes(&format!("{source} would be the name of a volume"));
    }
    let mut bind = Words::default();
    for word in words.split(',').filter(|word| !word.is_empty()) {
        if !bind.read(word, selinux)? {
            bail!("invalid mode: {word}");
        }
    }
    bind.mount(path::source(source, cwd), target)
}

/// The refusal of what docker calls a volume.
pub fn no_volumes<T>(why: &str) -> Result<T> {
    Err(anyhow!("{why}: named volumes are not there yet"))
        .hint(|| "use an absolute path or ./dir as the source, or --tmpfs for what need not stay".to_owned())
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
    fn what_is_refused() {
        for (text, message) in [
            ("", "no path in the container"),
            ("/a", "a path in the container alone asks for an anonymous volume: named volumes are not there yet"),
            ("/a:ro", "a path in the container alone asks for an anonymous volume: named volumes are not there yet"),
            ("data:/b", "data would be the name of a volume: named volumes are not there yet"),
            ("/a:b:ro", "b: a path in the container must be absolute"),
            ("/a:/", "/: the container's root cannot be a mount point of its own"),
            (":/b", "no source"),
            ("/a:/b:ro:x", "not of the form [SRC:]DST[:WORDS]; --mount takes paths with colons"),
            ("/a:/b:ro,rw", "ro and rw exclude each other"),
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
}
