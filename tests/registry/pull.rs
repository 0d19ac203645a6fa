//! What comes from registries that mean well, whatever their habits.

use crate::env::Env;
use crate::fake::{Answer, Fake, Request};
use crate::image::{DOCKER, Image, OCI, OCI_INDEX, Packed, architecture, archive, descriptor, noise};
use serde_json::json;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Long enough for several reads.
const LONG_LAYER: usize = 1 << 20;

fn large(packed: Packed) -> Image {
    let bytes = noise(LONG_LAYER, 7);
    Image::new(&[&archive(&[("noise", &bytes, 0o644)])], packed, OCI)
}

#[test]
fn every_form_of_images_and_layers() {
    let env = Env::new();
    let fake = Fake::honest();
    for (number, (packed, media_type)) in
        [(Packed::Plain, OCI), (Packed::Gzip, OCI), (Packed::Zstd, OCI), (Packed::Gzip, DOCKER)].into_iter().enumerate()
    {
        let lower = archive(&[("etc/", b"", 0o755), ("etc/lower", &[number as u8], 0o644)]);
        let upper = archive(&[("etc/upper", &[number as u8], 0o600)]);
        // The same layer twice is one.
        let image = Image::new(&[&lower, &upper, &upper], packed, media_type);
        let repository = format!("team/app{number}");
        fake.add(&repository, "v1", &image);
        let name = fake.name(&format!("{repository}:v1"));
        let done = env.call(&["pull", &name]).ok();
        assert_eq!(done.stdout, format!("{}\n", image.id()));
        assert_eq!(env.images()[&name], image.digest());
        for bytes in image.layers.iter().chain([&image.config, &image.manifest]) {
            let digest = rbox::storage::digest::Digest::of(bytes);
            assert_eq!(&std::fs::read(env.path("data/rbox/images/blobs/sha256").join(digest.hex())).unwrap(), bytes);
        }
        let upper = rbox::storage::digest::Digest::of(&image.layers[1]).to_string();
        assert_eq!(fake.count("GET", &format!("{repository}/blobs/{upper}")), 1);
    }
}

/// Breaks the connection once, in the middle of a layer.
fn breaking(knows_ranges: bool) -> Fake {
    let broken = AtomicUsize::new(0);
    Fake::new(move |request, state| {
        let bytes =
            state.blobs.get(request.target.split("/blobs/").nth(1)?).filter(|bytes| bytes.len() >= LONG_LAYER)?;
        if broken.fetch_add(1, Ordering::SeqCst) == 0 {
            let half = bytes[..bytes.len() / 2].to_vec();
            return Some(Answer { length: Some(bytes.len() as u64), ..Answer::with(200, half) });
        }
        (!knows_ranges).then(|| Answer::with(200, bytes.clone()))
    })
}

#[test]
fn a_broken_connection_is_taken_up_where_it_broke() {
    for knows_ranges in [true, false] {
        let env = Env::new();
        let fake = breaking(knows_ranges);
        let image = large(Packed::Plain);
        fake.add("app", "v1", &image);
        env.call(&["pull", "-q", &fake.name("app:v1")]).ok();
        let layer = rbox::storage::digest::Digest::of(&image.layers[0]).to_string();
        let asked: Vec<Option<String>> = fake
            .seen()
            .iter()
            .filter(|request| request.is("GET", &layer))
            .map(|request| request.header("Range").map(str::to_owned))
            .collect();
        let half = image.layers[0].len() / 2;
        assert_eq!(asked, [None, Some(format!("bytes={half}-"))]);
    }
}

#[test]
fn a_redirect_takes_no_credentials_along() {
    let env = Env::new();
    let elsewhere = Fake::honest();
    let place = elsewhere.address();
    let fake = Fake::new(move |request, _| {
        if request.header("Authorization").is_none() {
            return Some(Answer::new(401).header("WWW-Authenticate", "Basic realm=x"));
        }
        let digest = request.target.split("/blobs/").nth(1)?;
        Some(Answer::redirect(format!("http://{place}/v2/other/blobs/{digest}")))
    });
    let image = Image::small("moved");
    fake.add("app", "v1", &image);
    elsewhere.add("other", "v1", &image);
    env.call(&["pull", "-q", "--creds", "ada:secret", &fake.name("app:v1")]).ok();
    let seen = elsewhere.seen();
    assert!(seen.len() >= 2, "{seen:?}");
    assert!(seen.iter().all(|request| request.header("Authorization").is_none()), "{seen:?}");
    assert!(fake.seen().iter().any(|request| request.header("Authorization") == Some("Basic YWRhOnNlY3JldA==")));
}

/// A registry that wants tokens, and its token service at the same place.
pub fn with_tokens() -> Fake {
    let issued = Mutex::new(Vec::<String>::new());
    Fake::new(move |request: &Request, _| {
        let mut issued = issued.lock().unwrap();
        if request.path() == "/token" {
            if request.header("Authorization").is_some_and(|header| header != "Basic YWRhOnNlY3JldA==") {
                return Some(Answer::with(401, r#"{"details":"incorrect username or password"}"#));
            }
            let token = format!("token{}", issued.len());
            issued.push(token.clone());
            return Some(Answer::with(200, json!({ "token": token }).to_string()));
        }
        let given = request.header("Authorization").and_then(|header| header.strip_prefix("Bearer "));
        let host = request.header("Host").unwrap();
        let challenge = format!(r#"Bearer realm="http://{host}/token",service="a service""#);
        // Each is good three times.
        let good = given.is_some_and(|given| issued.last().is_some_and(|last| last == given));
        if good && request.target.len() % 3 == 0 {
            issued.push("spent".to_owned());
        }
        (!good).then(|| Answer::new(401).header("WWW-Authenticate", challenge))
    })
}

#[test]
fn tokens_are_got_and_renewed() {
    let env = Env::new();
    let fake = with_tokens();
    for number in 0..3 {
        let image = Image::small(&format!("number {number}"));
        fake.add("team/app", &format!("v{number}"), &image);
        env.call(&["pull", "-q", &fake.name(&format!("team/app:v{number}"))]).ok();
    }
    let tokens: Vec<Request> = fake.seen().into_iter().filter(|request| request.path() == "/token").collect();
    assert!(tokens.len() > 3, "some ran out: {tokens:?}");
    for request in tokens {
        assert_eq!(request.query("scope"), Some("repository%3Ateam%2Fapp%3Apull"));
        assert_eq!(request.query("service"), Some("a%20service"));
    }
}

#[test]
fn who_comes_at_the_same_time_fetches_once() {
    let env = Env::new();
    let fake = Fake::honest();
    let layers = [1, 2, 3, 4].map(|seed| archive(&[("noise", &noise(LONG_LAYER, seed), 0o644)]));
    let image = Image::new(&layers.each_ref().map(Vec::as_slice), Packed::Gzip, OCI);
    fake.add("app", "v1", &image);
    let name = fake.name("app:v1");
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| assert_eq!(env.call(&["pull", "-q", &name]).ok().stdout, format!("{}\n", image.id())));
        }
    });
    for layer in &image.layers {
        let digest = rbox::storage::digest::Digest::of(layer).to_string();
        assert_eq!(fake.count("GET", &digest), 1, "{digest}");
    }
}

#[test]
fn the_platform_that_is_asked_for() {
    let env = Env::new();
    let fake = Fake::honest();
    let own = Image::small("for this machine");
    let mut other = Image::small("for another one");
    let config = String::from_utf8(other.config.clone()).unwrap();
    other.config = config.replace(architecture(), "s390x").into_bytes();
    other.manifest = other.described().to_string().into_bytes();
    fake.add("app", "own", &own);
    fake.add("app", "other", &other);
    let entry = |image: &Image, architecture: &str| {
        let mut entry = descriptor(OCI, &image.manifest);
        entry["platform"] = json!({ "os": "linux", "architecture": architecture });
        entry
    };
    let entries = [entry(&other, "s390x"), entry(&own, architecture())];
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries }).to_string();
    fake.state().manifest("app", "v1", OCI_INDEX, index.as_bytes());
    let name = fake.name("app:v1");
    assert_eq!(env.call(&["pull", "-q", &name]).ok().stdout, format!("{}\n", own.id()));
    assert_eq!(env.call(&["pull", "-q", "--platform", "linux/s390x", &name]).ok().stdout, format!("{}\n", other.id()));
    assert_eq!(env.images()[&name], other.digest());
    env.call(&["pull", "-q", "--platform", "linux/riscv64", &name]).fails(125, "no image for linux/riscv64");
    assert_eq!(env.images()[&name], other.digest());
    env.call(&["pull", "-q", "--platform", "linux/riscv64", &fake.name("app:own")])
        .fails(125, "the image is for linux/");
}
