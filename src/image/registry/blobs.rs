//! Blobs: layers and configurations, as they come.

use super::answer::{Status, retry, status};
use super::client::{Client, Content, Request};
use crate::storage::digest::Digest;
use anyhow::{Context, Result, anyhow};
use std::io::Read;
use std::time::Duration;
use ureq::http::{Method, StatusCode};

/// A connection that breaks is taken up again this often without any byte in between.
const ATTEMPTS: u32 = 5;
const CHUNK: usize = 256 * 1024;

impl Client {
    /// Fetches a blob of a known length piece by piece. A connection that breaks is taken up where it broke. More bytes
    /// than announced are an error; the digest is for `sink` to check.
    pub fn blob(&self, digest: &Digest, size: u64, mut sink: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let (mut at, mut failures) = (0, 0);
        let mut buffer = vec![0; CHUNK];
        loop {
            let before = at;
            match self.blob_from(digest, size, &mut at, &mut buffer, &mut sink) {
                Ok(()) => return Ok(()),
                Err(Failed::Here(error)) => return Err(error),
                Err(Failed::There(error)) => {
                    failures = if at > before { 1 } else { failures + 1 };
                    if failures >= ATTEMPTS {
                        return Err(error).with_context(|| format!("blob {digest}: after {at} of {size} bytes"));
                    }
                    std::thread::sleep(Duration::from_millis(100 << failures));
                }
            }
        }
    }

    fn blob_from(
        &self,
        digest: &Digest,
        size: u64,
        at: &mut u64,
        buffer: &mut [u8],
        sink: &mut impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<(), Failed> {
        let range = format!("bytes={at}-");
        let headers: &[(&str, &str)] = if *at > 0 { &[("Range", &range)] } else { &[] };
        let url = self.address(&format!("blobs/{digest}"));
        // `get` tries again by itself.
        let response = self.get(&Method::GET, &url, headers).map_err(Failed::Here)?;
        // A registry that does not know ranges begins again.
        let mut skip = if response.status() == StatusCode::PARTIAL_CONTENT { 0 } else { *at };
        let mut body = response.into_body().into_with_config().limit(u64::MAX).reader();
        loop {
            let length = match body.read(buffer) {
                Ok(0) if *at == size => return Ok(()),
                Ok(0) => return Err(Failed::There(anyhow!("blob {digest}: ended after {at} of {size} bytes"))),
                Ok(length) => length,
                Err(error) => return Err(Failed::There(anyhow!(error).context(format!("blob {digest}")))),
            };
            let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(length);
            skip -= skipped as u64;
            let bytes = &buffer[skipped..length];
            if *at + bytes.len() as u64 > size {
                return Err(Failed::Here(anyhow!(
                    "blob {digest}: longer than the {size} bytes that its manifest says"
                )));
            }
            sink(bytes).map_err(Failed::Here)?;
            *at += bytes.len() as u64;
        }
    }

    /// True if the repository has a blob. Asked by whoever is going to push: some registries know a repository that is
    /// still to be made only to those who may make it.
    pub fn has_blob(&self, digest: &Digest) -> Result<bool> {
        let scope = self.push_scope();
        let request = Request { method: Method::HEAD, headers: &[], body: Content::None, scope: &scope };
        match retry(|| self.exchange(&request, &self.address(&format!("blobs/{digest}")))) {
            Ok(_) => Ok(true),
            Err(error) if status(&error) == Some(Status::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Where the fault is: on the way, where another attempt may help, or not.
enum Failed {
    There(anyhow::Error),
    Here(anyhow::Error),
}
