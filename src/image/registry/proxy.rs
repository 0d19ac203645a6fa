//! The proxy for an address, as curl(1) and Go's net/http have it: `https_proxy` or `http_proxy` by the scheme, else
//! `all_proxy`, in lower case or upper; `no_proxy` lists who is asked without one, and this machine never needs one.

use super::address::is_loopback;
use anyhow::{Result, anyhow};
use std::net::IpAddr;
use ureq::Proxy;
use ureq::http::Uri;

/// What the environment says of proxies.
#[derive(Default)]
pub struct Proxies {
    https: Option<Named>,
    http: Option<Named>,
    none_for: Vec<Exception>,
}

/// A proxy and where it comes from.
pub struct Named {
    /// What to go through.
    pub to: Proxy,
    /// Scheme, host and port, without name and password.
    pub address: String,
    /// The variable that names it.
    pub variable: &'static str,
}

/// Who is asked without a proxy.
#[derive(Debug, PartialEq, Eq)]
enum Exception {
    /// Everybody: `*`.
    All,
    /// A host and all below it, with any port or one: `example.com`, `.example.com`, `*.example.com:8080`.
    Host(String, Option<u16>),
    /// Addresses that begin with so many bits: `10.0.0.0/8`, or all bits: `10.0.0.1`.
    Net(IpAddr, u8),
}

impl Proxies {
    /// Reads the environment.
    pub fn from_env() -> Result<Proxies> {
        Proxies::read(|name| std::env::var(name).ok())
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Proxies> {
        let first = |names: [&'static str; 4]| {
            let mut set = names.into_iter().filter_map(|name| Some((name, variable(name)?)));
            set.find(|(_, value)| !value.is_empty()).map(|(name, value)| named(name, &value)).transpose()
        };
        let exceptions = ["no_proxy", "NO_PROXY"].into_iter().find_map(&variable).unwrap_or_default();
        Ok(Proxies {
            https: first(["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])?,
            http: first(["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])?,
            none_for: exceptions.split([',', ' ']).map(str::trim).filter_map(exception).collect(),
        })
    }

    /// The proxy for an address; none if it is reached without.
    pub fn of(&self, uri: &Uri) -> Option<&Named> {
        let (host, port) = (uri.host()?, uri.port_u16());
        if is_loopback(host) || self.none_for.iter().any(|exception| exception.holds(host, port)) {
            return None;
        }
        if uri.scheme_str() == Some("https") { self.https.as_ref() } else { self.http.as_ref() }
    }
}

fn named(variable: &'static str, value: &str) -> Result<Named> {
    // The value may have a password in it, so that it is not shown.
    let proxy = Proxy::new(value).map_err(|_| anyhow!("{variable}: not the address of a proxy"))?;
    let scheme = proxy.protocol().to_string().to_ascii_lowercase();
    Ok(Named { address: format!("{scheme}://{}:{}", proxy.host(), proxy.port()), to: proxy, variable })
}

fn exception(text: &str) -> Option<Exception> {
    if text.is_empty() {
        return None;
    }
    if text == "*" {
        return Some(Exception::All);
    }
    if let Some((address, bits)) = text.split_once('/') {
        return Some(Exception::Net(address.parse().ok()?, bits.parse().ok()?));
    }
    if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse() {
        return Some(Exception::Net(address, 128));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (text, None),
    };
    let host = host.strip_prefix("*.").or(host.strip_prefix('.')).unwrap_or(host).trim_end_matches('.');
    Some(Exception::Host(host.to_ascii_lowercase(), port))
}

impl Exception {
    fn holds(&self, host: &str, port: Option<u16>) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches([']', '.']).to_ascii_lowercase();
        match self {
            Exception::All => true,
            Exception::Host(own, own_port) => {
                let below = host.strip_suffix(own.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
                below && (own_port.is_none() || *own_port == port)
            }
            Exception::Net(net, bits) => host.parse().is_ok_and(|address: IpAddr| within(address, *net, *bits)),
        }
    }
}

fn within(address: IpAddr, net: IpAddr, bits: u8) -> bool {
    let shifted = |bytes: u128, length: u8| bytes.checked_shr(u32::from(length.saturating_sub(bits))).unwrap_or(0);
    match (address, net) {
        (IpAddr::V4(a), IpAddr::V4(b)) => shifted(a.to_bits().into(), 32) == shifted(b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => shifted(a.to_bits(), 128) == shifted(b.to_bits(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(environment: &[(&str, &str)]) -> Result<Proxies> {
        Proxies::read(|name| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    fn chosen(proxies: &Proxies, uri: &str) -> Option<String> {
        proxies.of(&uri.parse().expect("valid")).map(|proxy| proxy.address.clone())
    }

    #[test]
    fn by_scheme_and_lower_case_first() {
        let some = proxies(&[
            ("HTTPS_PROXY", "http://upper:1"),
            ("https_proxy", "http://lower:2"),
            ("HTTP_PROXY", "http://plain:3"),
            ("ALL_PROXY", "http://all:4"),
        ]);
        let some = some.expect("valid");
        assert_eq!(chosen(&some, "https://a.example/").as_deref(), Some("http://lower:2"));
        assert_eq!(chosen(&some, "http://a.example/").as_deref(), Some("http://plain:3"));
        let all = proxies(&[("ALL_PROXY", "socks5h://all:4"), ("https_proxy", "")]).expect("valid");
        assert_eq!(chosen(&all, "https://a.example/").as_deref(), Some("socks5h://all:4"));
        assert_eq!(chosen(&all, "http://a.example/").as_deref(), Some("socks5h://all:4"));
        assert_eq!(chosen(&proxies(&[]).expect("valid"), "https://a.example/"), None);
    }

    #[test]
    fn without_one() {
        let none_for =
            "internal.example, .dotted.example,*.starred.example,with.port:5000,10.0.0.0/8,192.168.1.7,fd00::/8";
        let proxies = proxies(&[("https_proxy", "proxy:1"), ("NO_PROXY", none_for)]).expect("valid");
        for (uri, direct) in [
            ("https://internal.example/", true),
            ("https://INTERNAL.example:5000/", true),
            ("https://a.b.internal.example/", true),
            ("https://notinternal.example/", false),
            ("https://internal.example.org/", false),
            ("https://a.dotted.example/", true),
            ("https://a.starred.example/", true),
            ("https://with.port:5000/", true),
            ("https://with.port/", false),
            ("https://10.200.0.1/", true),
            ("https://11.0.0.1/", false),
            ("https://192.168.1.7/", true),
            ("https://192.168.1.8/", false),
            ("https://[fd12::1]:5000/", true),
            ("https://[fe80::1]/", false),
            ("https://localhost:5000/", true),
            ("https://127.0.0.1:5000/", true),
            ("https://[::1]/", true),
        ] {
            assert_eq!(chosen(&proxies, uri).is_none(), direct, "{uri}");
        }
        let all = Proxies::read(|name| Some(if name.contains("no") { "*" } else { "proxy:1" }.to_owned()));
        assert_eq!(chosen(&all.expect("valid"), "https://a.example/"), None);
    }

    #[test]
    fn what_is_secret_is_not_shown() {
        let some = proxies(&[("https_proxy", "http://ada:se%63ret@proxy.example:3128")]).expect("valid");
        assert_eq!(chosen(&some, "https://a.example/").as_deref(), Some("http://proxy.example:3128"));
        for bad in ["ftp://ada:secret@proxy", "http://ada:secret@", "http://ada:secret@pro xy"] {
            let error = proxies(&[("ALL_PROXY", bad)]).err().expect("no proxy");
            assert_eq!(error.to_string(), "ALL_PROXY: not the address of a proxy");
        }
    }

    #[test]
    fn fuzz_proxy() {
        let seeds = [
            "http://ada:secret@p.example:3128",
            "socks5://[::1]:1080",
            "10.0.0.0/8,*.example.com:8080 ::1 *",
            "fe80::/129",
        ];
        let words = ["://", "@", ":", "/", "[", "]", ".", "*", ",", "http", "socks5", "255", "%", "é"];
        crate::fuzz::text("proxy", &seeds, &words, |text| {
            let found = Proxies::read(|_| Some(text.to_owned()));
            if let Err(error) = &found {
                assert!(text.len() < 12 || !format!("{error:#}").contains(text), "a proxy may have a password");
            }
            let uris = ["https://a.example.com:8080/x", "http://10.1.2.3/", "https://[fe80::1]:5000/"];
            found.ok().map(|proxies| uris.map(|uri| chosen(&proxies, uri).is_some()))
        });
    }
}
