//! `--dns`, `--dns-search` and `--dns-option`: what /etc/resolv.conf says (resolv.conf(5)).

use super::address;
use anyhow::{Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// What is in the file; none of it is as on the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolver {
    /// podman's `--dns none`: the image's file stays as it is.
    pub is_image_own: bool,
    /// `--dns`, in the order given.
    pub servers: Vec<IpAddr>,
    /// `--dns-search`: some and empty is no list, whatever the host has.
    pub search: Option<Vec<String>>,
    /// `--dns-option`.
    pub options: Vec<String>,
}

/// Reads all three.
pub fn parse(servers: &[String], search: &[String], options: &[String]) -> Result<Resolver> {
    let mut resolver = Resolver { search: domains(search)?, ..Resolver::default() };
    for text in servers {
        match text.as_str() {
            "none" => resolver.is_image_own = true,
            _ => match address::ip(text) {
                Ok(address) => resolver.servers.push(address),
                Err(error) => return Err(error.context(format!("--dns {text}"))),
            },
        }
    }
    for text in options {
        let is_word = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control());
        ensure!(is_word, "--dns-option {text}: not one word");
        resolver.options.push(text.clone());
    }
    if resolver.is_image_own {
        ensure!(resolver.servers.is_empty(), "--dns none is not allowed to be specified with other DNS ip addresses");
        let is_alone = resolver.search.is_none() && resolver.options.is_empty();
        ensure!(is_alone, "--dns none excludes --dns-search and --dns-option: there is no file to write them to");
    }
    Ok(resolver)
}

fn domains(texts: &[String]) -> Result<Option<Vec<String>>> {
    if texts.is_empty() {
        return Ok(None);
    }
    if texts.iter().any(|text| text == ".") {
        ensure!(texts.iter().all(|text| text == "."), "--dns-search .: excludes search domains");
        return Ok(Some(Vec::new()));
    }
    let domains = texts.iter().map(|text| match domain(text) {
        Some(domain) => Ok(domain.to_owned()),
        None => bail!("--dns-search {text}: {text} is not a valid domain"),
    });
    domains.collect::<Result<_>>().map(Some)
}

/// docker's rule (docker/cli, `opts/opts.go`, `validateDomain`), underscores let in: labels as in RFC 1035, section 2.3.1,
/// and one letter at least.
fn domain(text: &str) -> Option<&str> {
    let domain = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        let is_good = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        is_good && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    let has_letter = domain.contains(|c: char| c.is_ascii_alphabetic());
    (has_letter && domain.len() <= 253 && domain.split('.').all(is_label)).then_some(domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(servers: &[&str], search: &[&str], options: &[&str]) -> Result<Resolver> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        parse(&owned(servers), &owned(search), &owned(options))
    }

    #[test]
    fn what_there_is() {
        assert_eq!(read(&[], &[], &[]).expect("nothing"), Resolver::default());
        let resolver =
            read(&["192.0.2.1", "2001:db8::1"], &["a.example.", "b_c"], &["ndots:2", "rotate"]).expect("all");
        assert_eq!(resolver.servers.iter().map(ToString::to_string).collect::<Vec<_>>(), ["192.0.2.1", "2001:db8::1"]);
        assert_eq!(resolver.search, Some(vec!["a.example".to_owned(), "b_c".to_owned()]));
        assert_eq!(resolver.options, ["ndots:2", "rotate"]);
        assert_eq!(read(&[], &["."], &[]).expect("none").search, Some(Vec::new()));
        assert!(read(&["none"], &[], &[]).expect("none").is_image_own);
    }

    #[test]
    fn what_is_refused() {
        let error = |servers: &[&str], search: &[&str], options: &[&str]| {
            let error = read(servers, search, options).expect_err("refused");
            crate::error::Failure::from(&error).message
        };
        for text in ["", "x", "1.2.3", "1.2.3.4:53", "fe80::1%eth0", "１.1.1.1"] {
            assert_eq!(error(&[text], &[], &[]), format!("--dns {text}: \"{text}\" is not an ip address"));
        }
        let longest = "a".repeat(64);
        let many = "a.".repeat(127) + "a";
        for text in
            ["", "..", "a..b", ".a", "a b", "a\nnameserver 1.2.3.4", "-a", "a-", "1.2.3.4", "é", &longest, &many]
        {
            assert_eq!(error(&[], &[text], &[]), format!("--dns-search {text}: {text} is not a valid domain"));
        }
        for text in ["", "a b", "a\n", "\u{1b}"] {
            assert_eq!(error(&[], &[], &[text]), format!("--dns-option {text}: not one word"));
        }
        assert_eq!(error(&[], &[".", "a"], &[]), "--dns-search .: excludes search domains");
        let expected = "--dns none is not allowed to be specified with other DNS ip addresses";
        assert_eq!(error(&["none", "1.1.1.1"], &[], &[]), expected);
        assert!(error(&["none"], &["a"], &[]).starts_with("--dns none excludes"));
        assert!(error(&["none"], &[], &["a"]).starts_with("--dns none excludes"));
    }
}
