//! Against docker's registry (Debian's docker-registry), looked at with skopeo.

use crate::env::{self, Env};
use crate::fake::Fake;
use crate::image::{DOCKER, Image, OCI, Packed, archive, noise};
use crate::tls::Authority;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

/// A registry in a process of its own.
struct Registry {
    child: Child,
    address: String,
}

impl Registry {
    /// `http` and `auth` are parts of its configuration.
    fn start(env: &Env, name: &str, http: Value, auth: Value) -> Registry {
        // Free now, and most likely in a moment.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let mut http = http;
        http["addr"] = json!(address);
        let root = env.path(&format!("{name}-data"));
        let mut config =
            json!({ "version": "0.1", "storage": { "filesystem": { "rootdirectory": root } }, "http": http });
        if !auth.is_null() {
            config["auth"] = auth;
        }
        // JSON is YAML.
        let file = env.write(&format!("{name}.yml"), &config.to_string());
        let mut child = Command::new("docker-registry")
            .args(["serve", &file])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let said: Vec<String> = lines.by_ref().take_while(|line| !line.contains("listening on")).collect();
        // Its log is read on, or it would wait for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        assert!(child.try_wait().unwrap().is_none(), "{said:?}");
        // It says so a moment before it is so.
        env::eventually("the registry listens", || std::net::TcpStream::connect(&address).is_ok());
        Registry { child, address }
    }

    fn name(&self, repository: &str) -> String {
        format!("{}/{repository}", self.address)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_installed(program: &str) -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap()).any(|dir| dir.join(program).exists())
}

/// Leaves the test where a program is missing.
macro_rules! needs {
    ($test:expr, $($program:expr),+) => {
        $(if !is_installed($program) {
            return env::skip($test, concat!($program, " is not installed"));
        })+
    };
}

/// The digest that skopeo sees.
fn digest(env: &Env, options: &[&str], name: &str) -> String {
    let inspect = ["inspect", "--format", "{{.Digest}}", "--override-os", "linux"];
    let output = env.command("skopeo").args(inspect).args(options).arg(format!("docker://{name}")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

const PLAIN: &[&str] = &["--tls-verify=false"];

#[test]
fn there_and_back() {
    needs!("there_and_back", "docker-registry", "skopeo");
    let env = Env::new();
    let registry = Registry::start(&env, "plain", json!({}), Value::Null);
    let archives = [archive(&[("a", &noise(300_000, 5), 0o644)]), archive(&[("b", b"b", 0o644)])];
    let fake = Fake::honest();
    for (number, (packed, media_type)) in
        [(Packed::Gzip, OCI), (Packed::Zstd, OCI), (Packed::Plain, OCI), (Packed::Gzip, DOCKER)].into_iter().enumerate()
    {
        let image = Image::new(&archives.each_ref().map(Vec::as_slice), packed, media_type);
        let from = format!("app{number}:v1");
        fake.add(&format!("app{number}"), "v1", &image);
        env.call(&["pull", "-q", &fake.name(&from)]).ok();
        env.call(&["push", "-q", &fake.name(&from), &registry.name(&from)]).ok();
        assert_eq!(digest(&env, PLAIN, &registry.name(&from)), image.digest());
        // Into a store that has never seen it, and out of it again.
        let other = Env::new();
        assert_eq!(other.call(&["pull", "-q", &registry.name(&from)]).ok().stdout, format!("{}\n", image.id()));
        let second = registry.name(&format!("second/app{number}:v2"));
        let done = other.call(&["push", &registry.name(&from), &second]).ok();
        assert!(done.stdout.contains(&image.digest()), "{done:?}");
        assert_eq!(done.stderr.matches("already there, mounted from").count(), 2, "{done:?}");
        assert_eq!(digest(&env, PLAIN, &second), image.digest());
    }
    let done = env.call(&["search", "--list-tags", &registry.name("second/app0")]).ok();
    assert!(done.stdout.contains("v2"), "{done:?}");
    assert_eq!(env.call(&["search", &registry.name("second/")]).ok().stdout.lines().count(), 5);
}

#[test]
fn what_skopeo_makes_of_an_image() {
    needs!("what_skopeo_makes_of_an_image", "docker-registry", "skopeo");
    let env = Env::new();
    let registry = Registry::start(&env, "plain", json!({}), Value::Null);
    let fake = Fake::honest();
    let layer = archive(&[("busy", &noise(100_000, 9), 0o755), ("etc/", b"", 0o755)]);
    fake.add("app", "v1", &Image::new(&[&layer], Packed::Gzip, OCI));
    for options in [
        &["--format", "v2s2"][..],
        &["--format", "oci", "--dest-compress-format", "zstd"],
        &["--format", "oci", "--dest-compress-format", "gzip"],
    ] {
        let to = registry.name(&format!("{}:v1", options.last().unwrap()));
        let mut skopeo = env.command("skopeo");
        skopeo.args(["copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false", "--dest-compress"]);
        skopeo.args(options).args([format!("docker://{}", fake.name("app:v1")), format!("docker://{to}")]);
        // Containers in containers may lack what a policy file says.
        skopeo.args(["--insecure-policy"]);
        let output = skopeo.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        env.call(&["pull", "-q", &to]).ok();
        assert_eq!(env.images()[&to], digest(&env, PLAIN, &to));
        let again = registry.name("again:v1");
        env.call(&["push", "-q", &to, &again]).ok();
        assert_eq!(digest(&env, PLAIN, &again), digest(&env, PLAIN, &to));
    }
}

/// Name ada, password secret.
const HTPASSWD: &str = "ada:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

#[test]
fn with_certificates_and_passwords() {
    needs!("with_certificates_and_passwords", "docker-registry", "skopeo", "openssl");
    let env = Env::new();
    let authority = Authority::new(&env).unwrap();
    let htpasswd = env.write("htpasswd", HTPASSWD);
    let tls = json!({ "tls": { "certificate": authority.certificate, "key": authority.key } });
    let registry = Registry::start(&env, "closed", tls, json!({ "htpasswd": { "realm": "x", "path": htpasswd } }));
    let image = Image::small("x");
    let fake = Fake::honest();
    fake.add("app", "v1", &image);
    env.call(&["pull", "-q", &fake.name("app:v1")]).ok();
    let (from, to) = (fake.name("app:v1"), registry.name("app:v1"));
    // Its certificate is nobody's who is known.
    env.call(&["push", "-q", "--tls-verify", &from, &to]).fails(125, "certificate");
    let verified = ["-q", "--tls-verify", "--cert-dir", &authority.dir];
    let push = |more: &[&str]| env.call(&[&["push"], &verified[..], more, &[&from, &to]].concat());
    push(&[]).fails(125, "401");
    push(&["--creds", "ada:wrong"]).fails(125, "401");
    let login = |password: &str| {
        env.call(&[
            "login",
            "--tls-verify",
            "--cert-dir",
            &authority.dir,
            "-u",
            "ada",
            "-p",
            password,
            &registry.address,
        ])
    };
    assert!(login("wrong").stderr.contains("does not take the name and the password"));
    login("secret").ok();
    push(&[]).ok();
    // Where podman and docker look for certificates.
    let beside = env.path("home/.config/containers/certs.d").join(&registry.address);
    std::fs::create_dir_all(&beside).unwrap();
    std::fs::copy(env.path("certs/ca.crt"), beside.join("ca.crt")).unwrap();
    env.call(&["pull", "-q", "--tls-verify", &to]).ok();
    // skopeo reads what rbox has kept.
    let auth = env.path("run/containers/auth.json");
    let options = ["--cert-dir", &authority.dir, "--authfile", auth.to_str().unwrap()];
    assert_eq!(digest(&env, &options, &to), image.digest());
    env.call(&["logout", &registry.address]).ok();
    env.call(&["pull", "-q", &to]).fails(125, "401");
}
