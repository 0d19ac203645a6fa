//! Requests to one registry, for one repository.
//!
//! Credentials go to the registry they are for and to a token service of the same domain, never along a redirect to
//! another host (CVE-2020-15157), and never over plain HTTP to a registry that is not said to be insecure.

use super::address::{is_loopback, origin, resolve, same_site};
use super::agent::{Agent, Time};
use super::answer::{HttpError, Status, is_about_tls, retry};
use super::challenge::{self, Challenge};
use super::token;
use crate::error::Advise;
use crate::image::credentials::Credentials;
use crate::image::reference::{DOCKER_HUB, Reference};
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::collections::HashMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use ureq::Body;
use ureq::http::{self, Method, Response, StatusCode, Uri};

/// As many as browsers follow.
const MAX_REDIRECTS: usize = 10;
/// docker.io is a name only.
const DOCKER_HOST: &str = "registry-1.docker.io";

/// How a registry is spoken to.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// False allows a certificate that is not valid, and plain HTTP.
    pub tls_verify: Option<bool>,
    /// A directory with certificates instead of the usual ones.
    pub cert_dir: Option<PathBuf>,
    /// Name and password, or a token.
    pub credentials: Option<Credentials>,
}

/// A connection to one repository.
pub struct Client {
    registry: String,
    repository: String,
    base: String,
    insecure: bool,
    agent: Agent,
    credentials: Option<Credentials>,
    /// What the registry asks for: with its first answer, or later for what not everybody may do.
    challenge: Mutex<Option<Challenge>>,
    /// Authorization headers by scope.
    tokens: Mutex<HashMap<String, String>>,
}

/// What is asked of a registry.
pub(super) struct Request<'a, 'o> {
    pub method: Method,
    /// They go to every host that a redirect leads to.
    pub headers: &'a [(&'a str, &'a str)],
    pub body: Content<'a, 'o>,
    /// What a token has to be good for: `repository:NAME:ACTIONS`, several with spaces between.
    pub scope: &'a str,
}

/// Makes a body anew, for each time that it is sent.
pub(super) type Open<'a> = dyn Fn() -> Result<Box<dyn Read + 'a>> + 'a;

/// What is sent with it.
pub(super) enum Content<'a, 'o> {
    None,
    Bytes(&'a [u8]),
    /// So many bytes.
    Stream(u64, &'a Open<'o>),
}

impl Client {
    /// Finds out how the registry is spoken to, and what it asks for.
    pub fn connect(image: &Reference, access: &Access) -> Result<Client> {
        Client::to_registry(&image.registry, &image.repository, access)
    }

    /// The same for a registry as a whole, with `repository` empty.
    pub fn to_registry(registry: &str, repository: &str, access: &Access) -> Result<Client> {
        let host = if registry == DOCKER_HUB { DOCKER_HOST } else { registry };
        // As docker: what is on this machine may do without a certificate.
        let insecure = !access.tls_verify.unwrap_or(!is_loopback(host));
        let agent = Agent::new(registry, access, !insecure)?;
        let mut bases = vec![format!("https://{host}")];
        bases.extend(insecure.then(|| format!("http://{host}")));
        let ping = || -> Result<(String, Response<Body>)> {
            let mut failed = None;
            for base in &bases {
                match agent.run(http::Request::get(format!("{base}/v2/")).body(())?, Time::Short) {
                    Ok(response) => return Ok((base.clone(), response)),
                    // Of two errors the first is told: plain HTTP is only tried.
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
            Err(failed.unwrap_or_else(|| anyhow!("no address")))
        };
        let failed = match retry(ping) {
            Ok((base, response)) => {
                return Ok(Client {
                    registry: registry.to_owned(),
                    repository: repository.to_owned(),
                    base,
                    insecure,
                    challenge: Mutex::new(challenge_of(&response)),
                    agent,
                    credentials: access.credentials.clone(),
                    tokens: Mutex::default(),
                });
            }
            Err(error) => error,
        };
        let by_tls = !insecure && is_about_tls(&failed);
        Err(failed).with_context(|| format!("registry {host}")).maybe_hint(|| {
            by_tls.then(|| {
                format!(
                    "~/.config/containers/certs.d/{host} or --cert-dir may hold the certificate of its own authority; \
                     --tls-verify=false allows any, and plain HTTP"
                )
            })
        })
    }

    /// The registry's name.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// What speaks HTTP.
    pub(super) fn agent(&self) -> &Agent {
        &self.agent
    }

    pub(super) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// The address of something of the registry.
    pub(super) fn root(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }

    /// The address of something in the repository.
    pub fn address(&self, path: &str) -> String {
        format!("{}/v2/{}/{path}", self.base, self.repository)
    }

    /// What a token for reading is good for.
    pub(super) fn pull_scope(&self) -> String {
        format!("repository:{}:pull", self.repository)
    }

    /// What a token for changes is good for.
    pub(super) fn push_scope(&self) -> String {
        format!("repository:{}:pull,push", self.repository)
    }

    /// True for addresses that credentials may be sent to: the registry itself, or another host of its domain, by the
    /// same or a better way.
    pub(super) fn trusts(&self, uri: &Uri) -> bool {
        let own: Uri = match self.base.parse() {
            Ok(own) => own,
            Err(_) => return false,
        };
        origin(uri) == origin(&own) || (uri.scheme_str() == Some("https") && same_site(&origin(uri).1, &origin(&own).1))
    }

    pub(super) fn check_scheme(&self, uri: &Uri) -> Result<()> {
        match uri.scheme_str() {
            Some("https") => Ok(()),
            Some("http") if self.insecure => Ok(()),
            Some("http") => bail!("plain HTTP, and the registry is not said to be insecure"),
            _ => bail!("neither http nor https"),
        }
    }

    pub(super) fn challenge(&self) -> Option<Challenge> {
        self.challenge.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The Authorization header for a scope, once the registry has asked for one.
    fn authorization(&self, scope: &str) -> Result<Option<String>> {
        match (self.challenge(), &self.credentials) {
            (None, _) => Ok(None),
            (Some(Challenge::Basic), Some(Credentials::Password { user, password })) => {
                Ok(Some(token::basic(user, password)))
            }
            (Some(Challenge::Basic), _) => Ok(None),
            (Some(Challenge::Bearer { realm, service, .. }), _) => {
                let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(token) = tokens.get(scope) {
                    return Ok(Some(token.clone()));
                }
                let token = retry(|| token::bearer(self, &realm, service.as_deref(), scope))?;
                tokens.insert(scope.to_owned(), token.clone());
                Ok(Some(token))
            }
        }
    }

    /// A GET or HEAD in the repository, tried again where that may help.
    pub fn get(&self, method: &Method, url: &str, headers: &[(&str, &str)]) -> Result<Response<Body>> {
        let scope = self.pull_scope();
        let request = Request { method: method.clone(), headers, body: Content::None, scope: &scope };
        retry(|| self.exchange(&request, url))
    }

    /// One request, authenticated and followed through redirects. Whatever is no success is an error.
    pub(super) fn exchange(&self, request: &Request<'_, '_>, url: &str) -> Result<Response<Body>> {
        let mut uri: Uri = url.parse().with_context(|| format!("{url:?}: not an address"))?;
        let mut authenticated = false;
        for _ in 0..MAX_REDIRECTS {
            let own = self.is_own(&uri);
            let authorization = if own { self.authorization(request.scope)? } else { None };
            let mut response = self.run(request, &uri, authorization)?;
            match response.status() {
                status if status.is_success() => return Ok(response),
                StatusCode::UNAUTHORIZED if own && !authenticated && self.is_asked(&response, request.scope) => {
                    authenticated = true;
                }
                status if is_redirect(status, &request.method) => uri = self.redirected(&uri, &response)?,
                _ => return Err(self.explained(HttpError::of(&mut response))),
            }
        }
        bail!("{url}: redirected more than {MAX_REDIRECTS} times")
    }

    fn run(&self, request: &Request<'_, '_>, uri: &Uri, authorization: Option<String>) -> Result<Response<Body>> {
        let mut head = http::Request::builder().method(&request.method).uri(uri);
        for (name, value) in request.headers {
            head = head.header(*name, *value);
        }
        if let Some(authorization) = authorization {
            head = head.header("Authorization", authorization);
        }
        match request.body {
            Content::None => self.agent.run(head.body(())?, Time::Stream),
            Content::Bytes(bytes) => self.agent.run(head.body(bytes)?, Time::Stream),
            Content::Stream(size, open) => {
                self.agent.send(head.header("Content-Length", size).body(())?, open()?, Time::Store)
            }
        }
    }

    /// True if what an answer asks for may yet be had: a token may have run out, and some registries ask only those who
    /// want more than to read.
    fn is_asked(&self, response: &Response<Body>, scope: &str) -> bool {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).remove(scope);
        let mut challenge = self.challenge.lock().unwrap_or_else(PoisonError::into_inner);
        *challenge = challenge_of(response).or(challenge.take());
        challenge.is_some()
    }

    /// True for the registry itself, whose requests are authenticated.
    pub(super) fn is_own(&self, uri: &Uri) -> bool {
        self.base.parse::<Uri>().is_ok_and(|own| origin(&own) == origin(uri))
    }

    /// Where a redirect leads.
    fn redirected(&self, from: &Uri, response: &Response<Body>) -> Result<Uri> {
        self.next(from, response).context("redirect")
    }

    /// The `Location` of an answer, if it may be followed.
    pub(super) fn next(&self, from: &Uri, response: &Response<Body>) -> Result<Uri> {
        let location = response.headers().get("location").and_then(|value| value.to_str().ok());
        let to = resolve(from, location.context("the registry names no location")?)?;
        self.check_scheme(&to).with_context(|| to.to_string())?;
        ensure!(
            from.scheme_str() != Some("https") || to.scheme_str() == Some("https"),
            "{to}: from https to plain HTTP"
        );
        Ok(to)
    }

    /// Adds what the user can do.
    fn explained(&self, error: HttpError) -> anyhow::Error {
        let denied = error.kind() == Status::Denied && !self.repository.is_empty();
        let (has, registry) = (self.credentials.is_some(), &self.registry);
        let hinted: Result<()> = Err(error).maybe_hint(|| {
            denied.then(|| match has {
                true => format!("the credentials for {registry} do not open {}", self.repository),
                false => format!("it may be private, or not exist: rbox login {registry}"),
            })
        });
        hinted.err().unwrap_or_else(|| anyhow!("denied"))
    }
}

fn challenge_of(response: &Response<Body>) -> Option<Challenge> {
    // There may be a header for each.
    let headers = response.headers().get_all("www-authenticate").iter().filter_map(|value| value.to_str().ok());
    challenge::parse(&headers.collect::<Vec<_>>().join(", "))
}

/// Redirects that keep the method, or that change nothing about it (RFC 9110, section 15.4).
fn is_redirect(status: StatusCode, method: &Method) -> bool {
    match status {
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
        status => status.is_redirection() && matches!(*method, Method::GET | Method::HEAD),
    }
}
