//! Images that are made here, carried in archives, named and removed; containers that are kept.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

use env::{Done, Env, eventually};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// An environment whose store has the image `base`: the guest, and files that tests change.
struct Images(Env);

impl Images {
    fn new() -> Images {
        let images = Images(Env::new());
        let root = images.0.path("base");
        for dir in ["etc", "tmp", "old/below", "dev", "proc", "sys"] {
            std::fs::create_dir_all(root.join(dir)).unwrap();
        }
        std::fs::copy(env::program("rbox-guest"), root.join("guest")).expect("the guest");
        std::fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
        std::fs::write(root.join("old/file"), "old").unwrap();
        images.import(&root, "base", &["-c", "ENTRYPOINT [\"/guest\"]", "-c", "ENV A=1", "-c", "LABEL kind=test"]);
        images
    }

    fn rbox(&self, args: &[&str]) -> Done {
        self.0.rbox().args(args).output().expect("rbox starts").into()
    }

    fn lines(&self, args: &[&str]) -> Vec<String> {
        self.rbox(args).ok().stdout.lines().map(str::to_owned).collect()
    }

    /// Makes an image of a directory; returns its id.
    fn import(&self, root: &Path, name: &str, options: &[&str]) -> String {
        let mut tar =
            Command::new("tar").arg("-C").arg(root).args(["-c", "."]).stdout(Stdio::piped()).spawn().expect("tar");
        let mut import = self.0.rbox();
        import.arg("import").args(options).args(["-", name]).stdin(tar.stdout.take().unwrap());
        let done: Done = import.output().expect("rbox starts").into();
        tar.wait().expect("tar ends");
        done.ok().stdout.trim().to_owned()
    }

    fn inspect(&self, image: &str) -> Value {
        let done = self.rbox(&["image", "inspect", image]).ok();
        let list: Value = serde_json::from_str(&done.stdout).expect("JSON");
        list[0].clone()
    }

    fn store(&self) -> PathBuf {
        self.0.path("data/rbox")
    }

    /// The names of all files in a directory of the store.
    fn files(&self, dir: &str) -> Vec<String> {
        let mut names: Vec<String> = match std::fs::read_dir(self.store().join(dir)) {
            Ok(entries) => entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect(),
            Err(_) => Vec::new(),
        };
        names.sort();
        names
    }
}

#[test]
fn names_come_and_go() {
    let images = Images::new();
    let id = images.inspect("base")["Id"].as_str().expect("an id").to_owned();
    assert_eq!(images.inspect("base")["RepoTags"], json!(["base:latest"]));
    images.rbox(&["tag", "base", "other:v1", "127.0.0.1:5000/third"]).ok();
    let names = json!(["base:latest", "other:v1", "127.0.0.1:5000/third:latest"]);
    for name in ["base", "other:v1", "127.0.0.1:5000/third", &id, &id[7..20]] {
        assert_eq!(images.inspect(name)["RepoTags"], names, "{name}");
    }
    assert_eq!(images.lines(&["images", "--format", "{{.Repository}}:{{.Tag}}"]).len(), 3);
    assert_eq!(images.lines(&["images", "-q"]), [&id[7..19]]);
    assert_eq!(images.rbox(&["image", "exists", "other:v1"]).status, 0);
    assert_eq!(images.rbox(&["image", "exists", "other:v2"]).status, 1);
    images.rbox(&["rmi", &id]).fails(125, "the image has several names");
    assert_eq!(images.lines(&["rmi", "other:v1"]), ["Untagged: other:v1"]);
    images.rbox(&["untag", "base", "127.0.0.1:5000/third"]).ok();
    images.rbox(&["untag", "base"]).ok();
    // It has lost its names, and is still there.
    assert_eq!(images.lines(&["images", "--filter", "dangling=true", "-q", "--no-trunc"]), std::slice::from_ref(&id));
    images.rbox(&["run", "--rm", "--pull", "never", &id[7..], "echo", "here"]).ok();
    assert_eq!(images.lines(&["rmi", &id[7..19]]), [format!("Deleted: {id}")]);
    assert_eq!((images.files("images/blobs/sha256"), images.files("tmp")), (vec![], vec![]));
    assert!(images.files("layers").iter().all(|ids| images.files(&format!("layers/{ids}")).is_empty()));
}

#[test]
fn a_name_moves() {
    let images = Images::new();
    let first = images.inspect("base")["Id"].clone();
    let root = images.0.path("base");
    std::fs::write(root.join("second"), "").unwrap();
    let second = images.import(&root, "base", &[]);
    assert_eq!(images.inspect("base")["Id"], json!(second));
    assert_eq!(images.inspect(first.as_str().unwrap())["RepoTags"], json!([]));
    images.rbox(&["image", "prune", "-f", "--filter", "label!=none"]).ok();
    images.rbox(&["image", "inspect", first.as_str().unwrap()]).fails(125, "no such image");
    assert_eq!(images.files("images/blobs/sha256").len(), 3, "manifest, configuration, layer");
}

#[test]
fn archives_keep_every_digest() {
    let images = Images::new();
    let before = images.inspect("base");
    images.rbox(&["tag", "base", "quay.io/x/y:v2"]).ok();
    for form in ["docker-archive", "oci-archive", "oci-dir"] {
        let file = images.0.path(form).display().to_string();
        images.rbox(&["save", "--format", form, "-o", &file, "base", "quay.io/x/y:v2"]).ok();
        images.rbox(&["rmi", "-a"]).ok();
        assert!(images.lines(&["images", "-q"]).is_empty());
        let loaded = images.lines(&["load", "-i", &file]);
        assert_eq!(loaded, ["Loaded image: base:latest", "Loaded image: quay.io/x/y:v2"], "{form}");
        let after = images.inspect("base");
        assert_eq!((&after["Id"], &after["Digest"]), (&before["Id"], &before["Digest"]), "{form}");
        images.rbox(&["run", "--rm", "base", "echo", "x"]).ok();
    }
    // By way of pipes, packed.
    let mut save = images.0.rbox().args(["save", "base"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut gzip =
        Command::new("gzip").stdin(save.stdout.take().unwrap()).stdout(Stdio::piped()).spawn().expect("gzip");
    images.rbox(&["rmi", "-a"]).ok();
    let load: Done = images.0.rbox().arg("load").stdin(gzip.stdout.take().unwrap()).output().unwrap().into();
    assert_eq!(load.ok().stdout, "Loaded image: base:latest\n");
    assert!(save.wait().unwrap().success() && gzip.wait().unwrap().success());
}

/// An archive as docker wrote it before version 25: no manifest, layers as plain tars.
#[test]
fn an_old_archive_of_docker() {
    let images = Images::new();
    let dir = images.0.path("old-archive");
    std::fs::create_dir_all(dir.join("abc")).unwrap();
    let layer = dir.join("abc/layer.tar");
    let tar = Command::new("tar").arg("-C").arg(images.0.path("base")).args(["-c", "."]).arg("-f").arg(&layer).status();
    assert!(tar.unwrap().success());
    let sum = Command::new("sha256sum").arg(&layer).output().unwrap().stdout;
    let diff_id = format!("sha256:{}", String::from_utf8(sum).unwrap().split(' ').next().unwrap());
    let config = json!({
        "architecture": Command::new("uname").arg("-m").output().map(|out| match out.stdout.as_slice() {
            b"aarch64\n" => "arm64",
            _ => "amd64",
        }).unwrap(),
        "os": "linux", "config": { "Cmd": ["/guest", "echo", "old"] },
        "rootfs": { "type": "layers", "diff_ids": [diff_id] }
    });
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
    let list = json!([{ "Config": "config.json", "RepoTags": ["old:1"], "Layers": ["abc/layer.tar"] }]);
    std::fs::write(dir.join("manifest.json"), list.to_string()).unwrap();
    let pack = |name: &str| {
        let file = images.0.path(name);
        let tar = Command::new("tar").arg("-C").arg(&dir).args(["-c", "."]).arg("-f").arg(&file).status();
        assert!(tar.unwrap().success());
        file.display().to_string()
    };
    assert_eq!(images.lines(&["load", "-i", &pack("a.tar")]), ["Loaded image: old:1"]);
    assert_eq!(images.lines(&["run", "--rm", "old:1"]), ["old"]);
    // What is damaged or missing is an error, and no image.
    images.rbox(&["rmi", "old:1"]).ok();
    for (change, error) in [
        (json!([{ "Config": "config.json", "RepoTags": ["old:1"], "Layers": [] }]), "0"),
        (json!([{ "Config": "config.json", "RepoTags": ["old:1"], "Layers": ["abc/none.tar"] }]), "not in the archive"),
        (json!([{ "Config": "../config.json", "RepoTags": ["old:1"], "Layers": ["abc/layer.tar"] }]), "leads out"),
        (json!([{ "Config": "config.json", "RepoTags": ["../x"], "Layers": ["abc/layer.tar"] }]), "not a name"),
        (json!([{ "Config": "config.json", "RepoTags": ["old:1"], "Layers": ["config.json"] }]), "tar"),
        (json!([]), "no image"),
        (json!({}), "manifest.json"),
    ] {
        std::fs::write(dir.join("manifest.json"), change.to_string()).unwrap();
        let done = images.rbox(&["load", "-q", "-i", &pack("b.tar")]);
        assert!(done.status == 125 && done.stderr.contains(error), "{change}: {done:?}");
        assert_eq!(images.rbox(&["image", "exists", "old:1"]).status, 1, "{change}");
    }
}

#[test]
fn what_is_no_archive() {
    let images = Images::new();
    let load = |bytes: &[u8]| -> Done {
        let mut child = images
            .0
            .rbox()
            .args(["load", "-q"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It may end without reading all.
        let _ = child.stdin.take().unwrap().write_all(bytes);
        child.wait_with_output().unwrap().into()
    };
    load(b"").fails(125, "neither index.json nor manifest.json");
    load(&[0; 1024]).fails(125, "neither index.json nor manifest.json");
    load(b"hello world, this is no archive").fails(125, "load: tar:");
    load(&[&[0x1f, 0x8b][..], &[7; 100]].concat()).fails(125, "load");
    assert_eq!(images.lines(&["images", "-q"]).len(), 1);
    images.rbox(&["load", "-i", "/nonexistent"]).fails(125, "/nonexistent");
}

#[test]
fn the_images_configuration_counts() {
    let images = Images::new();
    let root = images.0.path("base");
    let options = [
        "-c",
        "ENV B=2",
        "-c",
        "CMD [\"/guest\", \"env\"]",
        "-c",
        "WORKDIR /tmp",
        "-c",
        "STOPSIGNAL INT",
        "-c",
        "EXPOSE 80",
        "-c",
        "HEALTHCHECK CMD true",
    ];
    images.import(&root, "configured", &options);
    let config = images.inspect("configured")["Config"].clone();
    assert_eq!(config["ExposedPorts"], json!({ "80/tcp": {} }));
    assert_eq!(config["Healthcheck"]["Test"], json!(["CMD-SHELL", "true"]));
    let env = images.lines(&["run", "--rm", "configured"]);
    assert!(env.contains(&"B=2".to_owned()), "{env:?}");
    // Nothing of the caller's comes in by an entry without a value.
    images.rbox(&["run", "--rm", "-e", "B", "configured"]).ok();
    images.rbox(&["import", "-c", "RUN x", "/dev/null", "x"]).fails(125, "RUN: not one of");
    images.rbox(&["import", "-c", "ENV", "/dev/null", "x"]).fails(125, "ENV: no value");
}

#[test]
fn a_container_without_rm_is_kept() {
    let images = Images::new();
    assert_eq!(images.rbox(&["run", "--name", "kept", "base", "exit", "3"]).status, 3);
    let [id] = images.files("containers").try_into().expect("one");
    let exit: Value =
        serde_json::from_slice(&std::fs::read(images.store().join("containers").join(&id).join("exit.json")).unwrap())
            .unwrap();
    assert_eq!(exit["status"], json!(3));
    // Its name and its image are in use, in every session.
    images.rbox(&["run", "--rm", "--name", "kept", "base", "echo"]).fails(125, "already in use by container");
    std::fs::remove_dir_all(images.0.path("run/rbox")).unwrap();
    images.rbox(&["run", "--name", "kept", "base", "echo"]).fails(125, "already in use by container");
    images.rbox(&["rmi", "base"]).fails(125, "container kept was made of this image");
    images.rbox(&["rmi", "-f", "base"]).ok();
    assert!(!images.files("images/blobs/sha256").is_empty(), "the container needs them");
    assert_eq!(images.lines(&["rm", "kept"]), ["kept"]);
    images.rbox(&["rm", "kept"]).fails(125, "no such container: kept");
    images.rbox(&["rm", "-i", "kept"]).ok();
    assert_eq!((images.files("containers"), images.files("names")), (vec![], vec![]));
    images.rbox(&["image", "prune", "-f"]).ok();
    assert_eq!(images.files("images/blobs/sha256"), Vec::<String>::new());
    // One that cannot start leaves nothing.
    let root = images.0.path("base");
    images.import(&root, "base", &[]);
    assert_eq!(images.rbox(&["run", "--name", "kept", "base", "/none"]).status, 127);
    assert_eq!((images.files("containers"), images.files("names")), (vec![], vec![]));
}

#[test]
fn a_container_that_runs() {
    let images = Images::new();
    let mut child =
        images.0.rbox().args(["run", "-i", "--name", "live", "base", "cat"]).stdin(Stdio::piped()).spawn().unwrap();
    eventually("it has started", || {
        images
            .files("containers")
            .first()
            .is_some_and(|id| images.0.path("run/rbox/containers").join(id).join("process.json").exists())
    });
    images.rbox(&["rm", "live"]).fails(125, "is running");
    images.rbox(&["rmi", "base"]).fails(125, "is running with this image");
    images.rbox(&["rm", "-f", "live"]).ok();
    assert_eq!(child.wait().unwrap().code(), Some(137));
    assert_eq!(images.files("containers"), Vec::<String>::new());
    images.rbox(&["rmi", "base"]).ok();
}

#[test]
fn changes_become_an_image() {
    let images = Images::new();
    images.rbox(&["run", "--name", "box", "-e", "B=2", "base", "write", "/new", "new"]).ok();
    assert_eq!(images.lines(&["diff", "box"]), ["A /new"]);
    let id = images.lines(&["commit", "-a", "ada", "-m", "more", "-c", "CMD [\"read\", \"/new\"]", "box", "more:1"]);
    let about = images.inspect("more:1");
    assert_eq!([about["Id"].as_str().unwrap()], id.as_slice());
    assert_eq!(about["RootFS"]["Layers"].as_array().unwrap().len(), 2);
    assert_eq!((&about["Author"], &about["Comment"]), (&json!("ada"), &json!("more")));
    assert_eq!(about["Config"]["Env"], json!(["A=1", "B=2"]));
    assert_eq!(images.lines(&["run", "--rm", "more:1"]), ["new"]);
    assert_eq!(images.lines(&["image", "diff", "more:1"]), ["A /new"]);
    // A second container on top, one layer of all.
    images.rbox(&["run", "--name", "top", "more:1", "write", "/old/file", "changed"]).ok();
    assert_eq!(images.lines(&["diff", "top"]), ["C /old", "C /old/file"]);
    images.rbox(&["commit", "--squash", "top", "one"]).ok();
    let one = images.inspect("one");
    assert_eq!(one["RootFS"]["Layers"].as_array().unwrap().len(), 1);
    assert_eq!(images.lines(&["run", "--rm", "one", "read", "/old/file"]), ["changed"]);
    // The files themselves, as an archive and as an image again.
    let tar = images.0.path("box.tar").display().to_string();
    images.rbox(&["export", "-o", &tar, "top"]).ok();
    images.rbox(&["import", &tar, "again"]).ok();
    assert_eq!(images.lines(&["run", "--rm", "again", "/guest", "read", "/new"]), ["new"]);
    images.rbox(&["commit", "none"]).fails(125, "no such container: none");
    images.rbox(&["commit", "box", "../x"]).fails(125, "not a name");
    images.rbox(&["system", "check"]).ok();
}

/// What a container leaves in its root is not taken for what it looks like.
#[test]
fn a_running_container_is_read_as_it_is() {
    let images = Images::new();
    let mut child = images
        .0
        .rbox()
        .args(["run", "-i", "--rm", "--name", "live", "base", "write-and-read", "/kept"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually("it has written", || {
        let done = images.rbox(&["diff", "live"]);
        done.status == 0 && done.stdout == "A /kept\n"
    });
    images.rbox(&["commit", "live", "snapshot"]).ok();
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert_eq!(images.lines(&["run", "--rm", "snapshot", "read", "/kept"]), ["kept"]);
    images.rbox(&["diff", "live"]).fails(125, "no such container: live");
}
