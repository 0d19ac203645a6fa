//! Manifests and indexes, the choice among images, lines of Dockerfiles.

use super::{Target, json, kind_of};
use crate::image::change;
use crate::image::manifest::{self, Descriptor, Document, Manifest, Platform};
use crate::image::registry::MAX_MANIFEST;
use oci_spec::image::Config;
use serde_json::{Map, Value};

const TYPES: [&str; 8] = [
    manifest::OCI_MANIFEST,
    manifest::OCI_INDEX,
    manifest::DOCKER_MANIFEST,
    manifest::DOCKER_INDEX,
    manifest::OCI_CONFIG,
    "text/plain",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "",
];

const WANTED: [&str; 6] = ["amd64", "linux/arm64/v8", "linux/arm/v7", "arm", "windows/amd64", "unknown/unknown"];

fn read(bytes: &[u8]) -> Vec<Result<&'static str, String>> {
    let mut known: Option<Document> = None;
    let mut shapes = Vec::new();
    for media_type in TYPES {
        shapes.push(match manifest::read(bytes, media_type) {
            Err(error) => Err(kind_of(&error)),
            Ok(document) => {
                // It is one thing, whoever asks (CVE-2021-41190).
                assert_eq!(known.get_or_insert_with(|| document.clone()), &document);
                match &document {
                    Document::Manifest(manifest) => check_manifest(manifest),
                    Document::Index(index) => check_index(index),
                }
                Ok(if matches!(document, Document::Index(_)) { "index" } else { "manifest" })
            }
        });
    }
    shapes
}

fn check_manifest(manifest: &Manifest) {
    assert!(manifest.layers.len() <= 500 && manifest.config.size <= manifest::MAX_CONFIG);
    let bytes = manifest.to_bytes().expect("written");
    let again = manifest::read(&bytes, manifest::OCI_MANIFEST).expect("its own bytes");
    assert_eq!(again, Document::Manifest(manifest.clone()));
    for descriptor in [&manifest.config].into_iter().chain(&manifest.layers) {
        assert!(!descriptor.digest.hex().contains(['/', '.']));
    }
}

fn check_index(index: &[Descriptor]) {
    let bytes = serde_json::to_vec(index).expect("written");
    assert_eq!(serde_json::from_slice::<Vec<Descriptor>>(&bytes).expect("its own bytes"), index);
    for wanted in [Platform::host()].into_iter().chain(WANTED.map(|text| Platform::parse(text).expect(text))) {
        let Ok(chosen) = wanted.choose(index) else { continue };
        assert!(index.contains(chosen));
        match &chosen.platform {
            None => assert_eq!(index.len(), 1),
            Some(platform) => {
                assert_eq!((&platform.os, &platform.architecture), (&wanted.os, &wanted.architecture));
                let exact = |other: &&Descriptor| {
                    let same = |p: &Platform| {
                        (&p.os, &p.architecture, &p.variant) == (&wanted.os, &wanted.architecture, &wanted.variant)
                    };
                    other.platform.as_ref().is_some_and(same)
                };
                assert!(exact(&chosen) || !index.iter().any(|other| exact(&other)));
            }
        }
    }
}

#[test]
fn fuzz_manifest() {
    let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let blob = |media_type: &str| {
        format!(
            r#"{{"mediaType":"{media_type}","digest":"{digest}","size":7,"urls":[],"annotations":{{"org.opencontainers.image.ref.name":"a:b"}}}}"#
        )
    };
    let of = |platform: &str| {
        format!(r#"{{"mediaType":"{}","digest":"{digest}","size":9,"platform":{platform}}}"#, TYPES[0])
    };
    let manifest = |own: &str| {
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{own}","config":{},"layers":[{},{}]}}"#,
            blob(TYPES[4]),
            blob(manifest::OCI_LAYER_GZIP),
            blob(manifest::OCI_LAYER_ZSTD)
        )
    };
    let index = |own: &str| {
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{own}","manifests":[{},{},{},{}]}}"#,
            of(r#"{"architecture":"amd64","os":"linux"}"#),
            of(r#"{"architecture":"arm","os":"linux","variant":"v6","os.features":["x"]}"#),
            of(r#"{"architecture":"arm64","os":"linux","variant":"v8"}"#),
            of(r#"{"architecture":"unknown","os":"unknown"}"#)
        )
    };
    let old =
        r#"{"schemaVersion":1,"name":"a","tag":"b","fsLayers":[{"blobSum":"x"}],"history":[{"v1Compatibility":"{}"}]}"#;
    let seeds =
        [manifest(TYPES[0]), manifest(TYPES[2]), index(TYPES[1]), index(TYPES[3]), old.to_owned(), "{}".to_owned()];
    let words: [&[u8]; 10] = [
        b"{",
        b"}",
        b"[",
        b"]",
        b"\"mediaType\":",
        b"\"manifests\":[],",
        b"\"layers\":[],",
        b"\"config\":null,",
        b"\\u0000",
        b"1e999",
    ];
    let seeds = seeds.into_iter().map(String::into_bytes).collect();
    Target { name: "manifest", seeds, words: &words, longest: MAX_MANIFEST as usize, mutate: Some(json::mutate) }
        .run(read);
}

/// `--change`: what comes out is still the configuration of an image.
#[test]
fn fuzz_change() {
    let seeds = [
        "CMD [\"a\", \"b c\"]\nENTRYPOINT x",
        "ENV A=1 B='x y'\nENV A 2 3",
        "LABEL a=\"b\\\"c\" d=e",
        "EXPOSE 80 53/udp 1-5",
        "VOLUME /a /b\nVOLUME [\"/c d\"]",
        "WORKDIR /a/\nWORKDIR b\nUSER app:1\nSTOPSIGNAL INT",
        "ONBUILD RUN x",
        "HEALTHCHECK --interval=5s --retries=2 CMD curl x\nHEALTHCHECK NONE",
    ];
    let words =
        ["\n", " ", "\t", "=", "\"", "'", "\\", "[", "]", "ENV ", "LABEL ", "VOLUME ", "--timeout=1h ", "\u{a0}", "é"];
    super::text("change", &seeds, &words, |text| {
        let mut config = Map::new();
        let mut shapes = Vec::new();
        for line in text.split('\n') {
            shapes.push(change::apply(&mut config, line).map_err(|error| kind_of(&error)));
        }
        let value = Value::Object(config);
        serde_json::from_value::<Config>(value.clone()).unwrap_or_else(|error| panic!("{error}: {value}"));
        shapes
    });
}
