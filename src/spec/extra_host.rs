//! `--add-host`: lines of the container's /etc/hosts (docker-run(1), podman-run(1); hosts(5)).

use super::{address, name};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtraHost {
    /// At least one.
    pub names: Vec<String>,
    /// What they lead to.
    pub target: Target,
}

/// Where a name leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// There.
    Address(IpAddr),
    /// docker's `host-gateway`: where the host is found from this container.
    HostGateway,
}

/// Reads `HOST[;HOST…]:IP`, `HOST=IP` (docker since 25.0), an IPv6 address with or without brackets.
pub fn parse(text: &str) -> Result<ExtraHost> {
    let split = text.split_once('=').or_else(|| text.split_once(':'));
    let (names, value) = split.with_context(|| format!("bad format for add-host: \"{text}\""))?;
    if names.is_empty() || names.contains(':') {
        bail!("bad format for add-host: \"{text}\"");
    }
    let names = names.split(';').map(|word| {
        name::dns(word).with_context(|| format!("bad format for add-host: \"{text}\""))?;
        Ok(word.to_owned())
    });
    let names = names.collect::<Result<_>>()?;
    if value == "host-gateway" {
        return Ok(ExtraHost { names, target: Target::HostGateway });
    }
    let bare = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(value);
    let address = address::ip(bare).ok().with_context(|| format!("invalid IP address in add-host: \"{value}\""))?;
    Ok(ExtraHost { names, target: Target::Address(address) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Failure;

    fn shown(text: &str) -> Result<String> {
        let ExtraHost { names, target } = parse(text)?;
        let target = match target {
            Target::Address(address) => address.to_string(),
            Target::HostGateway => "gateway".to_owned(),
        };
        Ok(format!("{target} {}", names.join(" ")))
    }

    #[test]
    fn forms() {
        for (text, line) in [
            ("web:192.0.2.1", "192.0.2.1 web"),
            ("web=192.0.2.1", "192.0.2.1 web"),
            ("web;db.example:192.0.2.1", "192.0.2.1 web db.example"),
            ("web:2001:db8::1", "2001:db8::1 web"),
            ("web:[2001:db8::1]", "2001:db8::1 web"),
            ("web=[::1]", "::1 web"),
            ("web=::1", "::1 web"),
            ("host.docker.internal:host-gateway", "gateway host.docker.internal"),
            ("a;b=host-gateway", "gateway a b"),
            ("my_host:127.0.0.1", "127.0.0.1 my_host"),
        ] {
            assert_eq!(shown(text).expect(text), line);
        }
    }

    #[test]
    fn what_is_refused() {
        for text in ["", "web", ":192.0.2.1", "=192.0.2.1", "a:b=192.0.2.1", ":"] {
            let message = Failure::from(&parse(text).expect_err(text)).message;
            assert_eq!(message, format!("bad format for add-host: \"{text}\""));
        }
        for (text, value) in
            [("a:", ""), ("a:b", "b"), ("a:[::1", "[::1"), ("a:[]", "[]"), ("a:1.2.3.4\nx", "1.2.3.4\nx")]
        {
            let message = Failure::from(&parse(text).expect_err(text)).message;
            assert_eq!(message, format!("invalid IP address in add-host: \"{value}\""));
        }
        let long = format!("{}:192.0.2.1", "a".repeat(254));
        for text in
            ["a b:1.2.3.4", "a\nb:1.2.3.4", "a#:1.2.3.4", "a;:1.2.3.4", ";a:1.2.3.4", "é:1.2.3.4", long.as_str()]
        {
            let message = Failure::from(&parse(text).expect_err(text)).message;
            assert!(message.starts_with(&format!("bad format for add-host: \"{text}\": ")), "{message}");
        }
    }
}
