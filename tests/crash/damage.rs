//! Damage by others than rbox: `system check` finds it, `--repair` mends it.

use crate::World;
use crate::env::{Done, set_mode};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `system check` says of damage: not sound, and why.
#[track_caller]
fn found(world: &World, why: &str) -> Done {
    let done = world.rbox(&["system", "check"]);
    assert!(done.status == 1 && done.stdout.contains(why), "{why}: {done:?}");
    assert!(done.stdout.ends_with("--repair mends what can be mended\n"), "{done:?}");
    done
}

#[track_caller]
fn mended(world: &World) {
    let done = world.rbox(&["system", "check", "--repair"]).ok();
    assert!(done.stdout.contains("; mended\n") && done.stdout.ends_with("everything is sound\n"), "{done:?}");
    let done = world.rbox(&["system", "check", "--quick"]).ok();
    assert!(done.stdout.ends_with("everything is sound\n"), "{done:?}");
    world.runs();
}

/// The largest blob, which is a layer.
fn large_blob(world: &World) -> PathBuf {
    let blobs = world.store("images/blobs/sha256");
    let all = world.names("images/blobs/sha256").into_iter().map(|name| blobs.join(name));
    all.max_by_key(|path| std::fs::metadata(path).unwrap().len()).expect("a blob")
}

/// Changes one bit in the middle of a file, and nothing else of it.
fn flip(path: &Path) {
    let modified = std::fs::metadata(path).unwrap().modified().unwrap();
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    set_mode(path, 0o644);
    std::fs::write(path, bytes).unwrap();
    std::fs::File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
}

#[test]
fn blobs() {
    let world = World::small();
    world.rbox(&["pull", "-q", &world.name]).ok();
    let blob = large_blob(&world);
    let digest = format!("blob sha256:{}", blob.file_name().unwrap().to_str().unwrap());
    let whole = std::fs::read(&blob).unwrap();
    for (damage, why) in [
        (&(|| flip(&blob)) as &dyn Fn(), "damaged"),
        (
            &|| std::fs::write(&blob, &whole[1..]).unwrap(),
            &format!("{} bytes instead of {}", whole.len() - 1, whole.len()),
        ),
        (&|| std::fs::remove_file(&blob).unwrap(), "missing"),
    ] {
        damage();
        found(&world, &format!("{digest}: {why}"));
        // It runs from what is unpacked.
        world.runs();
        mended(&world);
        assert!(std::fs::read(&blob).unwrap() == whole, "{why}");
    }
    // A pull brings what is not as long as it has to be, whoever left it so.
    std::fs::write(&blob, b"").unwrap();
    world.rbox(&["pull", "-q", &world.name]).ok();
    assert!(std::fs::read(&blob).unwrap() == whole);
    world.is_sound();
}

#[test]
fn manifests_and_configurations() {
    let world = World::small();
    world.rbox(&["pull", "-q", &world.name]).ok();
    for bytes in [&crate::small_image().manifest, &crate::small_image().config] {
        let digest = rbox::storage::digest::Digest::of(bytes);
        let blob = world.store("images/blobs/sha256").join(digest.hex());
        flip(&blob);
        found(&world, &format!("{digest}: damaged"));
        let run = world.rbox(&["run", "--rm", "--pull", "never", &world.name]);
        run.fails(125, "damaged in the store").advises("rbox system check --repair");
        mended(&world);
        std::fs::remove_file(&blob).unwrap();
        found(&world, &format!("{digest}: not in the store"));
        mended(&world);
    }
}

#[test]
fn without_the_registry_what_is_damaged_stays_so() {
    let world = World::small();
    world.rbox(&["pull", "-q", &world.name]).ok();
    flip(&large_blob(&world));
    world.fake.state().manifests.clear();
    world.fake.state().held.clear();
    let done = world.rbox(&["system", "check", "--repair"]);
    assert!(done.status == 1 && done.stdout.ends_with("1 problems are left\n"), "{done:?}");
    assert!(done.stderr.contains("cannot be mended"), "{done:?}");
    world.runs();
}

/// What is unpacked is mended from its blob: nothing is fetched.
#[test]
fn layers() {
    let world = World::small();
    world.rbox(&["pull", "-q", &world.name]).ok();
    let asked = world.fake.seen().len();
    let layer = world.layer_with("of-10/7");
    let diff = layer.join("diff");
    let file = diff.join("of-10/7");
    for (damage, why) in [
        (&(|| flip(&file)) as &dyn Fn(), "/of-10/7: content"),
        (&|| std::fs::remove_file(&file).unwrap(), "/of-10/7: there or not"),
        (&|| std::fs::write(diff.join("of-10/added"), "").unwrap(), "/of-10/added: there or not"),
        (&|| set_mode(&file, 0o755), "/of-10/7: kind, mode, owner, size or time"),
        (&|| std::fs::write(&file, "").unwrap(), "/of-10/7: kind, mode, owner, size or time"),
        (&|| std::os::unix::fs::symlink("/", diff.join("of-10/link")).unwrap(), "/of-10/link: there or not"),
        (&|| std::fs::remove_file(layer.join("layer.json")).unwrap(), "what is known of it is missing"),
        (&|| std::fs::write(layer.join("layer.json"), "{").unwrap(), "EOF while parsing"),
        (&|| std::fs::remove_dir_all(&diff).unwrap(), "No such file or directory"),
    ] {
        damage();
        found(&world, why);
        mended(&world);
    }
    assert_eq!(world.fake.seen().len(), asked);
}

/// Who owns a file is on the disk, or written down where there is one id.
#[test]
fn owners() {
    let world = World::small();
    world.rbox(&["pull", "-q", &world.name]).ok();
    let layer = world.layer_with("of-11/7");
    let file = layer.join("diff/of-11/7");
    if crate::env::has_range() {
        let chown = world.env.command(crate::env::program("rbox")).args(["unshare", "chown", "6"]).arg(&file).status();
        assert!(chown.unwrap().success());
        found(&world, "/of-11/7: kind, mode, owner, size or time");
        return mended(&world);
    }
    let table = std::fs::read_to_string(layer.join("owners")).unwrap();
    std::fs::write(layer.join("owners"), table.replace(" 5 ", " 6 ").replace("5\t", "6\t")).unwrap();
    assert_ne!(std::fs::read_to_string(layer.join("owners")).unwrap(), table);
    found(&world, "the table of owners");
    mended(&world);
    let attribute = Command::new("setfattr").args(["-x", "user.rootlesscontainers"]).arg(&file).status();
    if attribute.is_ok_and(|status| status.success()) {
        found(&world, "/of-11/7: attributes");
        mended(&world);
    }
}

/// A store directory that vanished: what can be known is made again, the rest is said.
#[test]
fn directories_that_vanish() {
    let world = World::small();
    let pull = || world.rbox(&["pull", "-q", &world.name]).ok();
    pull();
    let gone = |name: &str| std::fs::remove_dir_all(world.store(name)).unwrap();
    for name in ["tmp", "locks"] {
        gone(name);
        world.runs();
        gone(name);
        world.rbox(&["rmi", &world.name]).ok();
        gone(name);
        pull();
        gone(name);
        world.is_sound();
    }
    // Unpacked again from the blobs.
    let asked = world.fake.seen().len();
    remove_layers(&world);
    world.runs();
    assert_eq!(world.fake.seen().len(), asked);
    // The layers are used again, with what comes from the registry.
    gone("images");
    assert_eq!(world.rbox(&["images", "-q"]).ok().stdout, "");
    world.is_sound();
    pull();
    world.runs();
    // What an image consists of.
    gone("images/blobs");
    world
        .rbox(&["run", "--rm", &world.name, "/guest", "exit", "0"])
        .fails(125, "not in the store")
        .advises("rbox system check --repair");
    world.rbox(&["images"]).ok();
    found(&world, "not in the store");
    mended(&world);
    gone("images/blobs");
    pull();
    world.is_sound();
    std::fs::remove_file(world.store("images/oci-layout")).unwrap();
    pull();
    // All of it.
    remove_layers(&world);
    std::fs::remove_dir_all(world.store("")).unwrap();
    pull();
    world.runs();
    world.is_sound();
}

fn remove_layers(world: &World) {
    let dir = world.store("layers");
    let status = world.env.command(crate::env::program("rbox")).args(["unshare", "rm", "-r"]).arg(dir).status();
    assert!(status.unwrap().success());
}

#[test]
fn an_index_that_is_damaged() {
    let world = World::small();
    world.rbox(&["pull", "-q", &world.name]).ok();
    let index = world.store("images/index.json");
    let whole = std::fs::read(&index).unwrap();
    for damage in [None, Some(&b""[..]), Some(&whole[..whole.len() / 2]), Some(b"[]"), Some(b"null")] {
        match damage {
            Some(bytes) => std::fs::write(&index, bytes).unwrap(),
            None => std::fs::remove_file(&index).unwrap(),
        }
        for command in
            [vec!["images"], vec!["pull", "-q", &world.name], vec!["rmi", &world.name], vec!["image", "prune", "-f"]]
        {
            world.rbox(&command).fails(125, "index.json").advises("rbox system check --repair");
        }
        assert_eq!(std::fs::read(&index).ok().as_deref(), damage, "nobody but --repair writes it anew");
        found(&world, "index of images");
        let done = world.rbox(&["system", "check", "--repair"]).ok();
        assert!(done.stdout.contains("; mended\n"), "{done:?}");
        // Its name was nowhere else.
        let id = world.rbox(&["images", "-q"]).ok().stdout;
        world.rbox(&["tag", id.trim(), &world.name]).ok();
        world.runs();
        world.is_sound();
    }
}

/// A container with `--rm` writes its record in place; killed meanwhile, it is no container.
#[test]
fn half_a_record_of_a_dead_container() {
    let world = World::small();
    world.rbox(&["pull", "-q", &world.name]).ok();
    let dir = world.store("scratch").join("a".repeat(64));
    std::fs::create_dir_all(dir.join("0/upper")).unwrap();
    std::fs::write(dir.join("container.json"), r#"{"id":"aaaa","#).unwrap();
    world.is_sound();
    world.rbox(&["image", "prune", "-f"]).ok();
    world.rbox(&["rmi", &world.name]).ok();
    assert_eq!(world.names("images/blobs/sha256"), [""; 0]);
    world.rbox(&["pull", "-q", &world.name]).ok();
    world.runs();
    assert!(!dir.exists(), "a start sweeps");
}
