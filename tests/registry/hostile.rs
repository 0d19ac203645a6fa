//! Registries that mean harm: each answer is refused with one line, and nothing is left of it.

use crate::env::{self, Done, Env};
use crate::fake::{Answer, Fake, Request, State};
use crate::image::{Image, OCI, OCI_INDEX, Packed, archive, descriptor, noise};
use crate::tls::Authority;
use rbox::storage::digest::Digest;
use serde_json::{Value, json};

/// Pulls from a registry with one image, `app:v1`, and these answers.
fn pull(image: &Image, hook: impl Fn(&Request, &mut State) -> Option<Answer> + Send + Sync + 'static) -> (Done, Fake) {
    let env = Env::new();
    let fake = Fake::new(hook);
    fake.add("app", "v1", image);
    let done = env.call(&["pull", "-q", "--creds", "ada:secret", &fake.name("app:v1")]);
    env.has_nothing();
    (done, fake)
}

#[track_caller]
fn refused(image: &Image, why: &str, hook: impl Fn(&Request, &mut State) -> Option<Answer> + Send + Sync + 'static) {
    pull(image, hook).0.fails(125, why);
}

/// A manifest that a test has changed.
#[track_caller]
fn refused_manifest(why: &str, change: impl FnOnce(&mut Value)) {
    refused(&Image::small("x").with_manifest(change), why, |_, _| None);
}

/// A manifest as it is answered.
#[track_caller]
fn refused_text(why: &str, media_type: &'static str, text: String) {
    refused(&Image::small("x"), why, move |request, _| {
        request.is("GET", "/manifests/").then(|| Answer::with(200, text.clone()).header("Content-Type", media_type))
    });
}

/// The only layer of [`Image::small`], as it is answered.
#[track_caller]
fn refused_layer(why: &str, answer: impl Fn(&[u8]) -> Answer + Send + Sync + 'static) {
    let image = Image::small("x");
    let layer = image.layers[0].clone();
    let path = format!("/blobs/{}", Digest::of(&layer));
    refused(&image, why, move |request, _| request.is("GET", &path).then(|| answer(&layer)));
}

#[test]
fn blobs_that_are_others() {
    refused_layer("has another digest", |layer| {
        let mut other = layer.to_vec();
        // The time in the header of gzip: what comes out is the same.
        other[4] ^= 1;
        Answer::with(200, other)
    });
    refused_layer("longer than the", |layer| Answer::with(200, [layer, b"x"].concat()));
    refused_layer("longer than the", |layer| Answer { padding: 100 << 20, ..Answer::with(200, layer) });
    refused_layer("ended after", |layer| Answer::with(200, &layer[..layer.len() - 1]));
    refused_layer("after 0 of", |layer| Answer { length: Some(layer.len() as u64), ..Answer::new(200) });
    refused_layer("404", |_| Answer::new(404));
    refused_layer("layer sha256", |_| Answer::new(204));
}

#[test]
fn configurations_and_layers_that_do_not_match() {
    let archive = archive(&[("x", b"x", 0o644)]);
    let packed = crate::image::pack(&archive, Packed::Gzip);
    let wrong = Image::of([(packed.clone(), Digest::of(b"other").to_string())].into_iter(), OCI);
    refused(&wrong, "layer sha256:", |_, _| None);
    for text in ["sha256:../../../../etc/passwd", "md5:00", ""] {
        let wrong = Image::of([(packed.clone(), text.to_owned())].into_iter(), OCI);
        refused(&wrong, "diff_ids", |_, _| None);
    }
    let config = |change: fn(&mut Value)| {
        let mut image = Image::small("x");
        let mut config: Value = serde_json::from_slice(&image.config).unwrap();
        change(&mut config);
        image.config = config.to_string().into_bytes();
        image.with_manifest(|_| {})
    };
    refused(&config(|config| config["rootfs"]["diff_ids"] = json!([])), "0 layers", |_, _| None);
    refused(&config(|config| config["architecture"] = json!("pdp11")), "the image is for linux/pdp11", |_, _| None);
    refused(&config(|config| *config = json!([1])), "configuration", |_, _| None);
}

#[test]
fn manifests_that_are_something_else() {
    let entry = descriptor(OCI, b"x");
    refused_manifest("is both an index and a manifest", |manifest| manifest["manifests"] = json!([entry]));
    refused_manifest("schema 1", |manifest| manifest["schemaVersion"] = json!(1));
    refused_manifest("schema 1", |manifest| manifest["fsLayers"] = json!([]));
    refused_manifest("says that it is", |manifest| manifest["mediaType"] = json!(OCI_INDEX));
    refused_manifest("more than 500", |manifest| manifest["layers"] = json!(vec![descriptor("x", b""); 501]));
    refused_manifest("without", |manifest| manifest["layers"] = Value::Null);
    let plain = Image::small("x").described().to_string();
    refused_text("came as", OCI_INDEX, plain);
    refused_text("manifest", OCI, "<html>".to_owned());
    refused_text("manifest", OCI, "{}".to_owned());
    refused_text("manifest", OCI, "[".repeat(100_000));
    // An index within an index.
    let inner = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry] }).to_string();
    let outer =
        |inner: &str| json!({ "schemaVersion": 2, "manifests": [descriptor(OCI_INDEX, inner.as_bytes())] }).to_string();
    let text = outer(&inner);
    refused(&Image::small("x"), "an index within an index", move |request, _| {
        let by_tag = request.is("GET", "/manifests/v1");
        let text = if by_tag { &text } else { &inner };
        request.is("GET", "/manifests/").then(|| Answer::with(200, text.clone()).header("Content-Type", OCI_INDEX))
    });
    // The index names one manifest, and another one comes.
    let image = Image::small("x");
    let index = json!({ "schemaVersion": 2, "manifests": [descriptor(OCI, b"another one")] }).to_string();
    let manifest = image.manifest.clone();
    refused(&image, "has another digest", move |request, _| match request.is("GET", "/manifests/v1") {
        true => Some(Answer::with(200, index.clone()).header("Content-Type", OCI_INDEX)),
        false if request.is("GET", "/manifests/") => {
            Some(Answer::with(200, manifest.clone()).header("Content-Type", OCI))
        }
        false => None,
    });
}

#[test]
fn digests_and_sizes_that_are_none() {
    let long = format!("sha256:{}", "a".repeat(65));
    for digest in ["sha256:../../../../../../tmp/x", "sha256:..", "../x", "sha256:", "", "sha1:00", &long, "sha256:AB"]
    {
        for place in ["/config/digest", "/layers/0/digest"] {
            refused_manifest("manifest", |manifest| *manifest.pointer_mut(place).unwrap() = json!(digest));
        }
        let entry = json!({ "digest": digest, "size": 3, "mediaType": OCI });
        refused_text("manifest", OCI_INDEX, json!({ "schemaVersion": 2, "manifests": [entry] }).to_string());
    }
    for (size, why) in [
        (json!(-1), "manifest"),
        (json!(1.5), "manifest"),
        (json!(1e300), "manifest"),
        (json!("3"), "manifest"),
        (json!(u64::MAX), "18446744073709551615 bytes, more than"),
        (json!(1u64 << 60), "bytes, more than"),
        (json!(1), "longer than the 1 bytes"),
        (json!(0), "longer than the 0 bytes"),
        (json!(100_000), "of 100000 bytes"),
    ] {
        refused_manifest(why, |manifest| manifest["layers"][0]["size"] = size);
    }
    refused_manifest("a configuration of", |manifest| manifest["config"]["size"] = json!(1u64 << 40));
    refused_manifest("longer than the 7 bytes", |manifest| manifest["config"]["size"] = json!(7));
}

#[test]
fn answers_without_end() {
    let image = Image::small("x");
    refused(&image, "of at most", |request, _| {
        let answer = Answer::endless(200, r#"{"schemaVersion":2,"x":""#).header("Content-Type", OCI);
        request.is("GET", "/manifests/").then_some(answer)
    });
    refused(&image, "403", |request, _| {
        request.is("GET", "/manifests/").then(|| Answer::endless(403, r#"{"errors":[{"message":""#))
    });
    refused(&image, "of at most", |request, _| match request.path() {
        "/token" => Some(Answer::endless(200, r#"{"token":""#)),
        _ => Some(ask(request, "/token")),
    });
    let long = json!({ "errors": [{ "message": format!("a\u{1b}[31mb\nhint: no {}", "c".repeat(9000)) }] }).to_string();
    let (done, _) =
        pull(&image, move |request, _| request.is("GET", "/manifests/").then(|| Answer::with(403, long.clone())));
    let stderr = done.fails(125, "b\\nhint: no ccc").stderr;
    assert!(stderr.len() < 1000 && !stderr.contains('\u{1b}'), "{stderr}");
}

/// Asks for a token of a service at the same host, or at an address.
fn ask(request: &Request, service: &str) -> Answer {
    let host = request.header("Host").unwrap();
    let realm = if service.starts_with('/') { format!("http://{host}{service}") } else { service.to_owned() };
    Answer::new(401).header("WWW-Authenticate", format!(r#"Bearer realm="{realm}",service="x""#))
}

#[test]
fn who_asks_again_and_again() {
    let image = Image::small("x");
    for scheme in ["Basic realm=x", "Negotiate", "Bearer realm=x", ""] {
        let (done, fake) = pull(&image, move |_, _| Some(Answer::new(401).header("WWW-Authenticate", scheme)));
        done.fails(125, "pull");
        assert!(fake.seen().len() < 10, "{scheme}: {:?}", fake.seen());
    }
    let (done, fake) = pull(&image, |request, _| match request.path() {
        "/token" => Some(Answer::with(200, r#"{"token":"x"}"#)),
        _ => Some(ask(request, "/token")),
    });
    done.fails(125, "401");
    assert!(fake.seen().len() < 10, "{:?}", fake.seen());
    refused(&image, "redirected more than", |request, _| {
        request.is("GET", "/manifests/").then(|| Answer::redirect("/v2/app/manifests/v1"))
    });
    refused(&image, "no location", |request, _| request.is("GET", "/manifests/").then(|| Answer::new(302)));
    for place in ["file:///etc/passwd", "ftp://127.0.0.1/", "http://", "http://[", "http://a:b@127.0.0.1/"] {
        refused(&image, "redirect", move |request, _| {
            request.is("GET", "/manifests/").then(|| Answer::redirect(place))
        });
    }
}

#[test]
fn a_token_service_elsewhere_gets_no_credentials() {
    let service = Fake::new(|_, _| Some(Answer::with(200, r#"{"token":"stolen"}"#)));
    let place = format!("http://{}/token", service.address());
    let other_name = format!("http://localhost:{}/token", service.address().port());
    for place in [place, other_name] {
        let (done, fake) = pull(&Image::small("x"), move |request, _| {
            (request.header("Authorization") != Some("Bearer good")).then(|| ask(request, &place))
        });
        done.fails(125, "401");
        assert!(
            fake.seen().iter().all(|request| !request.header("Authorization").is_some_and(|h| h.starts_with("Basic")))
        );
    }
    assert!(service.seen().len() >= 2);
    for request in service.seen() {
        assert!(request.header("Authorization").is_none() && !request.target.contains("ada"), "{request:?}");
    }
}

#[test]
fn from_https_to_plain_http() {
    let env = Env::new();
    let Some(authority) = Authority::new(&env) else {
        return env::skip("from_https_to_plain_http", "openssl is not installed");
    };
    let plain = Fake::honest();
    let image = Image::small("x");
    plain.add("app", "v1", &image);
    let place = plain.address();
    for answer in [
        Answer::redirect(format!("http://{place}/v2/app/manifests/v1")),
        Answer::new(401).header("WWW-Authenticate", format!(r#"Bearer realm="http://{place}/token""#)),
    ] {
        let fake = Fake::tls(authority.server(), move |_, _| Some(answer.clone()));
        for verify in ["--tls-verify=true", "--tls-verify=false"] {
            let name = fake.name("app:v1");
            let args = ["pull", "-q", verify, "--cert-dir", &authority.dir, "--creds", "ada:secret", &name];
            env.call(&args).fails(125, "pull");
        }
    }
    // Who allows plain HTTP may be sent to a token service without TLS, but no password goes there.
    let seen = plain.seen();
    assert!(
        seen.iter().all(|request| request.path() == "/token" && request.header("Authorization").is_none()),
        "{seen:?}"
    );
    env.has_nothing();
}

#[test]
fn a_layer_that_unpacks_to_more_than_there_is() {
    // Frames of zeros one after the other are an archive that is empty and does not end.
    let zeros = zstd::encode_all(vec![0u8; 64 << 20].as_slice(), 3).unwrap();
    assert!(zeros.len() < 16 << 10, "{}", zeros.len());
    let image = Image::of([(zeros.repeat(64), Digest::of(b"").to_string())].into_iter(), OCI);
    refused(&image, "unpacks to more than", |_, _| None);
}

/// Pushes an image to a registry with these answers.
fn push(hook: impl Fn(&Request, &mut State) -> Option<Answer> + Send + Sync + 'static) -> (Done, Fake) {
    let env = Env::new();
    let (from, to) = (Fake::honest(), Fake::new(hook));
    from.add("app", "v1", &Image::small("x"));
    env.call(&["pull", "-q", &from.name("app:v1")]).ok();
    let done = env.call(&["push", "-q", "--creds", "ada:secret", &from.name("app:v1"), &to.name("app:v1")]);
    (done, to)
}

#[test]
fn places_for_uploads_that_are_none() {
    for (place, why) in [
        ("", "40"),
        ("file:///etc/passwd", "place for the blob"),
        ("https://", "place for the blob"),
        ("http://[::1", "place for the blob"),
        ("a b", "place for the blob"),
        ("javascript:alert(1)", "place for the blob"),
        ("http://ada:secret@127.0.0.1/x", "place for the blob"),
        ("/", "40"),
    ] {
        let (done, fake) = push(move |request, _| match request.is("POST", "/uploads/") {
            true => Some(Answer::new(202).header("Location", place)),
            false => None,
        });
        let done = done.fails(125, why);
        assert!(!done.stderr.contains("secret"), "{done:?}");
        assert_eq!(fake.count("PUT", "/manifests/"), 0, "{place}");
    }
    let (done, _) = push(|request, _| request.is("POST", "/uploads/").then(|| Answer::new(202)));
    done.fails(125, "no location");
    // It has not got what it says that it has.
    let (done, _) = push(|request, _| request.is("POST", "/uploads/").then(|| Answer::new(201)));
    done.fails(125, "which it was not sent");
    let (done, _) = push(|request, _| request.is("PUT", "/uploads/").then(|| Answer::new(202)));
    done.fails(125, "not that it has the blob");
    let (done, _) =
        push(|request, _| request.is("PUT", "/uploads/").then(|| Answer::redirect("/v2/app/blobs/uploads/1")));
    done.fails(125, "redirected more than");
}

#[test]
fn a_registry_that_has_read_something_else() {
    let other = Digest::of(b"other").to_string();
    let (done, _) = push(move |request, _| {
        request.is("PUT", "/manifests/").then(|| Answer::new(201).header("Docker-Content-Digest", &other))
    });
    done.fails(125, "and the registry has sha256:");
}

#[test]
fn noise_is_no_registry() {
    let image = Image::small("x");
    refused(&image, "pull", |_, _| Some(Answer::with(200, noise(1000, 3))));
    refused(&image, "pull", |_, _| Some(Answer::with(599, noise(1000, 3))));
}
