//! Logging in and out, and where credentials are kept.

use crate::env::{Done, Env, set_mode};
use crate::fake::{Answer, Fake, Request};
use crate::image::Image;
use rustix::pty::OpenptFlags;
use serde_json::{Value, json};
use std::io::Write;
use std::process::Stdio;

const GOOD: &str = "Basic YWRhOnNlY3JldA==";

/// A registry that ada opens with "secret".
fn closed() -> Fake {
    Fake::new(|request: &Request, _| {
        let challenge = "Basic realm=x";
        (request.header("Authorization") != Some(GOOD)).then(|| Answer::new(401).header("WWW-Authenticate", challenge))
    })
}

impl Env {
    fn with_input(&self, args: &[&str], input: &str) -> Done {
        let mut command = self.rbox();
        command.args(args).env_remove("REGISTRY_AUTH_FILE").env_remove("DOCKER_CONFIG");
        command.env("CONTAINERS_REGISTRIES_CONF", self.conf());
        let path = format!("{}:{}", self.path("helpers").display(), std::env::var("PATH").unwrap());
        command.env("PATH", path).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("rbox starts");
        // One that asks for nothing reads nothing.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().expect("rbox ends").into()
    }

    fn json(&self, name: &str) -> Value {
        let text = std::fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        serde_json::from_slice(&text).unwrap()
    }
}

fn login<'a>(rest: &[&'a str]) -> Vec<&'a str> {
    [&["login", "-u", "ada", "--password-stdin"], rest].concat()
}

#[test]
fn right_wrong_and_out() {
    let env = Env::new();
    for fake in [closed(), crate::pull::with_tokens()] {
        fake.add("app", "v1", &Image::small("x"));
        let registry = fake.address().to_string();
        let wrong =
            env.with_input(&login(&[&registry]), "wr0ng\n").fails(125, "does not take the name and the password");
        assert!(!wrong.stderr.contains("wr0ng"), "{wrong:?}");
        assert!(!env.path("run/containers/auth.json").exists());
        env.call(&["login", "--get-login", &registry]).fails(125, "not logged in");
        // The end of the line is none of the password.
        assert_eq!(env.with_input(&login(&[&registry]), "secret\r\n").ok().stdout, "Login Succeeded\n");
        assert_eq!(env.call(&["login", "--get-login", &registry]).ok().stdout, "ada\n");
        assert_eq!(
            env.json("run/containers/auth.json"),
            json!({ "auths": { &registry: { "auth": "YWRhOnNlY3JldA==" } } })
        );
        env.call(&["pull", "-q", &fake.name("app:v1")]).ok();
        assert_eq!(env.call(&["login", &registry]).ok().stdout, "Login Succeeded\n");
        env.call(&["logout", &registry]).ok();
        env.call(&["logout", &registry]).fails(125, "not logged in");
        assert_eq!(env.json("run/containers/auth.json"), json!({ "auths": {} }));
        std::fs::remove_file(env.path("run/containers/auth.json")).unwrap();
    }
}

#[test]
fn passwords_on_the_command_line() {
    let env = Env::new();
    let fake = closed();
    let registry = fake.address().to_string();
    let done = env.call(&["login", "-u", "ada", "-p", "secret", &registry]).ok();
    assert!(done.stderr.contains("WARNING! Using --password via the CLI is insecure"), "{done:?}");
    assert!(!format!("{done:?}").contains("secret"));
    env.call(&["login", "-p", "x", "--password-stdin", "-u", "ada", &registry]).fails(125, "--password");
    env.call(&["login", "--password-stdin", &registry]).fails(125, "--username");
    env.call(&["login", "-u", "ada", "other.example"]).fails(125, "nobody can be asked");
    env.call(&["login", "-u", "a:b", "-p", "x", "other.example"]);
    env.with_input(&login(&[&registry]), "").fails(125, "an empty password");
    for name in ["", "x", "quay.io/Team", "https://"] {
        env.with_input(&login(&[name]), "x").fails(125, "of a registry is wanted");
    }
}

#[test]
fn files_that_are_named() {
    let env = Env::new();
    let fake = closed();
    let registry = fake.address().to_string();
    let part = format!("{registry}/team");
    let (named, variable) = (env.path("named.json"), env.path("variable.json"));
    let (named, variable) = (named.to_str().unwrap(), variable.to_str().unwrap());
    env.with_input(&login(&["--authfile", named, &part]), "secret").ok();
    assert!(env.json("named.json")["auths"][&part].is_object());
    env.call_with(&[("REGISTRY_AUTH_FILE", variable)], &["login", "-u", "ada", "-p", "secret", &registry]).ok();
    assert!(env.json("variable.json")["auths"][&registry].is_object());
    assert!(!env.path("run/containers").exists());
    // A part of the registry is a part.
    env.call(&["login", "--get-login", "--authfile", named, &registry]).fails(125, "not logged in");
    fake.add("team/app", "v1", &Image::small("x"));
    fake.add("app", "v1", &Image::small("x"));
    env.call(&["pull", "-q", "--authfile", named, &fake.name("team/app:v1")]).ok();
    env.call(&["pull", "-q", "--authfile", named, &fake.name("app:v1")]).fails(125, "401");
    env.call(&["logout", "--all", "--authfile", named]).ok();
    assert_eq!(env.json("named.json"), json!({ "auths": {} }));
    // Where there is no runtime directory of the caller's.
    env.call_with(&[("XDG_RUNTIME_DIR", "/")], &["login", "-u", "ada", "-p", "secret", &registry]).ok();
    assert!(env.json("home/.config/containers/auth.json")["auths"][&registry].is_object());
}

#[test]
fn helpers() {
    let env = Env::new();
    // Keeps what it is given in files.
    let helper = env.write(
        "helpers/docker-credential-test",
        &format!(
            "#!/bin/sh\nset -e\ndir={0}\ncase $1 in\nstore) cat >$dir/stored ;;\n\
             get) cat >$dir/asked; [ -e $dir/stored ] || {{ echo 'credentials not found in native keychain'; exit 1; }}; cat $dir/stored ;;\n\
             erase) cat >/dev/null; rm $dir/stored ;;\nesac\n",
            env.path("helpers").display()
        ),
    );
    set_mode(helper.as_ref(), 0o755);
    let fake = closed();
    let registry = fake.address().to_string();
    env.write("home/.docker/config.json", &json!({ "credHelpers": { &registry: "test" }, "x": 1 }).to_string());
    // An older one, which would be found first.
    env.write("run/containers/auth.json", &json!({ "auths": { &registry: { "auth": "YTpi" } } }).to_string());
    let done = env.with_input(&login(&[&registry]), "secret").ok();
    assert!(done.stderr.contains("docker-credential-test"), "{done:?}");
    let stored = env.json("helpers/stored");
    assert_eq!(stored, json!({ "ServerURL": &registry, "Username": "ada", "Secret": "secret" }));
    assert_eq!(env.json("run/containers/auth.json"), json!({ "auths": {} }));
    assert_eq!(env.json("home/.docker/config.json"), json!({ "credHelpers": { &registry: "test" }, "x": 1 }));
    fake.add("app", "v1", &Image::small("x"));
    env.with_input(&["pull", "-q", &fake.name("app:v1")], "").ok();
    assert_eq!(std::fs::read_to_string(env.path("helpers/asked")).unwrap(), registry);
    env.with_input(&["logout", &registry], "").ok();
    assert!(!env.path("helpers/stored").exists());
    env.with_input(&["logout", &registry], "").fails(125, "not logged in");
    // One that fails does not say the secret.
    std::fs::write(&helper, "#!/bin/sh\ncat\nexit 1\n").unwrap();
    let done = env.with_input(&["login", "-u", "ada", "-p", "secret", &registry], "");
    assert!(done.status == 125 && !done.stderr.contains("secret"), "{done:?}");
    env.write("home/.docker/config.json", &json!({ "credHelpers": { &registry: "missing" } }).to_string());
    env.with_input(&["logout", &registry], "").fails(125, "docker-credential-missing");
}

#[test]
fn typed_at_a_terminal() {
    let env = Env::new();
    let fake = closed();
    let registry = fake.address().to_string();
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    rustix::pty::unlockpt(&master).unwrap();
    let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let slave = rustix::fs::open(name.as_c_str(), flags, rustix::fs::Mode::empty()).unwrap();
    let mut seen = String::new();
    let mut wait_for = |text: &str| {
        while !seen.contains(text) {
            let mut buffer = [0; 1024];
            let length = rustix::io::read(&master, &mut buffer).unwrap();
            seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        std::mem::take(&mut seen)
    };
    let mode = |slave| rustix::termios::tcgetattr(slave).unwrap().local_modes;
    let before = mode(&slave);
    for (keys, status, last) in [("secre\x7fet\r", 0, "Login Succeeded"), ("secr\x03", 130, "interrupted")] {
        let end = || Stdio::from(slave.try_clone().unwrap());
        let mut command = env.rbox();
        command.args(["login", "--authfile", env.path("auth.json").to_str().unwrap(), &registry]);
        command.env("CONTAINERS_REGISTRIES_CONF", env.conf());
        let mut child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        wait_for("Username: ");
        rustix::io::write(&master, b"ada\n").unwrap();
        wait_for("Password: ");
        // The question comes before the echo goes.
        crate::env::eventually("no echo", || mode(&slave) != before);
        rustix::io::write(&master, keys.as_bytes()).unwrap();
        let shown = wait_for(last);
        assert!(!shown.contains("secr"), "{shown}");
        assert_eq!(child.wait().unwrap().code(), Some(status));
        assert_eq!(mode(&slave), before);
        let _ = std::fs::remove_file(env.path("auth.json"));
    }
}

#[test]
fn two_at_once_lose_nothing() {
    let env = Env::new();
    let fake = closed();
    let registry = fake.address().to_string();
    std::thread::scope(|scope| {
        for number in 0..10 {
            let account = format!("{registry}/team{number}");
            let env = &env;
            scope.spawn(move || env.call(&["login", "-u", "ada", "-p", "secret", &account]).ok());
        }
    });
    assert_eq!(env.json("run/containers/auth.json")["auths"].as_object().unwrap().len(), 10);
}
