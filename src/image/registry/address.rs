//! Addresses: which are the registry's own, where an answer leads, what never leaves for another host.

use anyhow::{Context, Result, ensure};
use ureq::http::Uri;

/// Scheme, host and port, by which addresses of the same server are the same.
pub fn origin(uri: &Uri) -> (Option<&str>, String, Option<u16>) {
    let port = uri.port_u16().or(match uri.scheme_str() {
        Some("https") => Some(443),
        Some("http") => Some(80),
        _ => None,
    });
    (uri.scheme_str(), uri.host().unwrap_or_default().to_ascii_lowercase(), port)
}

/// The address that an answer from `from` names, as `Location` has it: whole, or relative to where it came from (RFC
/// 3986, section 5.2, without the dots in paths). Nothing but HTTP, and no name or password in it.
pub fn resolve(from: &Uri, location: &str) -> Result<Uri> {
    let scheme = from.scheme_str().unwrap_or("https");
    let authority = from.authority().context("no host")?;
    let whole = if has_scheme(location) {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.starts_with('?') {
        format!("{scheme}://{authority}{}{location}", from.path())
    } else {
        let directory = from.path().rfind('/').map_or("/", |slash| &from.path()[..=slash]);
        format!("{scheme}://{authority}{directory}{location}")
    };
    let uri: Uri = whole.parse().with_context(|| format!("{location:?}: not an address"))?;
    ensure!(uri.host().is_some_and(|host| !host.is_empty()), "{location:?}: not an address with a host");
    ensure!(matches!(uri.scheme_str(), Some("http" | "https")), "{location:?}: neither http nor https");
    let with_name = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    ensure!(!with_name, "an address with a name or a password in it");
    Ok(uri)
}

/// `scheme:` at the beginning (RFC 3986, section 3.1).
fn has_scheme(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    })
}

/// Names in the same registered domain: the last two parts are the same. Addresses have none.
pub fn same_site(a: &str, b: &str) -> bool {
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

/// True for hosts, with a port or without, that are this machine.
pub fn is_loopback(host: &str) -> bool {
    let uri: Result<Uri, _> = format!("https://{host}").parse();
    let host = uri.ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
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
            ("z", "https://a.example:5000/v2/x/blobs/z"),
            ("?q=1", "https://a.example:5000/v2/x/blobs/y?q=1"),
            ("https://a.example:443", "https://a.example:443/"),
        ] {
            assert_eq!(resolve(&from, location).expect("valid").to_string(), wanted);
        }
        for location in ["file:///etc/passwd", "ftp://a.example/", "https://", "https:///x", "//", "http://[x", "a b"] {
            assert!(resolve(&from, location).is_err(), "{location}");
        }
        let error = resolve(&from, "https://ada:secret@a.example/").expect_err("a password");
        assert!(!format!("{error:#}").contains("secret"));
    }

    #[test]
    fn a_port_that_goes_without_saying() {
        let is_same = |a: &str, b: &str| origin(&a.parse().expect("valid")) == origin(&b.parse().expect("valid"));
        assert!(is_same("https://a.example/x", "https://A.example:443/y"));
        assert!(is_same("http://a.example/x", "http://a.example:80/y"));
        assert!(!is_same("https://a.example/x", "http://a.example/x"));
        assert!(!is_same("https://a.example/x", "https://a.example:444/x"));
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

    #[test]
    fn fuzz_address() {
        let from: Uri = "https://a.example:5000/v2/x/blobs/y?z".parse().expect("valid");
        let seeds = [
            "/v2/z?q=1",
            "http://b.example/z",
            "//b.example/z",
            "z",
            "?q",
            "https://a.example:443",
            "http://[::1]:80/",
        ];
        let words = [
            "://",
            "//",
            "/",
            "?",
            "#",
            "@",
            ":",
            "https:",
            "[",
            "]",
            "..",
            "%2f",
            "\\",
            "a.example",
            "localhost",
            "é",
        ];
        crate::fuzz::text("address", &seeds, &words, |text| {
            let found = resolve(&from, text);
            if let Ok(uri) = &found {
                assert!(matches!(uri.scheme_str(), Some("http" | "https")), "{uri}");
                let authority = uri.authority().expect("a host").as_str();
                assert!(!authority.is_empty() && !authority.contains(['@', '/', '?', '#']), "{uri}");
                let names_a_host = has_scheme(text) || text.starts_with("//");
                assert!(names_a_host || origin(uri) == origin(&from), "{text:?} leads to {uri}");
            }
            for other in ["a.example", "registry.gitlab.com", "127.0.0.1"] {
                assert_eq!(same_site(text, other), same_site(other, text), "{text:?}");
            }
            (found.is_ok(), is_loopback(text))
        });
    }
}
