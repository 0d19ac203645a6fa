use super::*;
use std::path::Path;

fn loaded(texts: &[&str]) -> Result<Registries> {
    let dir = tempfile::tempdir().expect("a directory");
    let mut all = Registries::default();
    for (number, text) in texts.iter().enumerate() {
        let path = dir.path().join(format!("{number}.conf"));
        fs_err::write(&path, text)?;
        // A file that has rbox's table is rbox's.
        let file = file::read(&path, text.contains("[registries]"))?.expect("it was written");
        all.add(file, &path)?;
    }
    Ok(all)
}

fn read(text: &str) -> Registries {
    loaded(&[text]).expect(text)
}

fn reference(text: &str) -> Reference {
    Reference::parse(text).expect(text)
}

fn places(all: &Registries, image: &str) -> Vec<(String, bool)> {
    let places = all.places(&reference(image)).expect(image);
    places.into_iter().map(|place| (place.reference.to_string(), place.insecure)).collect()
}

fn names(references: &[Reference]) -> Vec<String> {
    references.iter().map(Reference::to_string).collect()
}

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn the_longest_prefix_wins() {
    let all = read(
        r#"
        [[registry]]
        prefix = "example.com"
        location = "all.example"
        [[registry]]
        prefix = "example.com/team"
        location = "team.example/of/example"
        [[registry]]
        prefix = "example.com/team/app:v1"
        location = "old.example/app:v0"
        [[registry]]
        prefix = "*.example.org"
        insecure = true
        [[registry]]
        prefix = "*.b.example.org"
        location = "b.example"
        [[registry]]
        prefix = "a.b.example.org"
        "#,
    );
    for (image, place, insecure) in [
        ("example.com/x:v1", "all.example/x:v1", false),
        ("example.com/teams/x:v1", "all.example/teams/x:v1", false),
        ("example.com/team/x:v1", "team.example/of/example/x:v1", false),
        ("example.com/team/app:v1", "old.example/app:v0", false),
        ("example.com/team/app:v10", "team.example/of/example/app:v10", false),
        ("example.com:5000/x:v1", "all.example:5000/x:v1", false),
        ("example.com.evil.example/x:v1", "example.com.evil.example/x:v1", false),
        ("x.example.org/y:v1", "x.example.org/y:v1", true),
        ("x.example.org:5000/y:v1", "x.example.org:5000/y:v1", true),
        ("x.b.example.org/y:v1", "b.example/y:v1", false),
        ("a.b.example.org/y:v1", "a.b.example.org/y:v1", false),
        ("example.org/y:v1", "example.org/y:v1", false),
        ("notexample.org/y:v1", "notexample.org/y:v1", false),
        ("quay.io/x.example.org/y:v1", "quay.io/x.example.org/y:v1", false),
    ] {
        assert_eq!(places(&all, image), [(place.to_owned(), insecure)], "{image}");
    }
}

#[test]
fn mirrors_come_first_and_each_for_what_it_is() {
    let all = read(
        r#"
        [[registry]]
        location = "docker.io"
        [[registry.mirror]]
        location = "both.example/hub"
        insecure = true
        [[registry.mirror]]
        location = "digests.example"
        pull-from-mirror = "digest-only"
        [[registry.mirror]]
        location = "tags.example"
        pull-from-mirror = "tag-only"
        [[registry]]
        prefix = "quay.io"
        location = "127.0.0.1:5000/quay"
        mirror-by-digest-only = true
        mirror = [{ location = "mirror.example" }]
        "#,
    );
    let hub = |tag: &str| {
        ["both.example/hub", "digests.example", "tags.example", "docker.io"]
            .map(|place| format!("{place}/library/alpine{tag}"))
    };
    let [both, _, tags, own] = hub(":v1");
    assert_eq!(places(&all, "alpine:v1"), [(both, true), (tags, false), (own, false)]);
    let [both, digests, _, own] = hub(&format!("@{DIGEST}"));
    assert_eq!(places(&all, &format!("alpine@{DIGEST}")), [(both, true), (digests, false), (own, false)]);
    let local = |tag: &str| (format!("127.0.0.1:5000/quay/x{tag}"), false);
    assert_eq!(places(&all, "quay.io/x:v1"), [local(":v1")]);
    let mirror = (format!("mirror.example/x@{DIGEST}"), false);
    assert_eq!(places(&all, &format!("quay.io/x@{DIGEST}")), [mirror, local(&format!("@{DIGEST}"))]);
    // Pushes go to the name itself.
    assert_eq!(all.own_place(&reference("quay.io/x:v1")).expect("allowed").reference, reference("quay.io/x:v1"));
}

#[test]
fn short_names() {
    let name = |text: &str| Name::parse(text).expect(text);
    let plain = Registries::default();
    assert_eq!(names(&plain.sources(&name("app")).expect("one")), ["docker.io/library/app:latest"]);
    assert_eq!(names(&plain.candidates(&name("app"))), ["docker.io/library/app:latest", "localhost/app:latest"]);
    let some = read(
        r#"
        unqualified-search-registries = ["one.example", "docker.io", "two.example:5000"]
        [aliases]
        "tool" = "quay.io/team/tool"
        "#,
    );
    let all = ["one.example/app:v1", "docker.io/library/app:v1", "two.example:5000/app:v1"];
    assert_eq!(names(&some.sources(&name("app:v1")).expect("several")), all);
    let [one, hub, two] = all;
    assert_eq!(names(&some.candidates(&name("app:v1"))), [hub, one, two, "localhost/app:v1"]);
    assert_eq!(names(&some.sources(&name("tool:v1")).expect("one")), ["quay.io/team/tool:v1"]);
    let with_digest = format!("quay.io/team/tool@{DIGEST}");
    assert_eq!(names(&some.sources(&name(&format!("tool@{DIGEST}"))).expect("one")), [with_digest]);
    assert_eq!(names(&some.sources(&name("quay.io/x")).expect("one")), ["quay.io/x:latest"]);
    assert_eq!(names(&some.candidates(&name("quay.io/x"))), ["quay.io/x:latest"]);
    // Nobody is asked which one is meant.
    let strict = loaded(&["unqualified-search-registries = ['a.example', 'b.example']\nshort-name-mode = 'enforcing'"]);
    let error = format!("{:#}", strict.expect("valid").sources(&name("app")).expect_err("two"));
    assert!(error.contains("a.example/app:latest, b.example/app:latest"), "{error}");
    let one = read("unqualified-search-registries = ['a.example']\nshort-name-mode = 'enforcing'");
    assert_eq!(names(&one.sources(&name("app")).expect("one")), ["a.example/app:latest"]);
    assert!(read("unqualified-search-registries = []").sources(&name("app")).is_err());
}

#[test]
fn later_files_win() {
    let all = loaded(&[
        "unqualified-search-registries = ['a.example']\n[aliases]\nx = 'a.example/x'\ny = 'a.example/y'\n",
        "[[registry]]\nlocation = 'r.example'\ninsecure = true\n[aliases]\ny = ''\n",
        "[registries]\nunqualified-search-registries = ['b.example']\n[registries.aliases]\nx = 'b.example/x'\n\
         [[registries.registry]]\nlocation = 'r.example'\n",
    ]);
    let all = all.expect("valid");
    let sources = |text: &str| names(&all.sources(&Name::parse(text).expect(text)).expect(text));
    assert_eq!(sources("x"), ["b.example/x:latest"]);
    assert_eq!(sources("y"), ["b.example/y:latest"]);
    assert_eq!(places(&all, "r.example/x:v1"), [("r.example/x:v1".to_owned(), false)]);
}

#[test]
fn the_old_form_and_what_is_blocked() {
    let old = "[registries.search]\nregistries = ['a.example']\n[registries.insecure]\nregistries = ['b.example:5000']\n\
               [registries.block]\nregistries = ['c.example']\n";
    let file: file::File = toml::from_str(old).expect("valid");
    let mut all = Registries::default();
    all.add(file, Path::new("/etc/old.conf")).expect("valid");
    assert_eq!(all.search(), ["a.example"]);
    assert_eq!(places(&all, "b.example:5000/x:v1"), [("b.example:5000/x:v1".to_owned(), true)]);
    for image in ["c.example/x", "c.example/x/y:v1"] {
        let (pull, push) = (all.places(&reference(image)), all.own_place(&reference(image)));
        for error in [pull.expect_err("blocked"), push.expect_err("blocked")] {
            assert!(format!("{error:#}").contains("blocked by /etc/old.conf"), "{error:#}");
        }
    }
}

#[test]
fn what_is_wrong_is_said() {
    for (text, why) in [
        ("x = [\n", "conf:"),
        ("\n\nunqualified-search-registries = 5", "conf:3: "),
        ("unqualified-search-registries = ['https://a.example']", "https://a.example"),
        ("unqualified-search-registries = ['a.example/x']", "a.example/x"),
        ("short-name-mode = 'often'", "short-name-mode"),
        ("[[registry]]\ninsecure = true", "neither a prefix nor a location"),
        ("[[registry]]\nlocation = 'https://a.example'", "without https://"),
        ("[[registry]]\nprefix = '*.example.com/x'\nlocation = 'a.example'", "*.example.com/x"),
        ("[[registry]]\nprefix = 'a.*.example'\nlocation = 'a.example'", "a.*.example"),
        ("[[registry]]\nlocation = 'a.example'\nmirror = [{ location = '' }]", "mirror"),
        (
            "[[registry]]\nlocation = 'a.example'\nmirror = [{ location = 'b.example', pull-from-mirror = 'x' }]",
            "all, ",
        ),
        (
            "[[registry]]\nlocation = 'a.example'\nmirror-by-digest-only = true\n\
             mirror = [{ location = 'b.example', pull-from-mirror = 'all' }]",
            "mirror-by-digest-only",
        ),
        ("[aliases]\n'a:v1' = 'b.example/x'", "a:v1"),
        ("[aliases]\na = 'b/x'", "b/x"),
    ] {
        let error = format!("{:#}", loaded(&[text]).expect_err(text));
        assert!(error.contains(why) && !error.contains('\n'), "{text}: {error}");
    }
}

#[test]
fn fuzz_registries() {
    let seeds = [
        r#"unqualified-search-registries = ["quay.io", "localhost:5000"]
        short-name-mode = "enforcing"
        [aliases]
        "app" = "quay.io/team/app"
        [[registry]]
        prefix = "*.example.org"
        location = "b.example/x"
        insecure = true
        [[registry.mirror]]
        location = "m.example:5000/hub"
        pull-from-mirror = "digest-only""#,
        "[registries.search]\nregistries = ['a.b']\n[registries.insecure]\nregistries = ['x.y:1']\n[registries.block]\nregistries = []",
        "[[registry]]\nlocation = \"docker.io\"\nprefix = \"docker.io/library\"\nblocked = false",
    ];
    let words = [
        "[",
        "]",
        "\"",
        "=",
        ".",
        "\n",
        "/",
        ":",
        "*.",
        "[[registry]]\n",
        "location = ",
        "prefix = ",
        "docker.io",
        "true",
        "@",
        "[::1]",
    ];
    let file = tempfile::NamedTempFile::new().expect("a file");
    crate::fuzz::text("registries", &seeds, &words, |text| {
        fs_err::write(file.path(), text).expect("written");
        let mut all = Registries::default();
        let read = file::read(file.path(), text.starts_with('[')).and_then(|found| match found {
            Some(found) => all.add(found, file.path()),
            None => Ok(()),
        });
        let mut shapes = vec![read.map_err(|error| crate::fuzz::kind_of(&error))];
        for typed in ["app", "quay.io/team/app:v1", "x.example.org/y", "[::1]:5000/a", &format!("library/x@{DIGEST}")] {
            let name = Name::parse(typed).expect(typed);
            let found = all.sources(&name).unwrap_or_default().into_iter().chain(all.candidates(&name));
            for image in found.collect::<Vec<_>>() {
                assert_eq!(reference(&image.to_string()), image);
                match all.places(&image) {
                    Ok(places) => {
                        assert!(!places.is_empty());
                        for place in places {
                            assert_eq!(reference(&place.reference.to_string()), place.reference);
                            assert_eq!(place.reference.digest, image.digest.clone().or(place.reference.digest.clone()));
                        }
                    }
                    Err(error) => shapes.push(Err(crate::fuzz::kind_of(&error))),
                }
            }
        }
        shapes
    });
}
