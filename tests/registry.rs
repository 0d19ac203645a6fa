//! Registries, honest and hostile: what comes, what goes, who learns what.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

#[path = "registry/accounts.rs"]
mod accounts;
#[path = "registry/fake.rs"]
mod fake;
#[path = "registry/hostile.rs"]
mod hostile;
#[path = "registry/image.rs"]
mod image;
#[path = "registry/names.rs"]
mod names;
#[path = "registry/proxies.rs"]
mod proxies;
#[path = "registry/pull.rs"]
mod pull;
#[path = "registry/push.rs"]
mod push;
#[path = "registry/real.rs"]
mod real;
#[path = "registry/tls.rs"]
mod tls;

use env::{Done, Env};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

impl Env {
    /// `rbox ARGUMENTS…`, and nothing of the host's configuration. Proxies of whoever runs the test are none here.
    fn call(&self, args: &[&str]) -> Done {
        self.call_with(&[], args)
    }

    fn call_with(&self, variables: &[(&str, &str)], args: &[&str]) -> Done {
        let mut command = self.rbox();
        for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        for name in ["REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_CONFIG_HOME", "SSL_CERT_FILE"] {
            command.env_remove(name);
        }
        command.env("CONTAINERS_REGISTRIES_CONF", self.conf()).envs(variables.iter().copied());
        command.args(args).output().expect("rbox starts").into()
    }

    /// The test's registries.conf; empty if it has none.
    fn conf(&self) -> PathBuf {
        let path = self.path("registries.conf");
        // Two calls at once may both make it.
        std::fs::OpenOptions::new().create(true).append(true).open(&path).unwrap();
        path
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The names of the images in the store, and their manifests' digests.
    fn images(&self) -> BTreeMap<String, String> {
        let Ok(text) = std::fs::read(self.path("data/rbox/images/index.json")) else { return BTreeMap::new() };
        let index: Value = serde_json::from_slice(&text).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        index["manifests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| (text(&entry["annotations"]["org.opencontainers.image.ref.name"]), text(&entry["digest"])))
            .collect()
    }

    /// Asserts that the store has no image, nothing half made, and that nothing was made beside it.
    #[track_caller]
    fn has_nothing(&self) {
        assert_eq!(self.images(), BTreeMap::new());
        for dir in ["data/rbox/tmp", "data/rbox/locks"] {
            let left: Vec<_> = entries(&self.path(dir)).into_iter().filter(|name| name.starts_with("sha256")).collect();
            assert!(left.is_empty(), "{dir}: {left:?}");
        }
        assert_eq!(entries(&self.path("data/rbox/tmp")), [""; 0]);
        assert_eq!(entries(&self.path("data")), ["rbox"]);
        assert_eq!(entries(&self.path("data/rbox")), ["images", "layers", "locks", "tmp"]);
        assert_eq!(entries(&self.path("data/rbox/images")), ["blobs", "index.json", "oci-layout"]);
        assert_eq!(entries(&self.path("home")), [""; 0]);
    }
}

fn entries(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
