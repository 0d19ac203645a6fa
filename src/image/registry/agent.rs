//! What speaks HTTP: time limits, certificates, the proxy on the way.

use super::client::Access;
use super::proxy::Proxies;
use super::tls;
use anyhow::{Context, Result};
use std::io::Read;
use std::time::Duration;
use ureq::http::{Request, Response, Uri};
use ureq::{AsSendBody, Body, SendBody};

/// How long a registry may take for a small answer, or to begin a large one.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long a connection may bring nothing.
const IDLE: Duration = Duration::from_secs(60);
/// How long a registry may take to store what it was sent.
const STORING: Duration = Duration::from_secs(15 * 60);

/// Sends requests, one at a time and as they are: no redirect is followed, no status is an error.
pub struct Agent {
    ureq: ureq::Agent,
    proxies: Proxies,
}

/// How much time an exchange has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// All of a small exchange is over within [`TIMEOUT`].
    Short,
    /// Each piece comes within [`IDLE`].
    Stream,
    /// The answer comes when what was sent is stored.
    Store,
}

impl Agent {
    /// An agent for one registry. `verify`: whether its certificate must be valid.
    pub fn new(registry: &str, access: &Access, verify: bool) -> Result<Agent> {
        let config = ureq::Agent::config_builder()
            .user_agent(concat!("rbox/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(TIMEOUT))
            .timeout_per_read(Some(IDLE))
            .timeout_per_write(Some(IDLE))
            // Chosen for each address.
            .proxy(None)
            .tls_config(tls::config(registry, access.cert_dir.as_deref(), verify)?);
        Ok(Agent { ureq: config.build().new_agent(), proxies: Proxies::from_env()? })
    }

    /// Sends a request and waits for the head of its answer.
    pub fn run(&self, request: Request<impl AsSendBody>, time: Time) -> Result<Response<Body>> {
        let proxy = self.proxies.of(request.uri());
        let configured = self.ureq.configure_request(request).proxy(proxy.map(|proxy| proxy.to.clone()));
        let configured = match time {
            Time::Short => configured.timeout_global(Some(TIMEOUT)),
            Time::Stream => configured,
            Time::Store => configured.timeout_recv_response(Some(STORING)).timeout_per_read(Some(STORING)),
        };
        let answer = self.ureq.run(configured.build());
        match proxy {
            // It may be the one that cannot be reached. Its address is shown without the name and password in it.
            Some(proxy) => {
                answer.with_context(|| format!("by way of the proxy {} ({})", proxy.address, proxy.variable))
            }
            None => Ok(answer?),
        }
    }

    /// The same with a body that is read from somewhere; its length must be in the headers.
    pub fn send(&self, request: Request<()>, mut body: impl Read, time: Time) -> Result<Response<Body>> {
        self.run(request.map(|()| SendBody::from_reader(&mut body)), time)
    }
}

/// The path and query of an address of a service, with parameters added: `a=b`, encoded.
pub fn with_query(uri: &Uri, parameters: &[(&str, &str)]) -> String {
    let mut text = uri.to_string();
    for (number, (key, value)) in parameters.iter().enumerate() {
        text.push(if number == 0 && uri.query().is_none() { '?' } else { '&' });
        text.push_str(&format!("{key}={}", encoded(value)));
    }
    text
}

/// Percent-encoded, but for what is plain in queries and forms (RFC 3986, section 2.3).
pub fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut to, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => to.push(char::from(byte)),
            byte => to.push_str(&format!("%{byte:02X}")),
        }
        to
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let uri: Uri = "https://a.example/token?x=y".parse().expect("valid");
        let wanted = "https://a.example/token?x=y&scope=repository%3Aa%2Fb%3Apull%2Cpush&account=%C3%A4%26";
        assert_eq!(with_query(&uri, &[("scope", "repository:a/b:pull,push"), ("account", "ä&")]), wanted);
        let uri: Uri = "https://a.example/token".parse().expect("valid");
        assert_eq!(with_query(&uri, &[("q", "x y")]), "https://a.example/token?q=x%20y");
        assert_eq!(with_query(&uri, &[]), "https://a.example/token");
    }
}
