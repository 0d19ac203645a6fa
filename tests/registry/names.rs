//! Where names lead: registries.conf, mirrors, short names, search.

use crate::env::Env;
use crate::fake::{Answer, Fake, Request};
use crate::image::{Image, OCI, Packed, archive};
use base64::Engine;
use serde_json::json;

impl Env {
    fn configure(&self, text: &str) {
        self.write("registries.conf", text);
    }
}

fn denied() -> Fake {
    Fake::new(|request: &Request, _| {
        let header = "Basic realm=x";
        request.header("Authorization").is_none().then(|| Answer::new(401).header("WWW-Authenticate", header))
    })
}

#[test]
fn mirrors_are_asked_one_after_the_other() {
    let env = Env::new();
    let (empty, broken, mirror, own) =
        (Fake::honest(), Fake::new(|_, _| Some(Answer::new(400))), Fake::honest(), Fake::honest());
    let image = Image::small("mirrored");
    mirror.add("hub/library/app", "v1", &image);
    own.add("library/other", "v1", &image);
    let [empty_at, broken_at, mirror_at, own_at] = [&empty, &broken, &mirror, &own].map(Fake::address);
    env.configure(&format!(
        "[[registry]]\nprefix = 'docker.io'\nlocation = '{own_at}'\nmirror = [{{ location = '{empty_at}' }}, \
         {{ location = '{broken_at}' }}, {{ location = '{mirror_at}/hub' }}]\n"
    ));
    let done = env.call(&["pull", "app:v1"]).ok();
    assert!(done.stderr.contains(&format!("mirror {empty_at}/library/app:v1: 404")), "{done:?}");
    // It has the name that was asked for, wherever it comes from.
    assert_eq!(env.images().into_keys().collect::<Vec<_>>(), ["docker.io/library/app:v1"]);
    assert_eq!((broken.count("GET", "/v2/library/app/"), own.seen().len()), (1, 0));
    env.call(&["pull", "other:v1"]).ok();
    assert!(env.images().contains_key("docker.io/library/other:v1"));
    let done = env.call(&["pull", "-q", "none:v1"]).fails(125, "in none of the places");
    for place in [empty_at, broken_at, own_at] {
        assert!(done.stderr.lines().next().unwrap().contains(&format!("{place}/library/none:v1: ")), "{done:?}");
    }
}

#[test]
fn each_mirror_gets_its_own_credentials() {
    let env = Env::new();
    let (mirror, own) = (denied(), denied());
    own.add("app", "v1", &Image::small("x"));
    let (mirror_at, own_at) = (mirror.address(), own.address());
    env.configure(&format!("[[registry]]\nlocation = '{own_at}'\nmirror = [{{ location = '{mirror_at}' }}]\n"));
    let auth = |text: &str| json!({ "auth": base64::engine::general_purpose::STANDARD.encode(text) });
    let auths = json!({ "auths": { mirror_at.to_string(): auth("for:mirror"), own_at.to_string(): auth("for:own") } });
    let file = env.write("auth.json", &auths.to_string());
    env.call(&["pull", "-q", "--authfile", &file, &own.name("app:v1")]).ok();
    // What is typed is for the registry that is typed.
    env.call(&["pull", "-q", "--authfile", &file, "--creds", "typed:in", &own.name("app:v1")]).ok();
    let given = |fake: &Fake| -> Vec<String> {
        let mut given: Vec<String> = fake
            .seen()
            .iter()
            .filter_map(|request| request.header("Authorization")?.strip_prefix("Basic ").map(str::to_owned))
            .map(|text| String::from_utf8(base64::engine::general_purpose::STANDARD.decode(text).unwrap()).unwrap())
            .collect();
        given.dedup();
        given
    };
    assert_eq!(given(&mirror), ["for:mirror"]);
    assert_eq!(given(&own), ["for:own", "typed:in"]);
}

#[test]
fn short_names_are_looked_for_in_each_registry() {
    let env = Env::new();
    let (first, second) = (denied(), Fake::honest());
    second.add("app", "v1", &Image::small("x"));
    let list = format!("unqualified-search-registries = ['{}', '{}']\n", first.address(), second.address());
    env.configure(&list);
    env.call(&["pull", "-q", "app:v1"]).ok();
    assert_eq!(env.images().into_keys().collect::<Vec<_>>(), [second.name("app:v1")]);
    let done = env.call(&["pull", "-q", "none:v1"]).fails(125, "in none of the places");
    for place in [first.name("none:v1: 401"), second.name("none:v1: 404")] {
        assert!(done.stderr.contains(&place), "{done:?}");
    }
    env.call(&["pull", "-q", "--creds", "a:b", "app:v1"]).fails(125, "for one registry");
    env.configure(&format!("short-name-mode = 'enforcing'\n{list}"));
    env.call(&["pull", "-q", "app:v1"]).fails(125, "may be any of");
    env.configure(&format!("short-name-mode = 'enforcing'\n{list}[aliases]\napp = '{}'\n", second.name("app")));
    env.call(&["pull", "-q", "app:v1"]).ok();
    // Nobody knows whether a registry that does not answer has it.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    env.configure(&format!("unqualified-search-registries = ['{gone}', '{}']\n", second.address()));
    let asked = second.seen().len();
    env.call(&["pull", "-q", "app:v1"]).fails(125, &format!("{gone}"));
    assert_eq!(second.seen().len(), asked);
}

#[test]
fn files_and_their_order() {
    let env = Env::new();
    let fake = Fake::honest();
    fake.add("app", "v1", &Image::small("x"));
    let blocked = format!("[[registry]]\nlocation = '{}'\nblocked = true\n", fake.address());
    let free = blocked.replace("true", "false");
    env.configure(&blocked);
    let name = fake.name("app:v1");
    env.call(&["pull", "-q", &name]).fails(125, "is blocked by");
    assert_eq!(fake.seen().len(), 0);
    let drop_in = env.write("home/.config/containers/registries.conf.d/1.conf", &free);
    env.call(&["pull", "-q", &name]).ok();
    env.call(&["push", "-q", &name]).ok();
    env.write("home/.config/rbox/config.toml", &format!("[registries]\n{}", blocked.replace("[[", "[[registries.")));
    env.call(&["pull", "-q", &name]).fails(125, "home/.config/rbox/config.toml");
    env.call(&["push", "-q", &name]).fails(125, "is blocked by");
    std::fs::write(&drop_in, "\nunqualified-search-registries = 5\n").unwrap();
    env.call(&["pull", "-q", &name]).fails(125, "registries.conf.d/1.conf:2: ");
    let missing = [("CONTAINERS_REGISTRIES_CONF", "/nonexistent/registries.conf")];
    env.call_with(&missing, &["pull", "-q", &name]).fails(125, "/nonexistent/registries.conf");
}

#[test]
fn a_container_from_an_image_that_is_here_reads_no_configuration() {
    let env = Env::new();
    let fake = Fake::honest();
    let Ok(busybox) = std::fs::read("/bin/busybox") else {
        let test = "a_container_from_an_image_that_is_here_reads_no_configuration";
        return crate::env::skip(test, "busybox-static is not installed");
    };
    let dirs = ["proc/", "dev/", "sys/", "etc/"].map(|dir| (dir, &b""[..], 0o755));
    let layer = archive(&[&[("busybox", busybox.as_slice(), 0o755)], &dirs[..]].concat());
    let image = Image::new(&[&layer], Packed::Zstd, OCI);
    fake.add("library/busy", "v1", &image);
    env.configure(&format!("[[registry]]\nprefix = 'docker.io'\nlocation = '{}'\n", fake.address()));
    let echo = |name: &str| env.call(&["run", "--rm", name, "/busybox", "echo", "it runs"]);
    assert_eq!(echo("busy:v1").ok().stdout, "it runs\n");
    env.configure("= nonsense");
    for name in ["busy:v1", "docker.io/library/busy:v1", "docker.io/busy:v1"] {
        assert_eq!(echo(name).ok().stdout, "it runs\n");
    }
    echo("other:v1").fails(125, "registries.conf:1: ");
    // A name that podman's users give to what they made.
    let index = env.path("data/rbox/images/index.json");
    let text = std::fs::read_to_string(&index).unwrap().replace("docker.io/library/busy", "localhost/busy");
    std::fs::write(index, text).unwrap();
    env.configure("");
    assert_eq!(echo("busy:v1").ok().stdout, "it runs\n");
}

#[test]
fn tags_page_after_page() {
    let env = Env::new();
    let fake = Fake::new(|request, _| {
        let next = |last: u32| format!("</v2/team/app/tags/list?last={last}>; rel=\"next\"");
        let tags =
            |from: u32| json!({ "tags": (from..from + 10).map(|n| format!("v{n}")).collect::<Vec<_>>() }).to_string();
        match request.query("last") {
            _ if !request.target.contains("/tags/list") => None,
            None => Some(Answer::with(200, tags(0)).header("Link", next(10))),
            Some("10") => Some(Answer::with(200, tags(10)).header("Link", next(20))),
            // Two that are no tags.
            Some("20") => Some(Answer::with(200, json!({ "tags": ["v20", "\u{1b}[31m", "../x"] }).to_string())),
            _ => None,
        }
    });
    let name = fake.name("team/app");
    let done = env.call(&["search", "--list-tags", "--limit", "100", &name]).ok();
    let rows: Vec<Vec<&str>> = done.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((rows.len(), &rows[0], &rows[21]), (22, &vec!["NAME", "TAG"], &vec![name.as_str(), "v20"]));
    assert_eq!(env.call(&["search", "--list-tags", "--limit", "12", &name]).ok().stdout.lines().count(), 13);
    env.call(&["search", "--list-tags", &fake.name("none:v1")]).fails(125, "without a tag");
    // A list that leads to another host, and one without an end.
    let other = Fake::new(|request, _| {
        request
            .target
            .contains("/tags/list")
            .then(|| Answer::with(200, r#"{"tags":["x"]}"#).header("Link", "<http://127.0.0.1:1/>; rel=next"))
    });
    env.call(&["search", "--list-tags", &other.name("x")]).fails(125, "another host");
    let endless =
        Fake::new(|request, _| request.target.contains("/tags/list").then(|| Answer::endless(200, r#"{"tags":[""#)));
    env.call(&["search", "--list-tags", &endless.name("x")]).fails(125, "of at most");
}

#[test]
fn search() {
    let env = Env::new();
    let listed = Fake::honest();
    for repository in ["team/app", "team/other", "apple"] {
        listed.add(repository, "v1", &Image::small("x"));
    }
    let done = env.call(&["search", &listed.name("app")]).ok();
    let names: Vec<&str> = done.stdout.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["NAME", &listed.name("apple"), &listed.name("team/app")]);
    let searched = Fake::new(|request, _| {
        let results = json!([
            { "name": "app", "description": "An app\nof \u{1b}[31mten", "star_count": 10, "is_official": true },
            { "name": "team/app", "description": "d".repeat(100), "star_count": 3, "is_official": false }
        ]);
        (request.path() == "/v1/search").then(|| Answer::with(200, json!({ "results": results }).to_string()))
    });
    // docker's own registry, somewhere else.
    env.configure(&format!("[[registry]]\nprefix = 'docker.io'\nlocation = '{}'\n", searched.address()));
    let done = env.call(&["search", "an app"]).ok();
    let lines: Vec<String> =
        done.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let short = format!("{}…", "d".repeat(44));
    assert_eq!(
        lines,
        ["NAME DESCRIPTION STARS OFFICIAL", "app An app of [31mten 10 [OK]", &format!("team/app {short} 3")]
    );
    assert_eq!(searched.seen().last().unwrap().query("q"), Some("an%20app"));
    assert_eq!(searched.seen().last().unwrap().query("n"), Some("25"));
    let done = env.call(&["search", "--no-trunc", "--filter", "is-official=false", "--limit", "7", "app"]).ok();
    assert!(done.stdout.contains(&"d".repeat(100)) && !done.stdout.contains("[OK]"), "{done:?}");
    assert_eq!(env.call(&["search", "--filter", "stars=11", "app"]).ok().stdout.lines().count(), 1);
    assert_eq!(env.call(&["search", "--limit", "1", "app"]).ok().stdout.lines().count(), 2);
    // Several registries: one that fails does not hide what another one has.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    env.configure(&format!("unqualified-search-registries = ['{gone}', '{}']\n", listed.address()));
    let done = env.call(&["search", "apple"]).ok();
    assert!(done.stdout.contains(&listed.name("apple")) && done.stderr.contains(&format!("search {gone}")), "{done:?}");
}
