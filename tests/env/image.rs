//! Images for tests, written into a store by hand: an OCI layout is all that there is to it.

use super::Env;
use rbox::storage::digest::Digest;
use serde_json::{Value, json};
use std::path::Path;

const BLOCK: usize = 512;

/// A tar archive by hand.
#[derive(Default)]
pub struct Archive(Vec<u8>);

impl Archive {
    pub fn directory(self, path: &str, mode: u32, owner: u32) -> Archive {
        self.entry(path, b'5', mode, owner, b"")
    }

    pub fn file(self, path: &str, mode: u32, owner: u32, data: &[u8]) -> Archive {
        self.entry(path, b'0', mode, owner, data)
    }

    fn entry(mut self, path: &str, kind: u8, mode: u32, owner: u32, data: &[u8]) -> Archive {
        let mut header = vec![0; BLOCK];
        header[..path.len()].copy_from_slice(path.as_bytes());
        header[100..107].copy_from_slice(format!("{mode:07o}").as_bytes());
        for start in [108, 116] {
            // Large numbers are binary (tar(5), "Numeric Extensions").
            header[start..start + 8].copy_from_slice(&(u64::from(owner) | 1 << 63).to_be_bytes());
        }
        header[124..135].copy_from_slice(format!("{:011o}", data.len()).as_bytes());
        header[136..147].copy_from_slice(b"00000001000");
        header[156] = kind;
        header[257..265].copy_from_slice(b"ustar\x0000");
        header[148..156].copy_from_slice(b"        ");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.0.extend(header);
        self.0.extend(data);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        self
    }

    pub fn bytes(mut self) -> Vec<u8> {
        self.0.extend([0; 2 * BLOCK]);
        self.0
    }
}

/// The lowest layer of most: /guest.
pub fn base() -> Archive {
    let guest = std::fs::read(super::program("rbox-guest")).expect("the guest");
    Archive::default().file("guest", 0o755, 0, &guest).directory("tmp/", 0o1777, 0)
}

/// Puts an image into the store of a test; the only one there. The lowest layer comes first.
pub fn put(env: &Env, name: &str, layers: Vec<Archive>, config: Value) {
    put_into(&env.path("data/rbox"), name, layers, config);
}

/// The same for any data directory of rbox.
pub fn put_into(data: &Path, name: &str, layers: Vec<Archive>, config: Value) {
    let images = data.join("images");
    std::fs::create_dir_all(images.join("blobs/sha256")).unwrap();
    super::set_mode(data, 0o700);
    let blob = |kind: &str, bytes: &[u8]| {
        let digest = Digest::of(bytes);
        std::fs::write(images.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
        json!({ "mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest.to_string(), "size": bytes.len() })
    };
    let layers: Vec<Value> = layers.into_iter().map(|layer| blob("layer.v1.tar", &layer.bytes())).collect();
    let diff_ids: Vec<&Value> = layers.iter().map(|layer| &layer["digest"]).collect();
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": config,
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = blob("config.v1+json", config.to_string().as_bytes());
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": layers,
    });
    let mut manifest = blob("manifest.v1+json", manifest.to_string().as_bytes());
    manifest["annotations"] =
        json!({ "org.opencontainers.image.ref.name": format!("docker.io/library/{name}:latest") });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [manifest],
    });
    std::fs::write(images.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    std::fs::write(images.join("index.json"), index.to_string()).unwrap();
}
