//! Disks that are full or cannot be written to: one clear error, and nothing half done.
//!
//! Each test runs itself again in a user and mount namespace, where it can mount a small tmpfs for the store. There is
//! one id there.

use crate::env::{Done, Env, image::Archive, program, set_mode, skip};
use crate::image::{Image, OCI, Packed, noise};
use crate::{World, small_image};
use rbox::storage::digest::Digest;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Set in the namespace to the name of the test.
const INSIDE: &str = "RBOX_TEST_DISK";
const MIB: usize = 1 << 20;
const FULL: &str = "No space left on device";

/// True in the namespace. Outside it runs the test there.
#[track_caller]
fn inside(test: &str) -> bool {
    let test = format!("disk::{test}");
    if std::env::var(INSIDE).is_ok_and(|name| name == test) {
        // Ids that cannot be mapped from here.
        for file in ["/etc/subuid", "/etc/subgid"].iter().filter(|file| Path::new(file).exists()) {
            mount(&["--bind", "/dev/null", file]);
        }
        return true;
    }
    let mut command = Command::new(program("rbox"));
    command.args(["unshare", "--id-mode", "single"]).arg(std::env::current_exe().unwrap());
    let done: Done =
        command.args(["--exact", &test, "--nocapture"]).env(INSIDE, &test).output().expect("rbox starts").into();
    assert!(done.status == 0 && done.stdout.contains("1 passed"), "{}\n{}", done.stdout, done.stderr);
    false
}

#[track_caller]
fn mount(args: &[&str]) {
    let done: Done = Command::new("mount").args(args).output().expect("mount").into();
    done.ok();
}

/// A world whose store is on a file system of its own: 50 MB, with a small image that runs. There is a larger one to come.
struct Disk(World);

impl Disk {
    /// `None`, if tmpfs cannot hold a store here.
    fn new(test: &str) -> Option<Disk> {
        let env = Env::new();
        let data = env.path("data");
        mount(&["-t", "tmpfs", "-o", "size=50m,mode=0700", "tmpfs", data.to_str().unwrap()]);
        let disk = Disk(World::with(env, small_image()));
        let value = rustix::fs::setxattr(&data, c"user.test", b"x", rustix::fs::XattrFlags::empty());
        if value.is_err() {
            skip(test, "tmpfs has no user attributes here");
            return None;
        }
        disk.0.rbox(&["pull", "-q", &disk.0.name]).ok();
        disk.0.fake.add("large", "v1", large());
        Some(disk)
    }

    fn large(&self) -> String {
        self.0.fake.name("large:v1")
    }

    fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(self.0.env.path("data")).unwrap();
        stat.f_bavail * stat.f_bsize
    }

    fn filler(&self) -> PathBuf {
        self.0.env.path("data/filler")
    }

    /// Writes a file until so many bytes are left.
    fn leave(&self, bytes: u64) {
        let mut filler = std::fs::File::options().create(true).append(true).open(self.filler()).unwrap();
        while let Some(more) = self.free().checked_sub(bytes).filter(|more| *more > 0) {
            if filler.write_all(&vec![1; more.min(MIB as u64) as usize]).is_err() {
                break;
            }
        }
        assert!(self.free() <= bytes);
    }

    /// What holds after a failure: what was there before runs, nothing is in the making, nothing is named that is half
    /// there.
    #[track_caller]
    fn is_well(&self, images: usize) {
        let world = &self.0;
        world.images_are_whole();
        assert_eq!(world.names("tmp"), [""; 0]);
        assert_eq!(world.rbox(&["images", "-q"]).ok().stdout.lines().count(), images);
        world.runs();
    }

    /// A command that fails for want of space, then works.
    #[track_caller]
    fn fails_until_there_is_space(&self, args: &[&str]) {
        let world = &self.0;
        world.rbox(&["image", "prune", "-f"]).ok();
        let free = self.free();
        self.leave(4 * MIB as u64);
        let done = world.rbox(args).fails(125, FULL);
        assert!(done.stderr.contains("rbox system df"), "{done:?}");
        self.is_well(1);
        std::fs::remove_file(self.filler()).unwrap();
        world.is_sound();
        world.rbox(&["image", "prune", "-f"]).ok();
        assert!(self.free().abs_diff(free) <= 64 * 1024, "{} and {free}", self.free());
        world.rbox(args).ok();
        self.is_well(2);
        world.is_sound();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.env.path("data")).status();
    }
}

/// An image that takes 10 MiB: half of it as a blob, half of it unpacked.
fn large() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(make_large)
}

fn make_large() -> Image {
    let block = noise(MIB, 9);
    let small = Archive::default().file("small", 0o644, 0, b"small").bytes();
    let file = |name: &str, length: usize| Archive::default().file(name, 0o644, 0, &block.repeat(length)).bytes();
    let layers = [small, file("first", 1), file("second", 4)];
    Image::new(&layers.each_ref().map(Vec::as_slice), Packed::Plain, OCI)
}

#[test]
fn pull() {
    if !inside("pull") {
        return;
    }
    let Some(disk) = Disk::new("disk::pull") else { return };
    disk.fails_until_there_is_space(&["pull", "-q", &disk.large()]);
    disk.0.rbox(&["rmi", &disk.large()]).ok();
    // What a pull that failed has brought serves the next one.
    disk.leave(4 * MIB as u64);
    disk.0.rbox(&["pull", "-q", &disk.large()]).fails(125, FULL);
    std::fs::remove_file(disk.filler()).unwrap();
    let is_there = |digest: &Digest| disk.0.store("images/blobs/sha256").join(digest.hex()).exists();
    let blobs: Vec<Digest> = large().layers.iter().chain([&large().config]).map(|bytes| Digest::of(bytes)).collect();
    let asked = |digest: &Digest| disk.0.fake.count("GET", &digest.to_string());
    let before: Vec<(bool, usize)> = blobs.iter().map(|digest| (is_there(digest), asked(digest))).collect();
    assert!(before.iter().any(|(is_there, _)| *is_there), "the configuration at least");
    disk.0.rbox(&["pull", "-q", &disk.large()]).ok();
    for (digest, (was_there, before)) in blobs.iter().zip(before) {
        assert_eq!(asked(digest), before + usize::from(!was_there), "{digest}");
    }
}

#[test]
fn load() {
    if !inside("load") {
        return;
    }
    let Some(disk) = Disk::new("disk::load") else { return };
    let file = disk.0.env.path("large.tar").display().to_string();
    disk.0.rbox(&["pull", "-q", &disk.large()]).ok();
    disk.0.rbox(&["save", "-o", &file, &disk.large()]).ok();
    disk.0.rbox(&["rmi", &disk.large()]).ok();
    disk.fails_until_there_is_space(&["load", "-q", "-i", &file]);
}

#[test]
fn import() {
    if !inside("import") {
        return;
    }
    let Some(disk) = Disk::new("disk::import") else { return };
    let file = disk.0.env.path("large.tar");
    std::fs::write(&file, Archive::default().file("large", 0o644, 0, &noise(MIB, 4).repeat(4)).bytes()).unwrap();
    disk.fails_until_there_is_space(&["import", file.to_str().unwrap(), "imported"]);
}

#[test]
fn commit() {
    if !inside("commit") {
        return;
    }
    let Some(disk) = Disk::new("disk::commit") else { return };
    let world = &disk.0;
    world.rbox(&["run", "--name", "kept", &world.name, "/guest", "write", "/tmp/x", "x"]).ok();
    let [id] = world.names("containers").try_into().expect("one");
    std::fs::write(world.store("containers").join(id).join("0/upper/large"), noise(MIB, 5).repeat(5)).unwrap();
    disk.fails_until_there_is_space(&["commit", "kept", "committed"]);
    assert_eq!(world.rbox(&["run", "--rm", "committed", "/guest", "read", "/tmp/x"]).ok().stdout, "x");
}

#[test]
fn not_a_byte_is_left() {
    if !inside("not_a_byte_is_left") {
        return;
    }
    let Some(disk) = Disk::new("disk::not_a_byte_is_left") else { return };
    let world = &disk.0;
    world.rbox(&["run", "--name", "kept", &world.name, "/guest", "write", "/tmp/x", "x"]).ok();
    world.rbox(&["volume", "create", "v"]).ok();
    world.rbox(&["pull", "-q", &disk.large()]).ok();
    disk.leave(0);
    let run = ["run", "--rm", "--pull", "never", &world.name, "/guest", "echo", "here"];
    for command in [
        &["pull", "-q", &world.name] as &[&str],
        &["tag", &world.name, "other"],
        &["run", "--name", "another", &world.name, "/guest", "exit", "0"],
        &["commit", "kept", "committed"],
        &["volume", "create", "w"],
    ] {
        let done = world.rbox(command);
        if done.status != 0 {
            done.fails(125, FULL);
        }
    }
    assert_eq!(world.names("tmp"), [""; 0]);
    assert_eq!(world.rbox(&["volume", "ls", "-q"]).ok().stdout, "v\n");
    assert_eq!(world.rbox(&["images", "-q"]).ok().stdout.lines().count(), 2);
    // What gives space back works.
    world.rbox(&["volume", "rm", "v"]).ok();
    disk.leave(0);
    world.rbox(&["rm", "kept"]).ok();
    disk.leave(0);
    world.rbox(&["rmi", &disk.large()]).ok();
    assert!(disk.free() > 9 * MIB as u64, "{}", disk.free());
    assert_eq!(world.rbox(&run).ok().stdout, "here\n");
    disk.leave(0);
    world.rbox(&["untag", &world.name]).fails(125, FULL);
    world.rbox(&["image", "prune", "-a", "-f"]).ok();
    std::fs::remove_file(disk.filler()).unwrap();
    world.is_sound();
    world.rbox(&["pull", "-q", &world.name]).ok();
    assert_eq!(world.rbox(&run).ok().stdout, "here\n");
}

#[test]
fn read_only() {
    if !inside("read_only") {
        return;
    }
    let Some(disk) = Disk::new("disk::read_only") else { return };
    let world = &disk.0;
    let data = world.env.path("data").display().to_string();
    world.rbox(&["run", "--name", "kept", &world.name, "/guest", "write", "/tmp/x", "x"]).ok();
    mount(&["-o", "remount,bind,ro", &data]);
    let mention = |done: Done| {
        let done = done.fails(125, "Read-only file system");
        assert!(done.stderr.contains(&data), "{done:?}");
    };
    for command in [
        &["pull", "-q", &disk.large()] as &[&str],
        &["run", "--rm", &world.name, "/guest", "exit", "0"],
        &["run", &world.name, "/guest", "exit", "0"],
        &["rmi", "-f", &world.name],
        &["tag", &world.name, "other"],
        &["rm", "kept"],
        &["commit", "kept", "committed"],
        &["system", "check"],
        &["volume", "create", "v"],
    ] {
        mention(world.rbox(command));
    }
    // What only reads works.
    for command in [
        &["images"] as &[&str],
        &["image", "inspect", &world.name],
        &["history", &world.name],
        &["diff", "kept"],
        &["save", "-o", world.env.path("saved").to_str().unwrap(), &world.name],
        &["volume", "ls"],
        &["push", "-q", &world.name, &world.fake.name("copy:v1")],
    ] {
        world.rbox(command).ok();
    }
    mount(&["-o", "remount,bind,rw", &data]);
    world.runs();
    world.is_sound();
    // A store that was never made.
    let fresh = world.env.path("data/fresh");
    std::fs::create_dir(&fresh).unwrap();
    set_mode(&fresh, 0o700);
    mount(&["-o", "remount,bind,ro", &data]);
    let mut command = world.command(&["pull", "-q", &world.name]);
    mention(command.env("XDG_DATA_HOME", &fresh).output().unwrap().into());
    mount(&["-o", "remount,bind,rw", &data]);
}
