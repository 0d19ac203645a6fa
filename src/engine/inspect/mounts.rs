//! What of the host and which volumes a container has, in docker's words (moby, `api/types/container`, `MountPoint`).

use crate::engine::volumes;
use crate::spec::options::{Mount, Options, Propagation};
use serde::Serialize;
use std::path::Path;

/// One place of the container where something is mounted that it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MountPoint {
    /// `bind` or `volume`.
    #[serde(rename = "Type")]
    pub kind: &'static str,
    /// Of a volume: its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The path on the host.
    pub source: String,
    /// The path in the container.
    pub destination: String,
    /// Of a volume: `local`.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub driver: &'static str,
    /// The words that `-v` has at its end.
    pub mode: String,
    /// It can be written to.
    #[serde(rename = "RW")]
    pub writable: bool,
    /// How later mounts are seen on the other side.
    pub propagation: &'static str,
}

/// All of them, in the order in which they were asked for. A tmpfs is none, as in docker.
pub fn of(options: &Options) -> Vec<MountPoint> {
    options.mounts.iter().filter_map(one).collect()
}

fn one(mount: &Mount) -> Option<MountPoint> {
    let text = |path: &Path| path.display().to_string();
    match mount {
        Mount::Bind { source, target, readonly, propagation, .. } => Some(MountPoint {
            kind: "bind",
            name: String::new(),
            source: text(source),
            destination: target.clone(),
            driver: "",
            mode: words(mount).join(","),
            writable: !readonly,
            propagation: propagation.word(),
        }),
        Mount::Overlay { source, target } => Some(MountPoint {
            kind: "bind",
            name: String::new(),
            source: text(source),
            destination: target.clone(),
            driver: "",
            mode: words(mount).join(","),
            writable: true,
            propagation: "",
        }),
        Mount::Volume(volume) => {
            let name = volume.name.clone().unwrap_or_default();
            // One that is gone has no place.
            let source = volumes::find(&name).map(|volume| text(&volume.mountpoint())).unwrap_or_default();
            Some(MountPoint {
                kind: "volume",
                name,
                source,
                destination: volume.target.clone(),
                driver: "local",
                mode: words(mount).join(","),
                writable: !volume.readonly,
                propagation: "",
            })
        }
        Mount::Tmpfs { .. } => None,
    }
}

/// The words of `-v` for what is not as usual.
pub fn words(mount: &Mount) -> Vec<&str> {
    let mut all = Vec::new();
    let flags = match mount {
        Mount::Bind { readonly, recursive, propagation, flags, .. } => {
            all.extend(readonly.then_some("ro"));
            all.extend((!recursive).then_some("bind"));
            all.extend((*propagation != Propagation::default()).then(|| propagation.word()));
            flags.as_slice()
        }
        Mount::Volume(volume) => {
            all.extend(volume.readonly.then_some("ro"));
            volume.flags.as_slice()
        }
        Mount::Overlay { .. } => {
            all.push("O");
            &[]
        }
        Mount::Tmpfs { options, .. } => options.as_slice(),
    };
    all.extend(flags.iter().map(String::as_str));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::options::Volume;
    use serde_json::json;

    #[test]
    fn as_dockers() {
        let bind = |readonly, recursive, propagation| Mount::Bind {
            source: "/src".into(),
            target: "/dst".to_owned(),
            readonly,
            recursive,
            propagation,
            flags: vec!["noexec".to_owned()],
        };
        let volume = Volume { name: Some("no-such-volume".to_owned()), target: "/v".to_owned(), ..Volume::default() };
        let tmpfs = Mount::Tmpfs { target: "/t".to_owned(), options: vec![] };
        let mounts = vec![
            bind(false, true, Propagation::RPrivate),
            tmpfs,
            bind(true, false, Propagation::RSlave),
            Mount::Volume(volume),
            Mount::Overlay { source: "/o".into(), target: "/p".to_owned() },
        ];
        let shown = serde_json::to_value(of(&Options { mounts, ..Options::default() })).unwrap();
        let expected = json!([
            { "Type": "bind", "Source": "/src", "Destination": "/dst", "Mode": "noexec", "RW": true, "Propagation": "rprivate" },
            { "Type": "bind", "Source": "/src", "Destination": "/dst", "Mode": "ro,bind,rslave,noexec", "RW": false,
              "Propagation": "rslave" },
            { "Type": "volume", "Name": "no-such-volume", "Source": "", "Destination": "/v", "Driver": "local", "Mode": "",
              "RW": true, "Propagation": "" },
            { "Type": "bind", "Source": "/o", "Destination": "/p", "Mode": "O", "RW": true, "Propagation": "" },
        ]);
        assert_eq!(shown, expected);
    }
}
