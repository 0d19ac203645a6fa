//! Requests to one registry, for one repository.
//!
//! Credentials go to the registry they are for and to a token service of the same domain, never along a redirect to
//! another host (CVE-2020-15157), and never over plain HTTP to a registry that is not said to be insecure.

use super::challenge::{self, Challenge};
use super::{tls, token};
use crate::error::Advise;
use crate::image::credentials::Credentials;
use crate::image::reference::{DOCKER_HUB, Reference};
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use ureq::http::{self, Response, StatusCode, Uri};
use ureq::{Agent, Body};

/// How long a registry may take for a small answer, or to begin a large one.
pub const TIMEOUT: Duration = Duration::from_secs(60);
/// How long a connection may bring nothing.
const IDLE: Duration = Duration::from_secs(60);
/// As many as browsers follow.
const MAX_REDIRECTS: usize = 10;
const ATTEMPTS: u32 = 5;
/// The longest answer that is read for its words.
const MAX_ERROR: u64 = 16 * 1024;
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
    challenge: Option<Challenge>,
    /// Authorization headers by scope.
    tokens: Mutex<HashMap<String, String>>,
}

/// The status of an answer that is no success.
#[derive(Debug)]
pub struct HttpError {
    status: StatusCode,
    said: String,
    retry_after: Option<Duration>,
}

/// The status of a failed request, to be told apart by callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// 404.
    NotFound,
    /// 401 or 403.
    Denied,
    /// Any other.
    Other,
}

impl HttpError {
    /// Reads what an answer says: the registry's own words if it has some.
    pub fn of(response: &mut Response<Body>) -> HttpError {
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        // A date is also possible; then the usual time is waited.
        let retry_after = header("retry-after").and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let status = response.status();
        let text = response.body_mut().with_config().limit(MAX_ERROR).read_to_string().unwrap_or_default();
        let errors: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let said = match &errors["errors"][0] {
            serde_json::Value::Null => errors["details"].as_str().or(errors["message"].as_str()).map(str::to_owned),
            first => first["message"].as_str().or(first["code"].as_str()).map(str::to_owned),
        };
        HttpError { status, said: said.unwrap_or_default(), retry_after }
    }

    /// What it means.
    pub fn kind(&self) -> Status {
        match self.status {
            StatusCode::NOT_FOUND => Status::NotFound,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Status::Denied,
            _ => Status::Other,
        }
    }

    fn is_passing(&self) -> bool {
        self.status.is_server_error()
            || matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if self.said.is_empty() { Ok(()) } else { write!(f, ": {}", self.said) }
    }
}

impl std::error::Error for HttpError {}

/// The status in an error's chain, if a registry has answered.
pub fn status(error: &anyhow::Error) -> Option<Status> {
    error.chain().find_map(|cause| cause.downcast_ref::<HttpError>()).map(HttpError::kind)
}

impl Client {
    /// Finds out how the registry is spoken to, and what it asks for.
    pub fn connect(image: &Reference, access: &Access) -> Result<Client> {
        let registry = &image.registry;
        let host = if registry == DOCKER_HUB { DOCKER_HOST } else { registry };
        // As docker: what is on this machine may do without a certificate.
        let insecure = !access.tls_verify.unwrap_or(!is_loopback(host));
        let agent = agent(registry, access, !insecure)?;
        let mut bases = vec![format!("https://{host}")];
        bases.extend(insecure.then(|| format!("http://{host}")));
        let mut failed = None;
        for base in bases {
            match retry(|| Ok(agent.get(format!("{base}/v2/")).call()?)) {
                Ok(response) => {
                    let header = response.headers().get("www-authenticate").and_then(|value| value.to_str().ok());
                    return Ok(Client {
                        registry: registry.clone(),
                        repository: image.repository.clone(),
                        base,
                        insecure,
                        challenge: header.and_then(challenge::parse),
                        agent,
                        credentials: access.credentials.clone(),
                        tokens: Mutex::default(),
                    });
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        let failed = failed.unwrap_or_else(|| anyhow!("no address"));
        let by_tls = !insecure && is_about_tls(&failed);
        Err(failed).with_context(|| format!("registry {host}")).maybe_hint(|| {
            by_tls.then(|| {
                "--tls-verify=false allows a registry without a valid certificate, or with plain HTTP".to_owned()
            })
        })
    }

    /// The registry's name.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path of the repository.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// What speaks HTTP.
    pub(super) fn agent(&self) -> &Agent {
        &self.agent
    }

    pub(super) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// The address of something in the repository.
    pub fn address(&self, path: &str) -> String {
        format!("{}/v2/{}/{path}", self.base, self.repository)
    }

    /// True for addresses that credentials may be sent to: the registry itself, or another host of its domain, by the
    /// same or a better way.
    pub(super) fn trusts(&self, uri: &Uri) -> bool {
        let own: Uri = match self.base.parse() {
            Ok(own) => own,
            Err(_) => return false,
        };
        let host = |uri: &Uri| uri.host().unwrap_or_default().to_ascii_lowercase();
        let same_origin = host(uri) == host(&own) && uri.port_u16() == own.port_u16() && uri.scheme() == own.scheme();
        same_origin || (uri.scheme_str() == Some("https") && same_site(&host(uri), &host(&own)))
    }

    pub(super) fn check_scheme(&self, uri: &Uri) -> Result<()> {
        match uri.scheme_str() {
            Some("https") => Ok(()),
            Some("http") if self.insecure => Ok(()),
            Some("http") => bail!("plain HTTP, and the registry is not said to be insecure"),
            _ => bail!("neither http nor https"),
        }
    }

    /// The Authorization header for a scope, once the registry has asked for one.
    fn authorization(&self, scope: &str) -> Result<Option<String>> {
        match (&self.challenge, &self.credentials) {
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
                let token = retry(|| token::bearer(self, realm, service.as_deref(), scope))?;
                tokens.insert(scope.to_owned(), token.clone());
                Ok(Some(token))
            }
        }
    }

    /// The Authorization header for changes.
    pub(super) fn push_authorization(&self) -> Result<Option<String>> {
        self.authorization(&format!("repository:{}:pull,push", self.repository))
    }

    fn forget(&self, scope: &str) {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).remove(scope);
    }

    /// A GET or HEAD, followed through redirects and tried again where that may help. `headers` go to every host.
    pub fn get(&self, method: &http::Method, url: &str, headers: &[(&str, &str)]) -> Result<Response<Body>> {
        let scope = format!("repository:{}:pull", self.repository);
        retry(|| self.follow(method, url, headers, &scope))
    }

    fn follow(
        &self,
        method: &http::Method,
        url: &str,
        headers: &[(&str, &str)],
        scope: &str,
    ) -> Result<Response<Body>> {
        let mut uri: Uri = url.parse().with_context(|| format!("{url:?}: not an address"))?;
        let mut authenticated = false;
        for _ in 0..MAX_REDIRECTS {
            let own = self.is_own(&uri);
            let mut request = http::Request::builder().method(method).uri(&uri);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            if own {
                if let Some(authorization) = self.authorization(scope)? {
                    request = request.header("Authorization", authorization);
                }
            }
            let mut response = self.agent.run(request.body(())?)?;
            match response.status() {
                status if status.is_success() => return Ok(response),
                StatusCode::UNAUTHORIZED if own && self.challenge.is_some() && !authenticated => {
                    // A token may have run out.
                    authenticated = true;
                    self.forget(scope);
                }
                status if status.is_redirection() => uri = self.redirected(&uri, &response)?,
                _ => return Err(self.explained(HttpError::of(&mut response))),
            }
        }
        bail!("{url}: redirected more than {MAX_REDIRECTS} times")
    }

    /// True for the registry itself, whose requests are authenticated.
    pub(super) fn is_own(&self, uri: &Uri) -> bool {
        self.base.parse::<Uri>().is_ok_and(|own| own.authority() == uri.authority() && own.scheme() == uri.scheme())
    }

    /// Where a redirect leads.
    fn redirected(&self, from: &Uri, response: &Response<Body>) -> Result<Uri> {
        let location = response.headers().get("location").and_then(|value| value.to_str().ok());
        let to = resolve(from, location.context("a redirect without a location")?)?;
        self.check_scheme(&to).with_context(|| format!("redirect to {to}"))?;
        ensure!(
            from.scheme_str() != Some("https") || to.scheme_str() == Some("https"),
            "redirect to {to}: from https to plain HTTP"
        );
        Ok(to)
    }

    /// Adds what the user can do.
    pub(super) fn explained(&self, error: HttpError) -> anyhow::Error {
        let denied = error.kind() == Status::Denied;
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

/// True if the other side was reached, and it was not agreed how to speak.
fn is_about_tls(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| match cause.downcast_ref::<ureq::Error>() {
        Some(ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::Pem(_)) => true,
        // rustls gives its errors to whoever reads from the connection.
        Some(ureq::Error::Io(error)) => error.kind() == std::io::ErrorKind::InvalidData,
        _ => false,
    })
}

/// Names in the same registered domain: the last two parts are the same. Addresses have none.
fn same_site(a: &str, b: &str) -> bool {
    let site = |host: &str| {
        let is_name = host.parse::<std::net::IpAddr>().is_err() && !host.starts_with('[');
        let mut parts = host.rsplitn(3, '.');
        match (is_name, parts.next(), parts.next()) {
            (true, Some(last), Some(before)) => Some(format!("{before}.{last}")),
            _ => None,
        }
    };
    a == b || site(a).is_some_and(|site_of_a| Some(site_of_a) == site(b))
}

/// An address that may be relative (RFC 3986, section 5; registries send a whole one or an absolute path).
pub(super) fn resolve(from: &Uri, location: &str) -> Result<Uri> {
    let whole = if location.starts_with("//") {
        format!("{}:{location}", from.scheme_str().unwrap_or("https"))
    } else if location.starts_with('/') {
        let authority = from.authority().context("no host")?;
        format!("{}://{authority}{location}", from.scheme_str().unwrap_or("https"))
    } else {
        location.to_owned()
    };
    let uri: Uri = whole.parse().with_context(|| format!("{location:?}: not an address"))?;
    ensure!(uri.host().is_some() && uri.scheme().is_some(), "{location:?}: not an address with a host");
    Ok(uri)
}

fn is_loopback(host: &str) -> bool {
    let uri: Result<Uri, _> = format!("https://{host}").parse();
    let host = uri.ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn agent(registry: &str, access: &Access, verify: bool) -> Result<Agent> {
    let config = Agent::config_builder()
        .user_agent(concat!("rbox/", env!("CARGO_PKG_VERSION")))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_recv_response(Some(TIMEOUT))
        .timeout_per_read(Some(IDLE))
        .timeout_per_write(Some(IDLE))
        .tls_config(tls::config(registry, access.cert_dir.as_deref(), verify)?);
    Ok(config.build().new_agent())
}

/// Tries again what may pass: a broken connection, a busy registry.
pub(super) fn retry<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    for number in 1.. {
        let error = match attempt() {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let wait = match passing(&error) {
            Some(wait) if number < ATTEMPTS => wait.unwrap_or(Duration::from_millis(200 << number)),
            _ => return Err(error),
        };
        std::thread::sleep(wait.min(Duration::from_secs(30)));
    }
    bail!("no attempt")
}

/// `Some` if another attempt may help, with the time that the registry asks for.
pub(super) fn passing(error: &anyhow::Error) -> Option<Option<Duration>> {
    // Who speaks another language will do so in a second, too.
    if is_about_tls(error) {
        return None;
    }
    for cause in error.chain() {
        if let Some(http) = cause.downcast_ref::<HttpError>() {
            return http.is_passing().then_some(http.retry_after);
        }
        if let Some(error) = cause.downcast_ref::<ureq::Error>() {
            return match error {
                // A name that is not there, a port where nobody listens: they will not be there in a second either.
                ureq::Error::Io(error) => (error.kind() != std::io::ErrorKind::ConnectionRefused).then_some(None),
                ureq::Error::Timeout(_) | ureq::Error::Protocol(_) | ureq::Error::ConnectionFailed => Some(None),
                _ => None,
            };
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_stay_in_the_domain() {
        for (a, b, same) in [
            ("auth.docker.io", "registry-1.docker.io", true),
            ("gitlab.com", "registry.gitlab.com", true),
            ("evil.com", "registry.gitlab.com", false),
            ("gitlab.com.evil.com", "registry.gitlab.com", false),
            ("localhost", "localhost", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("10.0.0.1", "11.0.0.1", false),
            ("com", "gitlab.com", false),
        ] {
            assert_eq!(same_site(a, b), same, "{a} {b}");
        }
    }

    #[test]
    fn addresses_are_resolved() {
        let from: Uri = "https://a.example:5000/v2/x/blobs/y".parse().expect("valid");
        for (location, wanted) in [
            ("/v2/z?q=1", "https://a.example:5000/v2/z?q=1"),
            ("http://b.example/z", "http://b.example/z"),
            ("//b.example/z", "https://b.example/z"),
        ] {
            assert_eq!(resolve(&from, location).expect("valid").to_string(), wanted);
        }
        assert!(resolve(&from, "z").is_err());
    }

    #[test]
    fn loopback() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.8.8.8", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example", "128.0.0.1", "[::2]", "quay.io"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
