//! Manifests and indexes, by tag or digest.

use super::answer::retry;
use super::client::{Client, Content, Request};
use crate::storage::digest::{Digest, Hasher};
use anyhow::{Context, Result, ensure};
use ureq::http::Method;

/// Registries take no larger ones (distribution-spec, "Pushing Manifests").
pub const MAX_MANIFEST: u64 = 4 << 20;

/// What rbox understands, in the order of preference.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// A manifest or an index as it came.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Every byte, for the digest is over them.
    pub bytes: Vec<u8>,
    /// What the registry says it is.
    pub media_type: String,
    /// The digest of the bytes.
    pub digest: Digest,
}

impl Client {
    /// Fetches a manifest by tag or digest. With a digest the bytes are checked.
    pub fn manifest(&self, version: &str) -> Result<Fetched> {
        let url = self.address(&format!("manifests/{version}"));
        let mut response = self.get(&Method::GET, &url, &[("Accept", ACCEPT)])?;
        let media_type = media_type(&response);
        let bytes = response
            .body_mut()
            .with_config()
            .limit(MAX_MANIFEST)
            .read_to_vec()
            .with_context(|| format!("manifest {version}: of at most {MAX_MANIFEST} bytes"))?;
        let digest = match version.parse::<Digest>() {
            Ok(wanted) => {
                let mut hasher = Hasher::new(wanted.algorithm());
                hasher.update(&bytes);
                let got = hasher.finish();
                ensure!(got == wanted, "manifest {wanted}: what came has another digest: {got}");
                got
            }
            Err(_) => Digest::of(&bytes),
        };
        Ok(Fetched { bytes, media_type, digest })
    }

    /// The digest that a tag has now.
    pub fn digest_of(&self, version: &str) -> Result<Digest> {
        let url = self.address(&format!("manifests/{version}"));
        let response = self.get(&Method::HEAD, &url, &[("Accept", ACCEPT)])?;
        match response.headers().get("docker-content-digest").and_then(|value| value.to_str().ok()) {
            Some(digest) => digest.parse(),
            // Not every registry says it.
            None => Ok(self.manifest(version)?.digest),
        }
    }

    /// Pushes a manifest under a tag or its digest. The registry must have read the same bytes.
    pub fn put_manifest(&self, version: &str, bytes: &[u8], media_type: &str, digest: &Digest) -> Result<()> {
        let url = self.address(&format!("manifests/{version}"));
        let (scope, headers) = (self.push_scope(), [("Content-Type", media_type)]);
        let request = Request { method: Method::PUT, headers: &headers, body: Content::Bytes(bytes), scope: &scope };
        let response = retry(|| self.exchange(&request, &url)).with_context(|| format!("manifest {version}"))?;
        // Not every registry says it.
        if let Some(got) = response.headers().get("docker-content-digest") {
            let got = String::from_utf8_lossy(got.as_bytes());
            ensure!(got == digest.to_string(), "manifest {version}: {digest} was sent, and the registry has {got}");
        }
        Ok(())
    }
}

fn media_type(response: &ureq::http::Response<ureq::Body>) -> String {
    let header = response.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    header.split(';').next().unwrap_or_default().trim().to_owned()
}
