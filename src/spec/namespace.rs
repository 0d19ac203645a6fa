//! `--pid`, `--ipc` and `--uts`.

use super::options::Namespace;
use anyhow::{Result, bail};

/// Reads `--pid`.
pub fn pid(text: &str) -> Result<Namespace> {
    existing(text)
}

/// Reads `--uts`.
pub fn uts(text: &str) -> Result<Namespace> {
    existing(text)
}

/// Reads `--ipc`. The second value is true for docker's `none`: a namespace of its own without /dev/shm. `shareable`
/// is `private`: another container may join either, if it says so.
pub fn ipc(text: &str) -> Result<(Namespace, bool)> {
    match text {
        "none" => Ok((Namespace::Private, true)),
        "shareable" => Ok((Namespace::Private, false)),
        _ => existing(text).map(|namespace| (namespace, false)),
    }
}

fn existing(text: &str) -> Result<Namespace> {
    match text.split_once(':') {
        None if matches!(text, "" | "private") => Ok(Namespace::Private),
        None if text == "host" => Ok(Namespace::Host),
        Some(("container", "")) => bail!("container: not of the form container:NAME"),
        Some(("container", name)) => Ok(Namespace::Container(name.to_owned())),
        Some(("ns", path)) if path.starts_with('/') => Ok(Namespace::Path(path.into())),
        Some(("ns", path)) => bail!("{path}: the path of a namespace must be absolute"),
        _ => bail!("{text}: not one of private, host, container:NAME, ns:PATH"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        let ada = || Namespace::Container("ada".into());
        let path = || Namespace::Path("/proc/1/ns/net".into());
        for (text, namespace) in [
            ("", Namespace::Private),
            ("private", Namespace::Private),
            ("host", Namespace::Host),
            ("container:ada", ada()),
            ("ns:/proc/1/ns/net", path()),
        ] {
            assert_eq!(pid(text).expect(text), namespace);
            assert_eq!(uts(text).expect(text), namespace);
            assert_eq!(ipc(text).expect(text), (namespace, false));
        }
        assert_eq!(ipc("none").expect("none"), (Namespace::Private, true));
        assert_eq!(ipc("shareable").expect("shareable"), (Namespace::Private, false));
    }

    #[test]
    fn what_is_refused() {
        for text in ["none", "shareable", "web", "container:", "host:x", "ns:x"] {
            assert!(pid(text).is_err() && uts(text).is_err(), "{text}");
        }
    }
}
