//! Configurations of images, on the way to a Spec. What else the image brings along is in the same document: its accounts.

use super::{Target, json, kind_of};
use crate::image::document;
use crate::image::manifest::{MAX_CONFIG, Platform};
use crate::image::pull::{check_platform, diff_ids, of_config};
use crate::runtime::bundle::Bundle;
use crate::seccomp::capability;
use crate::spec::host::{Content, Host, Overlay, Volume};
use crate::spec::options::{Mount, Options, Root, Seccomp, Security, Userns};
use crate::spec::{build, merged, volume};
use crate::time::Time;
use crate::userns::idmap::{IdMap, IdMaps, IdRange};
use oci_spec::image::{Config, ImageConfiguration};
use oci_spec::runtime::Spec;
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Component, Path};

fn maps(count: u32) -> IdMaps {
    let map = || {
        let mut ranges = vec![IdRange { inside: 0, outside: 1000, count: 1 }];
        if count > 1 {
            ranges.push(IdRange { inside: 1, outside: 100_000, count: count - 1 });
        }
        IdMap::new(ranges).expect("a map")
    };
    IdMaps { uid: map(), gid: map() }
}

/// What somebody may have typed with the image's name.
fn asked() -> [Options; 4] {
    let text = |text: &str| text.to_owned();
    let root = || Root::Image { name: text("image"), pull: Default::default() };
    // The filter has targets of its own.
    let security = || Security { seccomp: Seccomp::Unconfined, ..Security::default() };
    let plain = || Options { root: root(), security: security(), ..Options::default() };
    [
        plain(),
        Options { command: vec![text("sh")], tty: true, read_only: true, ..plain() },
        Options {
            entrypoint: Some(vec![text("/bin/sh")]),
            env: vec![(text("A"), text("mine")), (text("HOME"), text("/h"))],
            unset_env: vec![text("B")],
            user: Some(text("1000:1000")),
            workdir: Some(text("/w")),
            ..plain()
        },
        Options { userns: Userns::KeepId { uid: None, gid: None, size: None }, init: true, ..plain() },
    ]
}

fn test(bytes: &[u8]) -> Vec<Result<(), String>> {
    let image: ImageConfiguration = match document::read::<ImageConfiguration>(bytes) {
        Ok(image) => image,
        Err(error) => return vec![Err(kind_of(&error))],
    };
    let raw: Value = serde_json::from_slice(bytes).expect("a document");
    let said = |result: anyhow::Result<()>| result.map_err(|error| kind_of(&error));
    let mut shapes = vec![said(diff_ids(&image).map(drop))];
    let platform = of_config(&image);
    shapes.push(said(check_platform(&image, &Platform::host())));
    assert!(!platform.to_string().is_empty());
    for text in
        image.created().iter().chain(image.history().iter().flatten().filter_map(|step| step.created().as_ref()))
    {
        if let Ok(time) = Time::parse(text) {
            assert_eq!(Time::parse(&time.to_string()).expect("its own text"), time, "{text}");
        }
    }
    let account = |key: &str| raw[key].as_str().map(str::to_owned);
    for (number, mut options) in asked().into_iter().enumerate() {
        let merged = merged::config(&options, &raw["config"]);
        check_env_of_image(&merged["Env"]);
        let places = image.config().as_ref().and_then(|config| config.volumes().clone()).unwrap_or_default();
        match volume::of_image(&places, &options.mounts) {
            Ok(found) => options.mounts.extend(found),
            Err(error) => shapes.push(Err(kind_of(&error))),
        }
        let volumes = (0..options.mounts.len())
            .map(|number| Volume { name: format!("v{number}"), content: Content::Directory("/volume".into()) });
        let host = Host {
            id: "0123456789abcdef".repeat(4),
            hostname: "laptop".to_owned(),
            uid: 1000,
            gid: 1000,
            ids: Some(maps(if number == 1 { 1 } else { 65537 })),
            passwd: account("passwd"),
            group: account("group"),
            root: "/run/root".into(),
            layers: vec!["/layers/a".into(), "/layers/b".into()],
            overlays: vec![Overlay { upper: "/upper".into(), work: "/work".into() }],
            volumes: volumes.collect(),
            bounding: capability::EVERY,
            kernel: (6, 1),
            ..Host::default()
        };
        shapes.push(said(build::build(&options, Some(&image), &host).and_then(|spec| {
            let bundle = Bundle::new(Path::new("/bundle"), spec)?;
            check_spec(&bundle.spec, &options, image.config().as_ref());
            Ok(())
        })));
    }
    shapes
}

fn check_env_of_image(env: &Value) {
    for entry in env.as_array().expect("a list") {
        let name = entry.as_str().and_then(|entry| entry.split_once('=')).map(|(name, _)| name);
        assert!(name.is_some_and(|name| !name.is_empty()), "{env}");
    }
}

fn check_spec(spec: &Spec, options: &Options, image: Option<&Config>) {
    let process = spec.process().as_ref().expect("a process");
    let args = process.args().as_ref().expect("arguments");
    assert!(!args.is_empty() && args.iter().all(|word| !word.contains('\0')), "{args:?}");
    assert!(process.cwd().is_absolute() && !process.cwd().as_os_str().as_encoded_bytes().contains(&0));
    check_env(process.env().as_deref().expect("an environment"), options, image);
    for mount in spec.mounts().iter().flatten() {
        let target = mount.destination();
        assert!(target.is_absolute() && !target.as_os_str().as_encoded_bytes().contains(&0), "{target:?}");
        assert!(!target.components().any(|part| part == Component::ParentDir), "{target:?}");
    }
    let guarded = |target: &str| ["/proc", "/sys", "/dev"].iter().any(|own| Path::new(target).starts_with(own));
    assert!(!options.mounts.iter().map(Mount::target).any(guarded), "{:?}", options.mounts);
    // A Spec is text, and reads as it was written.
    let text = serde_json::to_string(spec).expect("written");
    assert_eq!(&serde_json::from_str::<Spec>(&text).expect("read"), spec);
}

/// Only what the image says with a `=`, what was asked for, and what every container has.
fn check_env(env: &[String], options: &Options, image: Option<&Config>) {
    let mut found = HashMap::new();
    for entry in env {
        assert!(!entry.contains('\0'), "{entry:?}");
        let (name, value) = entry.split_once('=').expect("a value");
        assert!(!name.is_empty() && found.insert(name, value).is_none(), "{name:?} twice");
    }
    let mut wanted = HashMap::new();
    let of_image = image.and_then(|image| image.env().as_deref()).unwrap_or_default();
    for (name, value) in of_image.iter().filter_map(|entry| entry.split_once('=')).filter(|(name, _)| !name.is_empty())
    {
        wanted.insert(name, value);
    }
    for name in &options.unset_env {
        wanted.remove(name.as_str());
    }
    wanted.extend(options.env.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    for (name, value) in &wanted {
        assert_eq!(found.get(name), Some(value), "{name:?}");
    }
    for name in found.keys() {
        assert!(wanted.contains_key(name) || ["PATH", "HOSTNAME", "TERM", "HOME"].contains(name), "{name:?}");
    }
}

#[test]
fn fuzz_config() {
    let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let whole = format!(
        r#"{{"created":"2024-01-02T03:04:05.678Z","author":"ada","architecture":"amd64","os":"linux","variant":"v2",
        "os.version":"1","os.features":["x"],"config":{{"User":"ada:wheel","ExposedPorts":{{"80/tcp":{{}},"53/udp":{{}}}},
        "Env":["PATH=/bin:/usr/bin","A=1","B","=C","A=2","HOME=/root"],"Entrypoint":["/init","--"],"Cmd":["sh","-c","true"],
        "Volumes":{{"/data":{{}},"/var/lib/x":{{}}}},"WorkingDir":"/srv","Labels":{{"a":"b","version":"1"}},
        "StopSignal":"SIGTERM","Healthcheck":{{"Test":["CMD","true"],"Interval":1000000000,"Retries":3}},"OnBuild":["RUN x"],
        "ArgsEscaped":true}},"rootfs":{{"type":"layers","diff_ids":["{digest}","{digest}"]}},
        "history":[{{"created":"2024-01-02T03:04:05Z","created_by":"x","author":"y","comment":"z","empty_layer":true}},{{}}],
        "passwd":"root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\nbad:x::\n",
        "group":"root:x:0:root\nwheel:x:10:root,ada\nada:x:1000:\n"}}"#
    );
    let least = r#"{"architecture":"","os":"","rootfs":{"type":"","diff_ids":[]}}"#.to_owned();
    let nulls = r#"{"architecture":"arm","os":"linux","config":{"User":null,"Env":null,"Cmd":null,"Volumes":null,"Labels":null},
        "rootfs":{"type":"layers","diff_ids":[]},"history":null}"#
        .to_owned();
    let seeds = [whole, least, nulls].map(String::into_bytes).to_vec();
    let words: [&[u8]; 8] =
        [b"\\u0000", b"\\ud800", b"{", b"[", b"null", b"\"Volumes\":{\"/..\":{}},", b"\"Env\":[\"\"],", b"1e400"];
    Target { name: "config", seeds, words: &words, longest: MAX_CONFIG as usize, mutate: Some(json::mutate) }.run(test);
}
