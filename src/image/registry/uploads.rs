//! Blobs that are sent (distribution-spec, "Pushing blobs"): mounted where the registry has them in another repository,
//! else in one piece, and from a new session when the connection breaks.

use super::answer::{Status, retry, status};
use super::client::{Client, Content, Open, Request};
use crate::storage::digest::Digest;
use anyhow::{Context, Result, bail, ensure};
use std::cell::Cell;
use ureq::ResponseExt;
use ureq::http::{Method, StatusCode, Uri};

/// How a blob came to be in the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// Its bytes were sent.
    Sent,
    /// The registry had them in the other repository.
    Mounted,
}

/// What a registry answers when a blob is announced.
enum Begun {
    Mounted,
    /// Where it is to be sent.
    Upload(Uri),
}

impl Client {
    /// Pushes a blob of so many bytes. `mount_from`: another repository of the registry that may have it. `open` is
    /// called for each attempt.
    pub fn push_blob(&self, digest: &Digest, size: u64, mount_from: Option<&str>, open: &Open<'_>) -> Result<Pushed> {
        let mount_from = Cell::new(mount_from);
        retry(|| {
            let to = match self.begin(digest, mount_from.take())? {
                Begun::Mounted => return Ok(Pushed::Mounted),
                Begun::Upload(to) => to,
            };
            let separator = if to.query().is_some() { '&' } else { '?' };
            let url = format!("{to}{separator}digest={digest}");
            let (scope, headers) = (self.push_scope(), [("Content-Type", "application/octet-stream")]);
            let body = Content::Stream(size, open);
            let sent = self.exchange(&Request { method: Method::PUT, headers: &headers, body, scope: &scope }, &url)?;
            let status = sent.status();
            ensure!(status != StatusCode::ACCEPTED, "the registry answers {status} and not that it has the blob");
            Ok(Pushed::Sent)
        })
    }

    /// Begins a session. Who may not read the other repository sends the blob.
    fn begin(&self, digest: &Digest, mount_from: Option<&str>) -> Result<Begun> {
        if let Some(from) = mount_from {
            let scope = format!("{} repository:{from}:pull", self.push_scope());
            match self.begin_at(&format!("blobs/uploads/?mount={digest}&from={from}"), &scope) {
                Err(error) if matches!(status(&error), Some(Status::Denied | Status::NotFound)) => {}
                begun => return begun,
            }
        }
        match self.begin_at("blobs/uploads/", &self.push_scope())? {
            Begun::Mounted => bail!("the registry says that it has the blob, which it was not sent"),
            begun => Ok(begun),
        }
    }

    fn begin_at(&self, path: &str, scope: &str) -> Result<Begun> {
        let request = Request { method: Method::POST, headers: &[], body: Content::Bytes(&[]), scope };
        let response = self.exchange(&request, &self.address(path))?;
        match response.status() {
            StatusCode::CREATED => Ok(Begun::Mounted),
            StatusCode::ACCEPTED => {
                let to = self.next(response.get_uri(), &response).context("the place for the blob")?;
                Ok(Begun::Upload(to))
            }
            status => bail!("the registry answers {status} when a blob is announced"),
        }
    }
}
