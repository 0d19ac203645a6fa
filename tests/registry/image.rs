//! Images made by hand.

use rbox::storage::digest::Digest;
use serde_json::{Value, json};
use std::io::Write;

pub const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";

const BLOCK: usize = 512;

/// How a layer is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packed {
    Plain,
    Gzip,
    Zstd,
}

/// An image as a registry has it.
#[derive(Debug, Clone)]
pub struct Image {
    pub media_type: String,
    pub manifest: Vec<u8>,
    pub config: Vec<u8>,
    /// As they are packed.
    pub layers: Vec<Vec<u8>>,
}

impl Image {
    /// An OCI image of one layer with one file.
    pub fn small(text: &str) -> Image {
        Image::new(&[&archive(&[("etc/text", text.as_bytes(), 0o644)])], Packed::Gzip, OCI)
    }

    /// An image of these archives.
    pub fn new(archives: &[&[u8]], packed: Packed, media_type: &str) -> Image {
        Image::of(archives.iter().map(|archive| (pack(archive, packed), Digest::of(archive).to_string())), media_type)
    }

    /// An image of these layers with what their digests are said to be without compression.
    pub fn of(layers: impl Iterator<Item = (Vec<u8>, String)>, media_type: &str) -> Image {
        let (layers, diff_ids): (Vec<Vec<u8>>, Vec<String>) = layers.unzip();
        let config = json!({
            "architecture": architecture(), "os": "linux", "config": { "Cmd": ["/bin/sh"] },
            "rootfs": { "type": "layers", "diff_ids": diff_ids }
        });
        let config = config.to_string().into_bytes();
        let mut image = Image { media_type: media_type.to_owned(), manifest: vec![], config, layers };
        image.manifest = image.described().to_string().into_bytes();
        image
    }

    /// Its manifest as a test may change it.
    pub fn described(&self) -> Value {
        let kind = |kind: &str| match self.media_type.as_str() {
            DOCKER if kind == "config" => "application/vnd.docker.container.image.v1+json".to_owned(),
            DOCKER => "application/vnd.docker.image.rootfs.diff.tar.gzip".to_owned(),
            _ if kind == "config" => "application/vnd.oci.image.config.v1+json".to_owned(),
            _ => "application/vnd.oci.image.layer.v1.tar".to_owned(),
        };
        let layers: Vec<Value> = self.layers.iter().map(|bytes| descriptor(&kind("layer"), bytes)).collect();
        json!({
            "schemaVersion": 2, "mediaType": self.media_type,
            "config": descriptor(&kind("config"), &self.config), "layers": layers
        })
    }

    /// The same with another manifest.
    pub fn with_manifest(&self, change: impl FnOnce(&mut Value)) -> Image {
        let mut manifest = self.described();
        change(&mut manifest);
        Image { manifest: manifest.to_string().into_bytes(), ..self.clone() }
    }

    pub fn digest(&self) -> String {
        Digest::of(&self.manifest).to_string()
    }

    pub fn id(&self) -> String {
        Digest::of(&self.config).hex().to_owned()
    }
}

pub fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::of(bytes).to_string(), "size": bytes.len() })
}

/// This machine's, in Go's words.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

pub fn pack(bytes: &[u8], packed: Packed) -> Vec<u8> {
    match packed {
        Packed::Plain => bytes.to_vec(),
        Packed::Gzip => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            writer.write_all(bytes).unwrap();
            writer.finish().unwrap()
        }
        Packed::Zstd => zstd::encode_all(bytes, 1).unwrap(),
    }
}

/// An archive of files: name, bytes, mode. A name that ends with a slash is a directory.
pub fn archive(files: &[(&str, &[u8], u32)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, data, mode) in files {
        let mut header = vec![0; BLOCK];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(format!("{mode:07o}").as_bytes());
        header[108..115].copy_from_slice(b"0000000");
        header[116..123].copy_from_slice(b"0000000");
        header[124..135].copy_from_slice(format!("{:011o}", data.len()).as_bytes());
        header[136..147].copy_from_slice(b"00000001000");
        header[156] = if name.ends_with('/') { b'5' } else { b'0' };
        header[257..265].copy_from_slice(b"ustar\x0000");
        header[148..156].copy_from_slice(b"        ");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        bytes.extend(header);
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    }
    bytes.extend([0; 2 * BLOCK]);
    bytes
}

/// Bytes that no compression makes shorter, the same each time.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut seed = seed | 1;
    let mut next = || {
        // xorshift64
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as u8
    };
    (0..length).map(|_| next()).collect()
}
