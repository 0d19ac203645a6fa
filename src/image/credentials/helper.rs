//! Programs that keep credentials: `docker-credential-NAME get|store|erase` (docker-credential-helpers, README.md).

use super::Credentials;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};

/// What a helper says where it has none.
const NOT_FOUND: &str = "credentials not found";
/// The name under which a token is kept that is exchanged for others.
const TOKEN: &str = "<token>";

/// The credentials that a helper has for a registry.
pub fn get(helper: &str, key: &str) -> Result<Option<Credentials>> {
    let Some(text) = call(helper, "get", key)? else { return Ok(None) };
    let answer: Value = serde_json::from_str(&text)
        .map_err(|_| anyhow::anyhow!("docker-credential-{helper}: its answer is no JSON"))?;
    let get = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
    let (user, secret) = (get("Username"), get("Secret"));
    Ok(match user.as_str() {
        "" => None,
        TOKEN => Some(Credentials::Identity(secret)),
        _ => Some(Credentials::Password { user, password: secret }),
    })
}

/// Has a helper keep credentials.
pub fn store(helper: &str, key: &str, credentials: &Credentials) -> Result<()> {
    let (user, secret) = match credentials {
        Credentials::Password { user, password } => (user.as_str(), password),
        Credentials::Identity(token) => (TOKEN, token),
    };
    let input = json!({ "ServerURL": key, "Username": user, "Secret": secret });
    call(helper, "store", &input.to_string())?;
    Ok(())
}

/// Has a helper forget them. False if it had none.
pub fn erase(helper: &str, key: &str) -> Result<bool> {
    // Not every helper says whether there was something.
    if get(helper, key)?.is_none() {
        return Ok(false);
    }
    Ok(call(helper, "erase", key)?.is_some())
}

/// What a helper prints; `None` if it has no such credentials.
fn call(helper: &str, verb: &str, input: &str) -> Result<Option<String>> {
    let name = format!("docker-credential-{helper}");
    ensure!(!helper.is_empty() && !helper.contains('/'), "{name}: not the name of a helper");
    let spawned = Command::new(&name).arg(verb).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = spawned.with_context(|| format!("run {name}"))?;
    if let Some(mut to) = child.stdin.take() {
        // One that does not read its input is judged by its answer.
        let _ = to.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(Some(text));
    }
    // The one error that every helper says in these words.
    if text.contains(NOT_FOUND) {
        return Ok(None);
    }
    if verb == "store" {
        // It has read the secret, and may say it.
        bail!("{name} {verb}: failed ({})", output.status);
    }
    bail!("{name} {verb}: {}", text.trim());
}
