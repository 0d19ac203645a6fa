//! A store that loses nothing: processes killed at any moment, full and read-only disks, many at once, damage.
//!
//! `RBOX_TEST_LONG=1` repeats each kill a hundred times; `RBOX_TEST_SEED=N` repeats the moments of a run that failed.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

#[path = "crash/damage.rs"]
mod damage;
#[path = "crash/disk.rs"]
mod disk;
#[allow(dead_code)]
#[path = "registry/fake.rs"]
mod fake;
#[allow(dead_code)]
#[path = "registry/image.rs"]
mod image;
#[path = "crash/kill.rs"]
mod kill;
#[path = "crash/together.rs"]
mod together;
#[path = "crash/victim.rs"]
mod victim;

use env::image::Archive;
use env::{Done, Env};
use fake::Fake;
use image::{Image, OCI, Packed, noise};
use rbox::storage::digest::Digest;
use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// True if there is time.
fn is_long() -> bool {
    std::env::var_os("RBOX_TEST_LONG").is_some()
}

/// An image that takes a while: the guest, and several hundred files in two further layers.
fn image() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(|| if is_long() { image_of(1, 4 << 20, 300) } else { image_of(1, 1 << 19, 120) })
}

/// The same in small.
fn small_image() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(|| image_of(1, 1 << 16, 10))
}

/// An image of the guest and two further layers, each with one large file and many small ones.
fn image_of(seed: u64, large: usize, files: u64) -> Image {
    let layers =
        [env::image::base().bytes(), layer(10 * seed, large, files, 0), layer(10 * seed + 1, large, files, OTHER)];
    Image::new(&layers.each_ref().map(Vec::as_slice), Packed::Gzip, OCI)
}

/// A layer with the files `of-SEED/large` and `of-SEED/NUMBER`.
fn layer(seed: u64, large: usize, files: u64, owner: u32) -> Vec<u8> {
    let dir = format!("of-{seed}/");
    let mut archive = Archive::default().directory(&dir, 0o755, owner);
    archive = archive.file(&format!("{dir}large"), 0o644, owner, &noise(large, seed));
    for number in 0..files {
        let length = 1000 + 40 * number as usize;
        archive = archive.file(&format!("{dir}{number}"), 0o644, owner, &noise(length, seed + number));
    }
    archive.bytes()
}

/// The image with further layers.
fn on_top(image: &Image, layers: &[Vec<u8>]) -> Image {
    let config: Value = serde_json::from_slice(&image.config).expect("a configuration");
    let diff_ids = config["rootfs"]["diff_ids"].as_array().expect("a list").iter();
    let diff_ids = diff_ids.map(|id| id.as_str().expect("a digest").to_owned());
    let below = image.layers.iter().cloned().zip(diff_ids);
    let above = layers.iter().map(|layer| (image::pack(layer, Packed::Gzip), Digest::of(layer).to_string()));
    Image::of(below.chain(above), OCI)
}

/// Who owns the files of the topmost layer of [`image_of`].
const OTHER: u32 = 5;

/// A user's world with a registry that has `image` as `app:v1`.
struct World {
    env: Env,
    fake: Fake,
    /// What it is called there.
    name: String,
}

impl World {
    fn new() -> World {
        World::with(Env::new(), image())
    }

    fn small() -> World {
        World::with(Env::new(), small_image())
    }

    fn with(env: Env, image: &Image) -> World {
        let fake = Fake::honest();
        fake.add("app", "v1", image);
        let name = fake.name("app:v1");
        World { env, fake, name }
    }

    /// `rbox ARGUMENTS…`, to be started: nothing of the host's configuration, none of the user's proxies.
    fn command(&self, args: &[&str]) -> Command {
        self.prepared(self.env.rbox(), args)
    }

    fn prepared(&self, mut command: Command, args: &[&str]) -> Command {
        for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        for name in ["REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_CONFIG_HOME"] {
            command.env_remove(name);
        }
        command.env("CONTAINERS_REGISTRIES_CONF", "/dev/null").args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// `rbox ARGUMENTS…`, which must end in time.
    #[track_caller]
    fn rbox(&self, args: &[&str]) -> Done {
        let seconds = env::LONG.as_secs().to_string();
        let mut timeout = self.env.command("timeout");
        timeout.args(["--foreground", "-s", "KILL", &seconds]).arg(env::program("rbox"));
        let done: Done = self.prepared(timeout, args).output().expect("timeout starts").into();
        assert_ne!(done.status, 137, "rbox {args:?} hangs");
        done
    }

    fn store(&self, path: impl AsRef<Path>) -> PathBuf {
        self.env.path("data/rbox").join(path)
    }

    /// The names in a directory of the store; nothing is in one that is not there.
    fn names(&self, dir: &str) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.store(dir))
            .map(|entries| entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
            .unwrap_or_default();
        names.sort();
        names
    }

    /// The directories of all unpacked layers.
    fn layers(&self) -> Vec<PathBuf> {
        let all = self.names("layers").into_iter().flat_map(|ids| {
            let dir = format!("layers/{ids}");
            self.names(&dir).into_iter().map(move |layer| format!("{dir}/{layer}"))
        });
        all.map(|layer| self.store(layer)).collect()
    }

    /// The unpacked layer that has this file.
    #[track_caller]
    fn layer_with(&self, file: &str) -> PathBuf {
        let found = self.layers().into_iter().find(|layer| layer.join("diff").join(file).exists());
        found.unwrap_or_else(|| panic!("no layer with {file}"))
    }

    /// Makes an archive of the image in a file.
    fn archive(&self) -> String {
        let file = self.env.path("app.tar").display().to_string();
        self.rbox(&["pull", "-q", &self.name]).ok();
        self.rbox(&["save", "-o", &file, &self.name]).ok();
        self.rbox(&["rmi", "-f", &self.name]).ok();
        file
    }

    #[track_caller]
    fn runs(&self) {
        assert_eq!(
            self.rbox(&["run", "--rm", "--pull", "never", &self.name, "/guest", "echo", "here"]).ok().stdout,
            "here\n"
        );
    }

    /// Asserts that `system check` finds nothing.
    #[track_caller]
    fn is_sound(&self) {
        let done = self.rbox(&["system", "check"]).ok();
        assert!(done.stdout.ends_with("everything is sound\n"), "{done:?}");
    }

    #[track_caller]
    fn nothing_is_in_the_making(&self) {
        assert_eq!(self.names("tmp"), [""; 0]);
        let locks: Vec<String> =
            self.names("locks").into_iter().filter(|name| !["index", "use"].contains(&name.as_str())).collect();
        assert_eq!(locks, [""; 0]);
    }

    /// Asserts, without asking rbox, that the index can be read and that every image in it has all its blobs, each as
    /// long as it has to be.
    #[track_caller]
    fn images_are_whole(&self) {
        let Ok(text) = std::fs::read(self.store("images/index.json")) else { return };
        let index: Value = serde_json::from_slice(&text).expect("an index");
        for entry in index["manifests"].as_array().expect("a list") {
            let manifest: Value = serde_json::from_slice(&self.blob(entry)).expect("a manifest");
            self.blob(&manifest["config"]);
            for layer in manifest["layers"].as_array().expect("a list") {
                self.blob(layer);
            }
        }
    }

    #[track_caller]
    fn blob(&self, descriptor: &Value) -> Vec<u8> {
        let digest = descriptor["digest"].as_str().expect("a digest");
        let bytes = std::fs::read(self.store("images/blobs").join(digest.replace(':', "/"))).expect("a blob");
        assert_eq!(bytes.len() as u64, descriptor["size"].as_u64().expect("a size"), "{digest}");
        bytes
    }
}

/// Files of subordinate ids are not the caller's to remove.
impl Drop for World {
    fn drop(&mut self) {
        let data = self.env.path("data");
        if std::fs::remove_dir_all(data.join("rbox/layers")).is_err() {
            let _ = self.env.rbox().args(["unshare", "rm", "-rf"]).arg(data).status();
        }
    }
}

/// The name of a file.
fn file_name(path: &Path) -> &str {
    path.file_name().and_then(OsStr::to_str).unwrap_or_default()
}
