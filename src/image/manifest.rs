//! Manifests and indexes, OCI's and docker's (image-spec, manifest.md and image-index.md; distribution,
//! manifest-v2-2.md), read from bytes that nobody trusts.

use super::document;
use crate::storage::digest::Digest;
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// OCI's manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI's index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// docker's manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// docker's index.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// OCI's configuration.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// A layer that is not packed, and those that are.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// With gzip.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// With zstd.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";

/// More cannot be stacked: overlay takes 500, docker makes at most 127.
const MAX_LAYERS: usize = 500;
/// A configuration is not longer.
pub const MAX_CONFIG: u64 = 8 << 20;

/// A pointer to content (image-spec, descriptor.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    #[serde(default)]
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// In an index: what the image runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Names and whatever else.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// The annotation with an image's name (image-spec, annotations.md), which skopeo and umoci read.
pub const NAME: &str = "org.opencontainers.image.ref.name";

impl Descriptor {
    /// Of content alone.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Descriptor {
        Descriptor { media_type: media_type.to_owned(), digest, size, platform: None, annotations: BTreeMap::new() }
    }

    /// A layer of docker's by OCI's name for the same (image-spec, media-types.md, "Compatibility Matrix").
    pub fn as_oci(&self) -> Descriptor {
        let media_type = match self.media_type.as_str() {
            DOCKER_LAYER => OCI_LAYER,
            DOCKER_LAYER_GZIP => OCI_LAYER_GZIP,
            DOCKER_LAYER_ZSTD => OCI_LAYER_ZSTD,
            other => other,
        };
        Descriptor { media_type: media_type.to_owned(), ..self.clone() }
    }

    /// In the store's catalog: the name of the image, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.annotations.get(NAME).map(String::as_str)
    }
}

/// How well an image for an older variant suits.
const OLDER: u8 = 2;

/// What an image runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// Go's name of the processor: amd64, arm64.
    pub architecture: String,
    /// Go's name of the system: linux.
    pub os: String,
    /// The version of an ARM processor: v6, v7, v8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// What else there may be, kept as it is.
    #[serde(flatten)]
    pub rest: BTreeMap<String, serde_json::Value>,
}

/// The manifest of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The configuration.
    pub config: Descriptor,
    /// The layers, the lowest first.
    pub layers: Vec<Descriptor>,
}

/// What a manifest's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// Images for several platforms.
    Index(Vec<Descriptor>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: Option<u64>,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    fs_layers: Option<serde_json::Value>,
}

/// Reads a document; `media_type` is what the registry or the descriptor says that it is. Bytes that could be read as
/// two things are refused, whatever anybody says (CVE-2021-41190).
pub fn read(bytes: &[u8], media_type: &str) -> Result<Document> {
    let raw: Raw = document::read(bytes).context("manifest")?;
    if raw.schema_version == Some(1) || raw.fs_layers.is_some() {
        bail!("manifest: of docker's schema 1, which was given up in 2017: push the image again with a newer tool");
    }
    ensure!(raw.schema_version.is_none_or(|version| version == 2), "manifest: schema version {:?}", raw.schema_version);
    let known = |name: &str| [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX].contains(&name);
    if let Some(own) = raw.media_type.as_deref().filter(|_| known(media_type)) {
        ensure!(own == media_type, "manifest: says that it is {own}, and came as {media_type}");
    }
    let kind = raw.media_type.as_deref().unwrap_or(media_type);
    let is_index = match (raw.manifests.is_some(), raw.layers.is_some() || raw.config.is_some()) {
        (true, true) => bail!("manifest: is both an index and a manifest"),
        (false, false) => bail!("manifest: is neither an index nor a manifest"),
        (is_index, _) => is_index,
    };
    let says_index = matches!(kind, OCI_INDEX | DOCKER_INDEX);
    ensure!(!known(kind) || is_index == says_index, "manifest: came as {kind}, and is none");
    if let Some(manifests) = raw.manifests {
        return Ok(Document::Index(manifests));
    }
    let (Some(config), Some(layers)) = (raw.config, raw.layers) else {
        bail!("manifest: without a configuration or without layers");
    };
    ensure!(layers.len() <= MAX_LAYERS, "manifest: {} layers, more than {MAX_LAYERS}", layers.len());
    ensure!(config.size <= MAX_CONFIG, "manifest: a configuration of {} bytes", config.size);
    Ok(Document::Manifest(Manifest { config, layers }))
}

impl Manifest {
    /// As OCI's manifest.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let Manifest { config, layers } = self;
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers
        });
        Ok(serde_json::to_vec(&manifest)?)
    }
}

impl Platform {
    /// This machine's.
    pub fn host() -> Platform {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "x86" => ("386", None),
            "aarch64" => ("arm64", Some("v8")),
            "arm" => ("arm", Some("v7")),
            "powerpc64" => ("ppc64le", None),
            other => (other, None),
        };
        Platform::new("linux", architecture, variant)
    }

    fn new(os: &str, architecture: &str, variant: Option<&str>) -> Platform {
        Platform {
            architecture: architecture.to_owned(),
            os: os.to_owned(),
            variant: variant.map(str::to_owned),
            rest: BTreeMap::new(),
        }
    }

    /// `--platform`: `OS/ARCHITECTURE[/VARIANT]` or an architecture alone, with the kernel's names as well as Go's.
    pub fn parse(text: &str) -> Result<Platform> {
        let parts: Vec<&str> = text.split('/').collect();
        let plain =
            |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        ensure!(parts.iter().all(plain), "--platform {text}: OS/ARCHITECTURE[/VARIANT] is wanted");
        let (os, architecture, variant) = match parts.as_slice() {
            [architecture] => ("linux", *architecture, None),
            [os, architecture] => (*os, *architecture, None),
            [os, architecture, variant] => (*os, *architecture, Some(*variant)),
            _ => bail!("--platform {text}: OS/ARCHITECTURE[/VARIANT] is wanted"),
        };
        let architecture = match architecture {
            "x86_64" | "x86-64" => "amd64",
            "aarch64" => "arm64",
            "i386" | "i686" => "386",
            "armhf" => "arm",
            other => other,
        };
        Ok(Platform::new(os, architecture, variant))
    }

    /// How well an image for `other` runs here; 0 is not at all.
    fn suits(&self, other: &Platform) -> u8 {
        if (&self.os, &self.architecture) != (&other.os, &other.architecture) {
            return 0;
        }
        match (&self.variant, &other.variant) {
            (wanted, offered) if wanted == offered => 4,
            (_, None) => 3,
            // An older ARM's programs run on a newer one: v6 on v7.
            (Some(wanted), Some(offered)) if wanted > offered => OLDER,
            (None, Some(_)) => 1,
            _ => 0,
        }
    }

    /// The image of an index that suits best. Of equals the first counts.
    pub fn choose<'a>(&self, index: &'a [Descriptor]) -> Result<&'a Descriptor> {
        let mut best: Option<(u8, &Descriptor)> = None;
        for descriptor in index {
            let suits = match &descriptor.platform {
                Some(platform) => self.suits(platform),
                // An index of one image for whatever it is.
                None if index.len() == 1 => 1,
                None => 0,
            };
            let variant = |descriptor: &Descriptor| descriptor.platform.as_ref().and_then(|p| p.variant.clone());
            let newer = best
                .is_some_and(|(known, other)| (suits, known) == (OLDER, OLDER) && variant(descriptor) > variant(other));
            if suits > best.map_or(0, |(suits, _)| suits) || newer {
                best = Some((suits, descriptor));
            }
        }
        let offered = || {
            let mut names: Vec<String> = index
                .iter()
                .filter_map(|descriptor| descriptor.platform.as_ref())
                // What docker's builder adds beside images.
                .filter(|platform| platform.os != "unknown")
                .map(Platform::to_string)
                .collect();
            names.dedup();
            names.join(", ")
        };
        let (_, descriptor) = best.with_context(|| format!("no image for {self}; there are: {}", offered()))?;
        Ok(descriptor)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn descriptor() -> Value {
        json!({ "mediaType": "x", "digest": Digest::of(b"").to_string(), "size": 0 })
    }

    fn of(platform: &str) -> Descriptor {
        let platform = Some(Platform::parse(platform).expect(platform));
        Descriptor {
            media_type: String::new(),
            digest: Digest::of(b""),
            size: 0,
            platform,
            annotations: BTreeMap::new(),
        }
    }

    fn read_value(value: &Value, media_type: &str) -> Result<Document> {
        read(value.to_string().as_bytes(), media_type)
    }

    #[test]
    fn one_thing_or_the_other() {
        let manifest = json!({ "schemaVersion": 2, "config": descriptor(), "layers": [descriptor()] });
        let index = json!({ "schemaVersion": 2, "manifests": [descriptor()] });
        assert!(matches!(read_value(&manifest, OCI_MANIFEST), Ok(Document::Manifest(m)) if m.layers.len() == 1));
        assert!(matches!(read_value(&manifest, DOCKER_MANIFEST), Ok(Document::Manifest(_))));
        assert!(matches!(read_value(&manifest, "text/plain"), Ok(Document::Manifest(_))));
        assert!(matches!(read_value(&index, OCI_INDEX), Ok(Document::Index(i)) if i.len() == 1));
        let with = |value: &Value, key: &str, what: Value| {
            let mut value = value.clone();
            value[key] = what;
            value
        };
        for (value, media_type) in [
            (index.clone(), OCI_MANIFEST),
            (manifest.clone(), DOCKER_INDEX),
            (with(&manifest, "manifests", json!([])), OCI_MANIFEST),
            (with(&index, "layers", json!([])), OCI_INDEX),
            (with(&manifest, "mediaType", json!(DOCKER_MANIFEST)), OCI_MANIFEST),
            (with(&manifest, "mediaType", json!(OCI_INDEX)), "text/plain"),
            (with(&manifest, "schemaVersion", json!(1)), OCI_MANIFEST),
            (with(&manifest, "layers", Value::Null), OCI_MANIFEST),
            (with(&manifest, "layers", json!(vec![descriptor(); 501])), OCI_MANIFEST),
            (json!({}), OCI_MANIFEST),
            (json!([]), OCI_MANIFEST),
            (with(&manifest, "config", json!({ "digest": "sha256:../x", "size": 0 })), OCI_MANIFEST),
            (with(&manifest, "config", json!({ "digest": Digest::of(b"").to_string(), "size": -1 })), OCI_MANIFEST),
        ] {
            assert!(read_value(&value, media_type).is_err(), "{media_type}: {value}");
        }
    }

    #[test]
    fn the_platform_that_suits_best() {
        let index =
            [of("linux/arm/v6"), of("linux/arm/v7"), of("linux/amd64"), of("linux/arm64/v8"), of("windows/amd64")];
        for (wanted, chosen) in [
            ("linux/amd64", 2),
            ("x86_64", 2),
            ("windows/amd64", 4),
            ("arm64", 3),
            ("linux/arm64/v8", 3),
            ("linux/arm/v7", 1),
            ("linux/arm/v8", 1),
        ] {
            let platform = Platform::parse(wanted).expect(wanted);
            assert_eq!(platform.choose(&index).expect(wanted), &index[chosen], "{wanted}");
        }
        let error = Platform::parse("linux/s390x").expect("valid").choose(&index).expect_err("none").to_string();
        assert!(error.starts_with("no image for linux/s390x; there are: linux/arm/v6, linux/arm/v7, "), "{error}");
        for text in ["", "linux/", "a/b/c/d", "linux/a b"] {
            assert!(Platform::parse(text).is_err(), "{text:?}");
        }
    }
}
