//! Blobs: layers and configurations.

use super::client::{Client, HttpError, Status, resolve, retry, status};
use crate::storage::digest::Digest;
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::io::Read;
use std::time::Duration;
use ureq::http::{Method, Response, StatusCode, Uri};
use ureq::{Body, SendBody};

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

    /// True if the repository has a blob.
    pub fn has_blob(&self, digest: &Digest) -> Result<bool> {
        match self.get(&Method::HEAD, &self.address(&format!("blobs/{digest}")), &[]) {
            Ok(_) => Ok(true),
            Err(error) if status(&error) == Some(Status::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Pushes a blob: mounted from another repository of the registry if that has it, else sent.
    pub fn push_blob(
        &self,
        digest: &Digest,
        size: u64,
        mount_from: Option<&str>,
        open: impl Fn() -> Result<Box<dyn Read>>,
    ) -> Result<()> {
        let mount = mount_from.map(|from| format!("?mount={digest}&from={from}")).unwrap_or_default();
        let mut begun = self.send(&Method::POST, &self.address(&format!("blobs/uploads/{mount}")), &[], &[])?;
        match begun.status() {
            StatusCode::CREATED if mount_from.is_some() => return Ok(()),
            StatusCode::ACCEPTED => {}
            _ => bail!(self.explained(HttpError::of(&mut begun)).context(format!("push blob {digest}"))),
        }
        let location = begun.headers().get("location").and_then(|value| value.to_str().ok());
        let start: Uri = self.address("blobs/uploads/").parse()?;
        let to = resolve(&start, location.context("push: the registry names no place for the blob")?)?;
        self.check_scheme(&to).with_context(|| format!("push to {to}"))?;
        ensure!(self.is_own(&to) || to.scheme_str() == Some("https"), "push to {to}: another host, by plain HTTP");
        let separator = if to.query().is_some() { '&' } else { '?' };
        let url = format!("{to}{separator}digest={digest}");
        let authorization = if self.is_own(&to) { self.push_authorization()? } else { None };
        let mut request = self
            .agent()
            .put(&url)
            .header("Content-Type", "application/octet-stream")
            .header("Content-Length", size.to_string());
        if let Some(authorization) = authorization {
            request = request.header("Authorization", authorization);
        }
        let mut source = open()?;
        let mut sent =
            request.send(SendBody::from_reader(&mut source)).with_context(|| format!("push blob {digest}"))?;
        if sent.status() == StatusCode::CREATED {
            return Ok(());
        }
        bail!(self.explained(HttpError::of(&mut sent)).context(format!("push blob {digest}")))
    }

    /// A request with a small body, authenticated for pushing and tried again where that may help.
    pub(super) fn send(
        &self,
        method: &Method,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response<Body>> {
        let attempt = || {
            let mut request = ureq::http::Request::builder().method(method).uri(url);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            if let Some(authorization) = self.push_authorization()? {
                request = request.header("Authorization", authorization);
            }
            let mut response = self.agent().run(request.body(body)?)?;
            if response.status().is_server_error() {
                return Err(HttpError::of(&mut response).into());
            }
            Ok(response)
        };
        retry(attempt)
    }
}

/// Where the fault is: on the way, where another attempt may help, or not.
enum Failed {
    There(anyhow::Error),
    Here(anyhow::Error),
}
