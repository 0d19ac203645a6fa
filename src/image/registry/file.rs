//! A file by its address, for `import`: no registry, no credentials.

use super::address::resolve;
use super::agent::{Agent, Time};
use super::answer::HttpError;
use super::client::Access;
use anyhow::{Context, Result, bail, ensure};
use std::io::Read;
use ureq::http::{Request, Uri};

/// As many as browsers follow.
const MAX_REDIRECTS: usize = 10;

/// Begins to fetch a file over HTTP or HTTPS; redirects are followed, but not from HTTPS to HTTP.
pub fn fetch(url: &str) -> Result<Box<dyn Read>> {
    let mut uri: Uri = url.parse().with_context(|| format!("{url:?}: not an address"))?;
    for _ in 0..=MAX_REDIRECTS {
        let scheme = uri.scheme_str().unwrap_or_default();
        ensure!(matches!(scheme, "http" | "https"), "{uri}: neither http nor https");
        let host = uri.authority().map(|authority| authority.to_string()).unwrap_or_default();
        let agent = Agent::new(&host, &Access::default(), true)?;
        let mut answer = agent.run(Request::get(&uri).body(())?, Time::Stream).with_context(|| url.to_owned())?;
        if answer.status().is_success() {
            return Ok(Box::new(answer.into_body().into_with_config().limit(u64::MAX).reader()));
        }
        if !answer.status().is_redirection() {
            return Err(HttpError::of(&mut answer)).with_context(|| url.to_owned());
        }
        let location = answer.headers().get("location").and_then(|value| value.to_str().ok());
        let to = resolve(&uri, location.with_context(|| format!("{url}: a redirect without a location"))?)?;
        ensure!(scheme != "https" || to.scheme_str() == Some("https"), "{url}: redirected from https to plain HTTP");
        uri = to;
    }
    bail!("{url}: redirected more than {MAX_REDIRECTS} times")
}
