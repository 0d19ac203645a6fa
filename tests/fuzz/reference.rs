//! Names of images, of registries' accounts, digests, platforms.

use super::kind_of;
use crate::image::credentials::Account;
use crate::image::manifest::Platform;
use crate::image::reference::{Name, Reference, check_tag, split_registry};
use crate::storage::digest::Digest;

const DIGEST: &str = "@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const LONG: &str =
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Neither a path nor a URL is left by what is between two slashes.
fn is_plain(part: &str) -> bool {
    !matches!(part, "" | "." | "..")
        && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte))
}

#[track_caller]
fn reads_as_itself(reference: &Reference) {
    let full = reference.to_string();
    assert_eq!(Reference::parse(&full).expect("its own text"), *reference, "{full}");
    let familiar = reference.familiar();
    assert_eq!(Reference::parse(&familiar).expect("its short text"), *reference, "{familiar}");
}

fn name(text: &str) -> Result<(), String> {
    let name = Name::parse(text).map_err(|error| kind_of(&error))?;
    let (first, rest) = split_registry(text);
    assert_eq!(first.is_none(), name.is_short());
    assert!(text.ends_with(rest));
    for registry in ["docker.io", "quay.io", "localhost:5000", "[::1]:80"] {
        let reference = name.within(registry);
        let host = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
        assert!(!reference.registry.is_empty() && reference.registry.bytes().all(host), "{reference}");
        assert!(reference.repository.split('/').all(is_plain), "{reference}");
        if let Some(tag) = &reference.tag {
            assert!(check_tag(tag).is_ok() && !tag.contains(['/', ':', '@']) && is_plain(&tag.to_lowercase()), "{tag}");
        }
        assert!(!reference.version().is_empty());
        reads_as_itself(&reference);
        // The registry is a host and a port, whoever reads it.
        let uri =
            format!("https://{}/v2/{}/manifests/{}", reference.registry, reference.repository, reference.version());
        let uri: ureq::http::Uri = uri.parse().expect("an address");
        assert_eq!(uri.authority().map(|authority| authority.as_str()), Some(reference.registry.as_str()));
        assert_eq!(uri.query(), None);
    }
    Ok(())
}

fn account(text: &str) -> Result<(), String> {
    let account = Account::parse(text).map_err(|error| kind_of(&error))?;
    let again = Account::parse(&account.to_string()).expect("its own text");
    assert_eq!(again, account, "{account}");
    Ok(())
}

fn digest(text: &str) -> bool {
    let digest: Result<Digest, _> = text.parse();
    if let Ok(digest) = &digest {
        assert_eq!(digest.to_string(), text);
        assert!(digest.hex().bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)), "{digest}");
        let json = serde_json::to_string(digest).expect("a string");
        assert_eq!(&serde_json::from_str::<Digest>(&json).expect("the same"), digest);
    }
    digest.is_ok()
}

fn platform(text: &str) -> bool {
    let platform = Platform::parse(text);
    if let Ok(platform) = &platform {
        assert_eq!(&Platform::parse(&platform.to_string()).expect("its own text"), platform);
    }
    platform.is_ok()
}

#[test]
fn fuzz_reference() {
    let seeds = [
        "alpine",
        "user/app:v1",
        "quay.io/a/b-c__d.e:T_1.-",
        "localhost/app",
        "localhost:5000/app:v1",
        "[::1]:5000/a/b",
        "docker.io/library/alpine",
        "index.docker.io/a/b",
        "Host/app",
        "127.0.0.1/x",
        "linux/arm64/v8",
        "x86_64",
        "https://quay.io/v2/",
        "registry-1.docker.io/v1/",
        &DIGEST[1..],
        &format!("quay.io/a:b{DIGEST}"),
        &format!("docker.io/{LONG}/{LONG}"),
    ];
    let words = [
        "/",
        ":",
        "@",
        ".",
        "..",
        "__",
        "-",
        "[",
        "]",
        "[::1]",
        "[fe80::1%25eth0]",
        ":443",
        ":0",
        "localhost",
        "docker.io/",
        "index.docker.io/",
        "library/",
        "A",
        "a/",
        "http://",
        "?",
        "#",
        "%2e",
        "sha512:",
        "é",
        "\0",
        DIGEST,
        &DIGEST[8..],
        LONG,
    ];
    super::text("reference", &seeds, &words, |text| (name(text), account(text), digest(text), platform(text)));
}
