//! Tokens for a repository (distribution-spec's companion "Token Authentication Specification").

use super::agent::{Time, encoded, with_query};
use super::answer::HttpError;
use super::client::Client;
use crate::image::credentials::Credentials;
use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use ureq::http::{Request, Uri};

/// A token is not longer; it must fit in a header.
const MAX_ANSWER: u64 = 64 * 1024;

/// What a token service answers; both names are in use.
#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
}

/// `Basic …`.
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// Gets a token: `Bearer …`. `scope`: what for; several with spaces between, or none to show who one is.
pub fn bearer(client: &Client, realm: &str, service: Option<&str>, scope: &str) -> Result<String> {
    let uri: Uri = realm.parse().with_context(|| format!("token service {realm:?}: not an address"))?;
    client.check_scheme(&uri).with_context(|| format!("token service {realm}"))?;
    let trusted = client.trusts(&uri);
    let mut parameters: Vec<(&str, &str)> = service.map(|service| ("service", service)).into_iter().collect();
    let request = match client.credentials().filter(|_| trusted) {
        Some(Credentials::Identity(token)) => {
            parameters.extend([("scope", scope), ("grant_type", "refresh_token")]);
            parameters.extend([("client_id", "rbox"), ("refresh_token", token)]);
            let form: Vec<String> = parameters.iter().map(|(key, value)| format!("{key}={}", encoded(value))).collect();
            let head = Request::post(&uri).header("Content-Type", "application/x-www-form-urlencoded");
            client.agent().run(head.body(form.join("&").as_bytes())?, Time::Short)
        }
        credentials => {
            parameters.extend(scope.split(' ').filter(|scope| !scope.is_empty()).map(|scope| ("scope", scope)));
            let mut authorization = None;
            if let Some(Credentials::Password { user, password }) = credentials {
                parameters.push(("account", user));
                authorization = Some(basic(user, password));
            }
            let mut head = Request::get(with_query(&uri, &parameters));
            if let Some(authorization) = authorization {
                head = head.header("Authorization", authorization);
            }
            client.agent().run(head.body(())?, Time::Short)
        }
    };
    let mut response = request.with_context(|| format!("token service {realm}"))?;
    if !response.status().is_success() {
        let error = HttpError::of(&mut response);
        if client.credentials().is_some() && !trusted {
            bail!(
                "{error}; {realm} is another host than the registry {}, so your credentials were not sent there",
                client.registry()
            );
        }
        return Err(error).with_context(|| format!("token service {realm}"));
    }
    let text = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
    let text = text.with_context(|| format!("token service {realm}: of at most {MAX_ANSWER} bytes"))?;
    let answer: Answer = serde_json::from_slice(&text).with_context(|| format!("token service {realm}"))?;
    let token = answer.token.or(answer.access_token).with_context(|| format!("token service {realm}: no token"))?;
    Ok(format!("Bearer {token}"))
}
