//! Tokens for a repository (distribution-spec's companion "Token Authentication Specification").

use super::client::{Client, HttpError, TIMEOUT};
use crate::image::credentials::Credentials;
use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use ureq::http::Uri;

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

/// Gets a token: `Bearer …`.
pub fn bearer(client: &Client, realm: &str, service: Option<&str>, scope: &str) -> Result<String> {
    let uri: Uri = realm.parse().with_context(|| format!("token service {realm:?}: not an address"))?;
    client.check_scheme(&uri).with_context(|| format!("token service {realm}"))?;
    let trusted = client.trusts(&uri);
    let credentials = client.credentials().filter(|_| trusted);
    let mut query = vec![("scope", scope)];
    query.extend(service.map(|service| ("service", service)));
    let request = match credentials {
        Some(Credentials::Identity(token)) => {
            query.extend([("grant_type", "refresh_token"), ("client_id", "rbox"), ("refresh_token", token)]);
            let form = query.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
            client.agent().post(realm).config().timeout_global(Some(TIMEOUT)).build().send_form(form)
        }
        credentials => {
            let mut request = client.agent().get(realm).config().timeout_global(Some(TIMEOUT)).build();
            for (key, value) in query {
                request = request.query(key, value);
            }
            if let Some(Credentials::Password { user, password }) = credentials {
                request = request.query("account", user).header("Authorization", basic(user, password));
            }
            request.call()
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
    let text = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec()?;
    let answer: Answer = serde_json::from_slice(&text).with_context(|| format!("token service {realm}"))?;
    let token = answer.token.or(answer.access_token).with_context(|| format!("token service {realm}: no token"))?;
    Ok(format!("Bearer {token}"))
}
