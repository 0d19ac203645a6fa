//! What goes to registries.

use crate::env::Env;
use crate::fake::{Answer, Fake, Request};
use crate::image::{DOCKER, Image, OCI, Packed, archive, noise};
use rbox::storage::digest::Digest;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An environment with an image, and its name there.
fn with(image: &Image) -> (Env, String) {
    let env = Env::new();
    let from = Fake::honest();
    from.add("app", "v1", image);
    let name = from.name("app:v1");
    env.call(&["pull", "-q", &name]).ok();
    (env, name)
}

fn two_layers(packed: Packed, media_type: &str) -> Image {
    let archives = [archive(&[("a", &noise(100_000, 1), 0o644)]), archive(&[("b", b"b", 0o644)])];
    Image::new(&archives.each_ref().map(Vec::as_slice), packed, media_type)
}

#[test]
fn what_goes_is_what_came() {
    for (packed, media_type) in [(Packed::Gzip, OCI), (Packed::Zstd, OCI), (Packed::Plain, OCI), (Packed::Gzip, DOCKER)]
    {
        // Spaces are part of a manifest, and so is what nobody knows.
        let mut image = two_layers(packed, media_type).with_manifest(|manifest| manifest["x"] = "y".into());
        image.manifest.extend(b"  \n");
        let (env, name) = with(&image);
        let to = Fake::honest();
        let done = env.call(&["push", &name, &format!("docker://{}", to.name("team/app:v2"))]).ok();
        assert_eq!(done.stdout, format!("v2: digest: {} size: {}\n", image.digest(), image.manifest.len()));
        let state = to.state();
        let key = ("team/app".to_owned(), "v2".to_owned());
        assert_eq!(state.manifests[&key], (media_type.to_owned(), image.manifest.clone()));
        for bytes in image.layers.iter().chain([&image.config]) {
            assert_eq!(&state.blobs[&Digest::of(bytes).to_string()], bytes);
        }
        drop(state);
        let seen = to.seen();
        assert!(seen.last().unwrap().is("PUT", "/v2/team/app/manifests/v2"), "{seen:?}");
        // Once more: everything is there.
        let uploads = to.count("POST", "");
        let done = env.call(&["push", &name, &to.name("team/app:v3")]).ok();
        assert_eq!(to.count("POST", ""), uploads);
        assert_eq!(done.stderr.lines().filter(|line| line.ends_with(": already there")).count(), 2, "{done:?}");
    }
}

#[test]
fn under_its_own_name() {
    let image = Image::small("x");
    let (env, name) = with(&image);
    let to = Fake::honest();
    // Its own name is that of the registry that it came from, which has it.
    assert_eq!(env.call(&["push", "-q", &name]).ok().stdout, format!("{name}\n"));
    env.call(&["push", "-q", &image.id()[..12], &to.name("by-id")]).ok();
    assert_eq!(to.count("PUT", "/v2/by-id/manifests/latest"), 1);
    env.call(&["push", &image.id()]).fails(125, "an id");
    env.call(&["push", "nothing/here"]).fails(125, "no such image: nothing/here");
    env.call(&["push", &name, "dir:/tmp/x"]).fails(125, "dir: is no registry");
    env.call(&["push", &name, "oci:x"]).fails(125, "oci: is no registry");
    let digest = Digest::of(b"x");
    env.call(&["push", &name, &to.name(&format!("x@{digest}"))]).fails(125, "no other can be given");
    env.call(&["push", "-q", &name, &to.name(&format!("x@{}", image.digest()))]).ok();
    assert_eq!(to.count("PUT", &format!("/v2/x/manifests/{}", image.digest())), 1);
    env.call(&["push", "--platform", "linux/pdp11", &name, &to.name("x")]).fails(125, "the image is for linux/");
    let file = env.path("digest");
    env.call(&["push", "-q", "--digestfile", file.to_str().unwrap(), &name, &to.name("x")]).ok();
    assert_eq!(std::fs::read_to_string(file).unwrap(), image.digest());
}

#[test]
fn all_tags() {
    let env = Env::new();
    let (from, to) = (Fake::honest(), Fake::honest());
    let images = ["v1", "v2"].map(|tag| (tag, Image::small(tag)));
    for (tag, image) in &images {
        from.add("app", tag, image);
        env.call(&["pull", "-q", &from.name(&format!("app:{tag}"))]).ok();
    }
    from.add("other", "v3", &images[0].1);
    env.call(&["pull", "-q", &from.name("other:v3")]).ok();
    env.call(&["push", "-a", &from.name("app:v1"), &to.name("app")]).fails(125, "a name without a tag is wanted");
    let done = env.call(&["push", "--all-tags", &from.name("app"), &to.name("copy")]).ok();
    let line =
        |(tag, image): &(&str, Image)| format!("{tag}: digest: {} size: {}\n", image.digest(), image.manifest.len());
    assert_eq!(done.stdout, images.iter().map(line).collect::<String>());
    assert_eq!(to.state().manifests.keys().filter(|(_, version)| version.starts_with('v')).count(), 2);
    env.call(&["push", "-a", &from.name("none")]).fails(125, "no such image here");
}

#[test]
fn broken_uploads_are_sent_again() {
    let image = two_layers(Packed::Gzip, OCI);
    let (env, name) = with(&image);
    let sent = AtomicUsize::new(0);
    let to = Fake::new(move |request, _| {
        if !request.is("PUT", "/uploads/") {
            return None;
        }
        match sent.fetch_add(1, Ordering::SeqCst) {
            0 => Some(Answer::with(503, "busy").header("Retry-After", 0)),
            // Less than is announced: the connection breaks.
            1 => Some(Answer { length: Some(9), ..Answer::new(500) }),
            _ => None,
        }
    });
    env.call(&["push", "-q", &name, &to.name("app:v1")]).ok();
    // Each attempt is a session of its own.
    assert_eq!((to.count("POST", "/uploads/"), to.count("PUT", "/uploads/")), (5, 5));
    assert_eq!(to.count("PUT", "/manifests/"), 1);
    // One that never works ends.
    let to = Fake::new(|request, _| request.is("PUT", "/uploads/").then(|| Answer::new(502)));
    env.call(&["push", "-q", &name, &to.name("app:v1")]).fails(125, "502");
    assert_eq!(to.count("PUT", "/manifests/"), 0);
}

#[test]
fn a_place_for_the_blob_at_another_host() {
    let image = Image::small("x");
    let (env, name) = with(&image);
    let store = Fake::new(|request, state| {
        let digest = request.query("digest")?.to_owned();
        state.blobs.insert(digest, request.body.clone());
        Some(Answer::new(201))
    });
    let place = store.address();
    let to = Fake::new(move |request: &Request, _| {
        if request.header("Authorization").is_none() {
            return Some(Answer::new(401).header("WWW-Authenticate", "Basic realm=x"));
        }
        let location = format!("http://{place}/store?signature=x");
        request.is("POST", "/uploads/").then(|| Answer::new(202).header("Location", location))
    });
    env.call(&["push", "-q", "--creds", "ada:secret", &name, &to.name("app:v1")]).ok();
    let seen = store.seen();
    assert_eq!(seen.len(), 2, "{seen:?}");
    for request in &seen {
        assert!(request.header("Authorization").is_none() && request.query("signature") == Some("x"), "{request:?}");
    }
    assert_eq!(store.state().blobs[&Digest::of(&image.layers[0]).to_string()], image.layers[0]);
    assert!(to.seen().iter().any(|request| request.header("Authorization").is_some()));
}

#[test]
fn places_relative_to_the_registry() {
    let image = Image::small("x");
    let (env, name) = with(&image);
    for (location, wanted) in
        [("here", "/v2/app/blobs/uploads/here?digest="), ("/v2/app/blobs/uploads/2?a=b", "?a=b&digest=")]
    {
        let to = Fake::new(move |request, _| {
            request.is("POST", "/uploads/").then(|| Answer::new(202).header("Location", location))
        });
        env.call(&["push", "-q", &name, &to.name("app:v1")]).ok();
        assert_eq!(to.count("PUT", wanted), 2, "{:?}", to.seen());
    }
}

#[test]
fn blobs_are_mounted_from_other_repositories() {
    let image = two_layers(Packed::Gzip, OCI);
    let env = Env::new();
    let fake = Fake::honest();
    fake.add("team/base", "v1", &image);
    let name = fake.name("team/base:v1");
    env.call(&["pull", "-q", &name]).ok();
    let done = env.call(&["push", &name, &fake.name("team/app:v1")]).ok();
    assert_eq!(done.stderr.matches("already there, mounted from team/base").count(), 2, "{done:?}");
    assert_eq!((fake.count("POST", "&from=team/base"), fake.count("PUT", "/uploads/")), (3, 0));
    env.call(&["pull", "-q", &fake.name("team/app:v1")]).ok();
    // A registry that will not, or does not say why, is sent the bytes.
    for status in [202, 403, 404] {
        let fake = Fake::new(move |request, _| {
            let to = "/v2/team/app/blobs/uploads/1";
            request.is("POST", "mount=").then(|| Answer::new(status).header("Location", to))
        });
        fake.add("team/base", "v1", &image);
        env.call(&["pull", "-q", &fake.name("team/base:v1")]).ok();
        env.call(&["push", "-q", &fake.name("team/base:v1"), &fake.name("team/app:v1")]).ok();
        assert_eq!((fake.count("PUT", "/uploads/"), fake.count("PUT", "/manifests/")), (3, 1), "{status}");
    }
}

#[test]
fn everybody_may_read_and_few_may_write() {
    let image = Image::small("x");
    let (env, name) = with(&image);
    let to = Fake::new(|request: &Request, _| {
        let is_change = !matches!(request.method.as_str(), "GET" | "HEAD");
        let known = request.header("Authorization") == Some("Basic YWRhOnNlY3JldA==");
        (is_change && !known).then(|| Answer::new(401).header("WWW-Authenticate", "Basic realm=x"))
    });
    let refused = env.call(&["push", "-q", &name, &to.name("app:v1")]).fails(125, "401");
    assert!(refused.stderr.contains("hint: it may be private, or not exist: rbox login"), "{refused:?}");
    env.call(&["push", "-q", "--creds", "ada:wrong", &name, &to.name("app:v1")]).fails(125, "401");
    env.call(&["push", "-q", "--creds", "ada:secret", &name, &to.name("app:v1")]).ok();
}

#[test]
fn tokens_for_pushing_and_mounting() {
    let env = Env::new();
    let fake = crate::pull::with_tokens();
    fake.add("team/base", "v1", &Image::small("x"));
    env.call(&["pull", "-q", &fake.name("team/base:v1")]).ok();
    env.call(&["push", "-q", "--creds", "ada:secret", &fake.name("team/base:v1"), &fake.name("team/app:v1")]).ok();
    let scopes: Vec<Vec<String>> = fake
        .seen()
        .iter()
        .filter(|request| request.path() == "/token" && request.header("Authorization").is_some())
        .map(|request| {
            request.target.split(['?', '&']).filter(|part| part.starts_with("scope=")).map(str::to_owned).collect()
        })
        .collect();
    let push = "scope=repository%3Ateam%2Fapp%3Apull%2Cpush".to_owned();
    let mount = vec![push.clone(), "scope=repository%3Ateam%2Fbase%3Apull".to_owned()];
    assert!(scopes.contains(&vec![push.clone()]) && scopes.contains(&mount), "{scopes:?}");
    // A repository that is still to be made is nobody's to read.
    assert!(scopes.iter().all(|scopes| scopes[0] == push), "{scopes:?}");
    env.call(&["push", "-q", "--creds", "ada:wrong", &fake.name("team/base:v1"), &fake.name("team/x")])
        .fails(125, "incorrect username");
}
