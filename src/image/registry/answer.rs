//! Answers that are none: what a registry says instead, and whether it may answer otherwise later.

use anyhow::{Result, bail};
use std::fmt;
use std::time::Duration;
use ureq::Body;
use ureq::http::{Response, StatusCode};

const ATTEMPTS: u32 = 5;
/// The longest answer that is read for its words.
const MAX_ERROR: u64 = 16 * 1024;
/// As many characters of it are shown.
const MAX_WORDS: usize = 300;

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
        let said = said.unwrap_or_default().chars().take(MAX_WORDS).collect();
        HttpError { status, said, retry_after }
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

/// True if the other side was reached, and it was not agreed how to speak.
pub fn is_about_tls(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| match cause.downcast_ref::<ureq::Error>() {
        Some(ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::Pem(_)) => true,
        // rustls gives its errors to whoever reads from the connection.
        Some(ureq::Error::Io(error)) => error.kind() == std::io::ErrorKind::InvalidData,
        _ => false,
    })
}

/// Tries again what may pass: a broken connection, a busy registry.
pub fn retry<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
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
fn passing(error: &anyhow::Error) -> Option<Option<Duration>> {
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
                ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => None,
                ureq::Error::Io(error) if is_no_name(error) => None,
                ureq::Error::HostNotFound => None,
                ureq::Error::Io(_) => Some(None),
                ureq::Error::Timeout(_) | ureq::Error::Protocol(_) | ureq::Error::ConnectionFailed => Some(None),
                _ => None,
            };
        }
    }
    None
}

/// True if the resolver says that there is no such name; that it cannot tell at the moment is another answer, which only its
/// words tell from this one (getaddrinfo(3), EAI_AGAIN).
fn is_no_name(error: &std::io::Error) -> bool {
    let text = error.to_string().to_ascii_lowercase();
    text.contains("failed to lookup address") && !text.contains("again") && !text.contains("temporary")
}
