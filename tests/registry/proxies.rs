//! Proxies on the way.

use crate::env::{self, Env};
use crate::fake::{Answer, Fake, Proxy};
use crate::image::Image;
use crate::tls::Authority;
use serde_json::json;

#[test]
fn by_way_of_a_proxy() {
    let env = Env::new();
    let Some(authority) = Authority::new(&env) else {
        return env::skip("by_way_of_a_proxy", "openssl is not installed");
    };
    let fake = Fake::tls(authority.server(), |request, _| {
        let results = json!([{ "name": "app", "description": "found", "star_count": 1, "is_official": true }]);
        (request.path() == "/v1/search").then(|| Answer::with(200, json!({ "results": results }).to_string()))
    });
    let image = Image::small("x");
    fake.add("library/app", "v1", &image);
    let proxy = Proxy::to(fake.address());
    let address = format!("http://ada:s%65cret@{}", proxy.address);
    let certs = ["--cert-dir", authority.dir.as_str()];
    for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        let with = [(variable, address.as_str())];
        let before = proxy.seen().len();
        env.call_with(&with, &[&["pull", "-q"], &certs[..], &["registry.example/library/app:v1"]].concat()).ok();
        assert!(proxy.seen().len() > before, "{variable}");
    }
    let with = [("HTTPS_PROXY", address.as_str())];
    env.call_with(&with, &[&["pull", "-q"], &certs[..], &["app:v1"]].concat()).ok();
    env.call_with(&with, &[&["push", "-q"], &certs[..], &["app:v1"]].concat()).ok();
    let done = env.call_with(&with, &[&["search"], &certs[..], &["app"]].concat()).ok();
    assert!(done.stdout.contains("found"), "{done:?}");
    let seen = proxy.seen();
    for request in &seen {
        assert_eq!(request.method, "CONNECT");
        // ada:secret
        assert_eq!(request.header("Proxy-Authorization"), Some("Basic YWRhOnNlY3JldA=="));
    }
    for place in ["registry.example:443", "registry-1.docker.io:443", "index.docker.io:443"] {
        assert!(seen.iter().any(|request| request.target == place), "{place}: {seen:?}");
    }
    // The registry does not learn how it was reached.
    assert!(fake.seen().iter().all(|request| request.header("Proxy-Authorization").is_none()));
}

#[test]
fn without_a_proxy() {
    let env = Env::new();
    let fake = Fake::honest();
    fake.add("app", "v1", &Image::small("x"));
    // Nothing listens there.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let address = format!("http://ada:secret@{gone}");
    let with = [("HTTPS_PROXY", address.as_str()), ("HTTP_PROXY", address.as_str())];
    // This machine needs none.
    env.call_with(&with, &["pull", "-q", &fake.name("app:v1")]).ok();
    let done = env
        .call_with(&with, &["pull", "-q", "registry.example/app"])
        .fails(125, &format!("http://{gone} (HTTPS_PROXY)"));
    assert!(!done.stderr.contains("secret"), "{done:?}");
    let direct = [with[0], ("NO_PROXY", "other.example,.example")];
    let done = env.call_with(&direct, &["pull", "-q", "registry.example/app"]);
    assert!(done.status == 125 && !done.stderr.contains("proxy"), "{done:?}");
    let done = env.call_with(&[("HTTPS_PROXY", "ftp://ada:secret@x")], &["pull", "-q", "registry.example/app"]);
    assert!(!done.fails(125, "HTTPS_PROXY: not the address of a proxy").stderr.contains("secret"));
}

/// What a rule allows holds for names that are not this machine's.
#[test]
fn insecure_registries() {
    let env = Env::new();
    let Some(authority) = Authority::new(&env) else {
        return env::skip("insecure_registries", "openssl is not installed");
    };
    let (plain, secure) = (Fake::honest(), Fake::tls(authority.server(), |_, _| None));
    for fake in [&plain, &secure] {
        fake.add("app", "v1", &Image::small("x"));
    }
    for (fake, why) in [(plain, "registry registry.example"), (secure, "UnknownIssuer")] {
        let proxy = format!("http://{}", Proxy::to(fake.address()).address);
        let with = [("HTTPS_PROXY", proxy.as_str()), ("HTTP_PROXY", proxy.as_str())];
        let pull = |option: &str| env.call_with(&with, &["pull", "-q", option, "registry.example/app:v1"]);
        env.write("registries.conf", "");
        pull("--quiet").fails(125, why);
        pull("--tls-verify=false").ok();
        env.write("registries.conf", "[[registry]]\nlocation = 'registry.example'\ninsecure = true\n");
        pull("--quiet").ok();
        // What is typed wins.
        pull("--tls-verify").fails(125, why);
        env.write("registries.conf", "[registries.insecure]\nregistries = ['registry.example']\n");
        pull("--quiet").ok();
    }
}
