//! `rbox cp`: files into containers and out of them.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

use env::image;
use env::{Done, Env, eventually, gid, set_mode, uid};
use rbox::storage::tar::{Entry, Kind, Reader, Writer};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps};
use rustix::process::Pid;
use serde_json::json;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Root {
    Directory,
    Overlay,
    Image,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Created,
    Running,
    Ended,
}

/// A world with containers.
struct World {
    env: Env,
}

impl World {
    fn new() -> World {
        World { env: Env::new() }
    }

    /// With one container, `a`.
    fn with(root: Root, state: State, options: &[&str]) -> World {
        let world = World::new();
        world.make("a", root, state, options);
        world
    }

    /// With a running one.
    fn running(options: &[&str]) -> World {
        World::with(Root::Overlay, State::Running, options)
    }

    fn make(&self, name: &str, root: Root, state: State, options: &[&str]) {
        let mut command = self.env.rbox();
        command.args(["create", "--name", name, "--network=none"]).args(options);
        let rootfs = self.env.rootfs();
        match root {
            Root::Directory => command.arg("--rootfs").arg(rootfs),
            Root::Overlay => command.arg("--rootfs").arg(format!("{}:O", rootfs.display())),
            Root::Image => {
                let layer = image::base().directory("etc/", 0o755, 0).directory("vol/", 0o755, 0).file(
                    "vol/of-image",
                    0o644,
                    0,
                    b"x",
                );
                image::put(&self.env, "app", vec![layer], json!({}));
                command.args(["--pull", "never", "app"])
            }
        };
        Done::from(command.args(["/guest", "sleep"]).output().unwrap()).ok();
        if state != State::Created {
            self.rbox(&["start", name]).ok();
        }
        if state == State::Ended {
            self.rbox(&["stop", "-t", "0", name]).ok();
        }
    }

    fn rbox(&self, words: &[&str]) -> Done {
        self.env.rbox().args(words).output().expect("rbox starts").into()
    }

    fn cp(&self, words: &[&str]) -> Done {
        self.rbox(&[&["cp"], words].concat())
    }

    /// `cp` with an archive as its standard input.
    fn cp_archive(&self, words: &[&str], archive: &[u8]) -> Done {
        let mut child = self.spawn(words);
        // One that fails closes it.
        let _ = child.stdin.take().unwrap().write_all(archive);
        child.wait_with_output().unwrap().into()
    }

    fn spawn(&self, words: &[&str]) -> Child {
        let mut command = self.env.rbox();
        command.arg("cp").args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("rbox starts")
    }

    /// What a container has, as it says itself: it is started for that.
    fn guest(&self, verb: &[&str]) -> Done {
        self.rbox(&["start", "a"]).ok();
        self.rbox(&[&["exec", "a", "/guest"], verb].concat()).ok()
    }

    /// An archive of a path of a container.
    fn archive(&self, path: &str) -> Vec<(Entry, Vec<u8>)> {
        let done = self.env.rbox().args(["cp", path, "-"]).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        entries(&done.stdout)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::create_dir_all(self.env.path(name).parent().unwrap()).unwrap();
        std::fs::write(self.env.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.env.path(name)).unwrap_or_else(|error| format!("{name}: {error}"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let all = self.rbox(&["ps", "-aq"]).stdout;
        for id in all.lines() {
            self.rbox(&["rm", "-f", "-v", id]);
        }
        self.rbox(&["volume", "prune", "-a", "-f"]);
        if !std::thread::panicking() {
            let mut left = self.env.leftovers();
            // The store and the volumes' directory stay.
            let stays = ["images", "layers", "locks", "overlays", "tmp", "volumes"];
            left.retain(|path| !stays.iter().any(|own| path.contains(&format!("/rbox/{own}"))));
            assert_eq!(left, Vec::<String>::new());
        }
    }
}

fn entries(bytes: &[u8]) -> Vec<(Entry, Vec<u8>)> {
    let mut reader = Reader::new(bytes);
    let mut all = Vec::new();
    while let Some(entry) = reader.next_entry().expect("an archive") {
        let mut data = vec![0; entry.size as usize];
        let mut filled = 0;
        while filled < data.len() {
            filled += reader.read_data(&mut data[filled..]).expect("data");
        }
        all.push((entry, data));
    }
    all
}

fn names(archive: &[(Entry, Vec<u8>)]) -> Vec<String> {
    archive.iter().map(|(entry, _)| String::from_utf8_lossy(&entry.path).into_owned()).collect()
}

fn entry(kind: Kind, path: &str, link: &str, data: &[u8]) -> (Entry, Vec<u8>) {
    let entry = Entry {
        kind,
        path: path.into(),
        link: link.into(),
        mode: if kind == Kind::Directory { 0o755 } else { 0o644 },
        uid: 7,
        gid: 8,
        mtime: (1000, 0),
        size: data.len() as u64,
        pieces: None,
        device: (0, 0),
        xattrs: vec![],
    };
    (entry, data.to_vec())
}

fn archive_of(entries: &[(Entry, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (entry, data) in entries {
        writer.entry(entry).expect("written");
        if entry.kind == Kind::Regular {
            writer.data(data).expect("written");
        }
    }
    writer.finish().expect("written")
}

/// A directory `tree` with all that a copy has to keep.
fn make_tree(env: &Env) {
    let tree = env.path("tree");
    std::fs::create_dir_all(tree.join("closed/deep")).unwrap();
    std::fs::write(tree.join("closed/file"), "text").unwrap();
    std::fs::hard_link(tree.join("closed/file"), tree.join("closed/deep/hard")).unwrap();
    symlink("/etc/passwd", tree.join("link")).unwrap();
    symlink("../../../outside", tree.join("closed/out")).unwrap();
    std::fs::write(tree.join("program"), "#!").unwrap();
    set_mode(&tree.join("program"), 0o6755);
    rustix::fs::mknodat(CWD, tree.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    set_mode(&tree.join("fifo"), 0o662);
    let sparse = std::fs::File::create(tree.join("sparse")).unwrap();
    sparse.set_len(16 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"middle", 8 << 20).unwrap();
    let attribute = rustix::fs::setxattr(tree.join("program"), "user.test", b"value", rustix::fs::XattrFlags::empty());
    attribute.expect("attributes");
    std::fs::write(tree.join("empty"), "").unwrap();
    let old = Timestamps {
        last_access: Timespec { tv_sec: 7, tv_nsec: 0 },
        last_modification: Timespec { tv_sec: 1000, tv_nsec: 5 },
    };
    for name in ["closed/file", "closed/deep", "link", "fifo", "program", "closed", ""] {
        rustix::fs::utimensat(CWD, tree.join(name), &old, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
    set_mode(&tree.join("closed"), 0o555);
}

/// That a directory is as [`make_tree`] has made it, but for set-user-id bits.
fn check_tree(env: &Env, name: &str) {
    let (a, b) = (env.path("tree"), env.path(name));
    let about = |path: &Path| std::fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    for name in ["closed/file", "closed/deep", "closed/out", "closed", "link", "fifo", "program", "sparse", "empty", ""]
    {
        let (a, b) = (about(&a.join(name)), about(&b.join(name)));
        let size = |meta: &std::fs::Metadata| if meta.is_dir() { 0 } else { meta.size() };
        assert_eq!((a.mode() & !0o6000, size(&a), a.nlink()), (b.mode(), size(&b), b.nlink()), "{name}");
        assert_eq!((b.uid(), b.gid()), (uid(), gid()), "{name}");
        assert_eq!((a.mtime(), a.mtime_nsec()), (b.mtime(), b.mtime_nsec()), "{name}");
    }
    assert!(about(&b.join("fifo")).file_type().is_fifo());
    assert_eq!(about(&b.join("closed/file")).ino(), about(&b.join("closed/deep/hard")).ino());
    assert_eq!(std::fs::read_link(b.join("closed/out")).unwrap(), Path::new("../../../outside"));
    assert_eq!(std::fs::read(a.join("sparse")).unwrap(), std::fs::read(b.join("sparse")).unwrap());
    assert!(about(&b.join("sparse")).blocks() * 512 < 8 << 20, "the holes stay");
    assert_eq!(rustix::fs::getxattr(b.join("program"), "user.test", &mut [0; 8]), Ok(5));
}

/// So that a directory of mode 0555 can be removed.
fn open_up(env: &Env, names: &[&str]) {
    for name in names {
        set_mode(&env.path(name).join("closed"), 0o755);
    }
}

#[test]
fn there_and_back() {
    for (root, state, options) in [
        (Root::Directory, State::Running, &[][..]),
        (Root::Overlay, State::Running, &["--init"]),
        (Root::Directory, State::Created, &["--id-mode=single"]),
        (Root::Overlay, State::Running, &["--id-mode=single"]),
        (Root::Overlay, State::Ended, &[]),
        (Root::Image, State::Running, &[]),
        (Root::Image, State::Created, &[]),
        (Root::Image, State::Ended, &["--id-mode=single"]),
    ] {
        let world = World::with(root, state, options);
        make_tree(&world.env);
        let what = format!("{root:?} {state:?} {options:?}");
        let done = world.cp(&["tree", "a:/copy"]).ok();
        assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("", ""), "{what}");
        world.cp(&["a:/copy", "back"]).ok();
        check_tree(&world.env, "back");
        // As the container sees it.
        for (name, mode, size) in [("closed/file", "100644", "4"), ("program", "106755", "2"), ("closed", "40555", "")]
        {
            let stat = world.guest(&["stat", &format!("/copy/{name}")]);
            assert_eq!((stat.field("uid"), stat.field("gid")), ("0".to_owned(), "0".to_owned()), "{what} {name}");
            assert_eq!(stat.field("mode"), mode, "{what} {name}");
            assert!(size.is_empty() || stat.field("size") == size, "{what} {name}");
        }
        assert_eq!(world.guest(&["ls", "/copy/closed"]).stdout, "deep file out\n", "{what}");
        // So that the directory of the root filesystem can be removed.
        world.guest(&["chmod", "/copy/closed", "755"]);
        open_up(&world.env, &["tree", "back"]);
    }
}

/// Where the root is no overlay of the kernel's.
#[test]
fn other_roots() {
    let has_fuse = Path::new("/usr/bin/fuse-overlayfs").exists()
        && std::fs::File::options().read(true).write(true).open("/dev/fuse").is_ok();
    for way in ["copies", "fuse"] {
        if way == "fuse" && !has_fuse {
            env::skip("fuse_overlayfs_where_there_is_no_overlay", "no fuse-overlayfs");
            continue;
        }
        for state in [State::Created, State::Running, State::Ended] {
            let world = World::new();
            // As if this session had found it out (`engine/overlay.rs`).
            world.write("run/rbox/overlays", &format!("{way} {}", world.env.path("data/rbox").display()));
            world.make("a", Root::Image, state, &[]);
            world.write("file", "x");
            world.cp(&["file", "a:/etc"]).ok();
            world.cp(&["a:/etc", "back"]).ok();
            assert_eq!(world.read("back/file"), "x", "{way} {state:?}");
            assert_eq!(world.guest(&["read", "/etc/file"]).stdout, "x", "{way} {state:?}");
            let mounts = world.guest(&["read", "/proc/self/mountinfo"]).stdout;
            assert_eq!(mounts.contains(" / / ") && mounts.contains("fuse.fuse-overlayfs"), way == "fuse", "{mounts}");
        }
    }
}

/// Options, what is copied, to where, and the file that is there then, or why not.
type Rule<'a> = (&'a [&'a str], &'a str, &'a str, Result<&'a str, &'a str>);

/// docker's rules, in a container, out of it and into it: what is copied, to where, what is there then.
#[test]
fn what_goes_where() {
    let world = World::running(&[]);
    let rules: [Rule; 28] = [
        // A file.
        (&[], "file", "new", Ok("new")),
        (&[], "file", "full", Ok("full/file")),
        (&[], "file", "full/", Ok("full/file")),
        (&[], "file", "full/.", Ok("full/file")),
        (&[], "file", "other", Ok("other")),
        (&[], "file", "new/", Err("new/: no such directory")),
        (&[], "file", "none/new", Err("no such file or directory")),
        (&[], "file", "other/", Err("other/: not a directory")),
        (&[], "file", "other/new", Err("no such file or directory")),
        (&[], "other", "to-file", Ok("file")),
        (&[], "file", "dangling", Ok("full/made")),
        (&[], "file", "out", Err("no such file or directory")),
        (&[], "file/", "new", Err("file/: not a directory")),
        (&[], "none", "new", Err("none: no such file or directory")),
        (&[], "taken", "full", Err("a directory is there, and a file does not take its place")),
        (&["--overwrite"], "taken", "full", Ok("full/taken")),
        // A directory.
        (&[], "dir", "new", Ok("new/x")),
        (&[], "dir", "new/", Ok("new/x")),
        (&[], "dir/.", "new", Ok("new/x")),
        (&[], "dir", "full", Ok("full/dir/x")),
        (&[], "dir/", "full", Ok("full/dir/x")),
        (&[], "dir/.", "full", Ok("full/x")),
        (&[], "dir", "other", Err("a file is there, and a directory does not take its place")),
        (&["--overwrite"], "dir", "other", Ok("other/x")),
        // Symlinks.
        (&[], "to-dir/", "full", Ok("full/to-dir/x")),
        (&["-L"], "to-file", "full", Ok("full/to-file")),
        (&["-L"], "to-dir", "new", Ok("new/x")),
        (&[], "to-file", "new", Ok("new")),
    ];
    for (number, (options, from, to, expected)) in rules.iter().enumerate() {
        for (way, source, target) in [(0, "a:/", "a:/"), (1, "a:/", ""), (2, "", "a:/")] {
            let name = format!("t{number}-{way}");
            set_up(&world, &name);
            world.cp(&[&name, "a:/"]).ok();
            let done =
                world.cp(&[options, &[format!("{source}{name}/{from}").as_str(), &format!("{target}{name}/{to}")][..]]
                    .concat());
            let path = match expected {
                Ok(path) => path,
                Err(text) => {
                    done.fails(125, text);
                    continue;
                }
            };
            done.ok();
            let text = match target {
                "" => world.read(&format!("{name}/{path}")),
                _ => world.guest(&["read", &format!("/{name}/{path}")]).stdout,
            };
            let wanted = match (path, *from) {
                (path, _) if path.ends_with('x') => "x",
                (_, "other") => "o",
                (_, "taken") => "t",
                _ => "f",
            };
            assert_eq!(text, wanted, "{source} {from} {target} {to}");
        }
    }
    // Neither into itself nor onto itself.
    for (from, to, text) in [
        ("a:/t0-0/dir", "a:/t0-0/dir/new", "is in the directory that is to be copied"),
        ("a:/t0-0/dir", "a:/t0-0/to-dir/sub/new", "is in the directory that is to be copied"),
        ("a:/t0-0/file", "a:/t0-0/to-file", "is the same as what is to be copied"),
    ] {
        world.cp(&[from, to]).fails(125, text);
    }
}

/// A directory for one rule.
fn set_up(world: &World, name: &str) {
    let top = world.env.path(name);
    for dir in ["dir/sub", "full/dir", "full/taken"] {
        std::fs::create_dir_all(top.join(dir)).unwrap();
    }
    for (file, text) in [("dir/x", "x"), ("file", "f"), ("other", "o"), ("taken", "t"), ("full/file", "old")] {
        std::fs::write(top.join(file), text).unwrap();
    }
    let links = [("to-dir", "dir"), ("to-file", "file"), ("dangling", "full/made"), ("out", "/nowhere/at-all")];
    for (link, to) in links {
        symlink(to, top.join(link)).unwrap();
    }
}

#[test]
fn words() {
    let world = World::running(&[]);
    world.write("file", "x");
    world.write("a:b", "colon");
    for words in [&["file", "b"][..], &["-", "-"], &["-", "b"]] {
        world.cp(words).fails(125, "CONTAINER:PATH");
    }
    for words in [&["", "a:/"][..], &["file", ""]] {
        world.cp(words).fails(125, "it cannot be empty");
    }
    world.cp(&["file", ":/x"]).fails(125, "no container before the colon");
    world.cp(&["file", "none:/x"]).fails(125, "no such container: none");
    world.cp(&["a:/etc/nothing", "."]).fails(125, "cp: a:/etc/nothing: no such file or directory");
    world.cp(&["nothing", "a:/"]).fails(125, "cp: nothing: no such file or directory");
    world.cp(&["a:/dev/null", "."]).ok();
    world.cp(&["file", "a:/dev/null"]).fails(125, "neither a directory nor a regular file");
    world.cp(&["./a:b", "a:etc/relative"]).ok();
    assert_eq!(world.guest(&["read", "/etc/relative"]).stdout, "colon");
    world.rbox(&["container", "cp", "-q", "-a=false", "file", "a:/also"]).ok();
    assert_eq!(world.guest(&["read", "/also"]).stdout, "x");
    // An empty path is the root.
    world.cp(&["file", "a:"]).ok();
    assert_eq!(world.guest(&["read", "/file"]).stdout, "x");
    set_mode(&world.env.path("file"), 0);
    world.cp(&["file", "a:/closed"]).fails(125, "file: open: Permission denied");
    let done = world.cp(&["a:/dev", "dev"]).ok();
    assert!(done.stderr.lines().any(|line| line.ends_with("devices were left out")), "{done:?}");
    assert!(world.env.path("dev/fd").is_symlink() && !world.env.path("dev/null").exists());
}

#[test]
fn whose_it_is() {
    requires!("whose_it_is", range);
    let world = World::with(Root::Image, State::Running, &[]);
    world.make("single", Root::Overlay, State::Running, &["--id-mode=single"]);
    world.write("dir/file", "x");
    let own = (u64::from(uid()), u64::from(gid()));
    let owner = |path: &str| {
        let archive = world.archive(path);
        archive.iter().map(|(entry, _)| (entry.uid, entry.gid)).collect::<Vec<_>>()
    };
    world.cp(&["dir", "a:/root"]).ok();
    assert_eq!(owner("a:/root"), [(0, 0); 2]);
    world.cp(&["-a", "dir", "a:/own"]).ok();
    assert_eq!(owner("a:/own"), [own; 2]);
    // Where there is one id it is written down, as when an image is unpacked.
    world.cp(&["-a", "a:/own", "single:/own"]).ok();
    assert_eq!(owner("single:/own"), [own; 2]);
    world.cp(&["--archive", "single:/own", "a:/again"]).ok();
    assert_eq!(owner("a:/again"), [own; 2]);
    let stat = world.guest(&["stat", "/again/file"]);
    assert_eq!((stat.field("uid"), stat.field("gid")), (uid().to_string(), gid().to_string()));
    world.cp(&["a:/own/file", "single:/plain"]).ok();
    assert_eq!(owner("single:/plain"), [(0, 0)]);
    // Out of it all is the caller's.
    world.cp(&["-a", "a:/root", "out"]).ok();
    let meta = std::fs::metadata(world.env.path("out/file")).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (uid(), gid()));
    // An id that the container does not have.
    let mut far = entry(Kind::Regular, "far", "", b"x");
    far.0.uid = 4_000_000;
    let archive = archive_of(&[entry(Kind::Regular, "near", "", b"x"), far]);
    world.cp_archive(&["-a", "-", "a:/tmp"], &archive).fails(125, "far: belongs to 4000000:8").advises("without -a");
    world.cp_archive(&["-", "a:/tmp"], &archive).ok();
    assert_eq!(owner("a:/tmp/far"), [(0, 0)]);
    // A directory that is there gets the owner and the mode of the one that comes.
    world.cp(&["dir/.", "a:/again"]).ok();
    assert_eq!(owner("a:/again")[0], own, "what is in a directory is copied, not the directory");
    world.cp(&["dir", "a:/own"]).ok();
    world.cp(&["-a", "dir", "a:/own"]).ok();
    assert_eq!(owner("a:/own/dir"), [own; 2]);
}

#[test]
fn root_of_other_maps() {
    requires!("root_of_other_maps", range);
    for state in [State::Running, State::Created] {
        // Somebody else is root there, who has to find the way.
        let world = World::new();
        set_mode(world.env.dir(), 0o755);
        world.make("a", Root::Directory, state, &["--userns=keep-id"]);
        set_mode(&world.env.rootfs().join("tmp"), 0o777);
        world.write("file", "x");
        world.cp(&["file", "a:/tmp/file"]).ok();
        let (entry, _) = &world.archive("a:/tmp/file")[0];
        assert_eq!((entry.uid, entry.gid), (0, 0), "{state:?}");
        world.cp(&["a:/tmp/file", "back"]).ok();
        assert_eq!(std::fs::metadata(world.env.path("back")).unwrap().uid(), uid());
        let stat = world.guest(&["stat", "/tmp/file"]);
        assert_eq!(stat.field("uid"), "0");
    }
}

#[test]
fn volumes_and_binds_count() {
    for state in [State::Created, State::Running, State::Ended] {
        let world = World::new();
        std::fs::create_dir(world.env.path("bound")).unwrap();
        let bind = format!("{}:/bind", world.env.path("bound").display());
        world.make("a", Root::Image, state, &["--read-only", "-v", "data:/vol", "-v", &bind, "-v", "read:/ro:ro"]);
        world.write("file", "x");
        world.cp(&["file", "a:/vol/file"]).ok();
        assert_eq!(world.read("data/rbox/volumes/data/_data/file"), "x", "{state:?}");
        if state == State::Created {
            let of_image = world.env.path("data/rbox/volumes/data/_data/of-image");
            assert_eq!(std::fs::read_to_string(&of_image).unwrap(), "x", "it was filled first");
        }
        world.cp(&["file", "a:/bind"]).ok();
        assert_eq!(world.read("bound/file"), "x", "{state:?}");
        world.cp(&["a:/bind/file", "back"]).ok();
        assert_eq!(world.read("back"), "x");
        for place in ["a:/file", "a:/ro/file", "a:/guest"] {
            world.cp(&["file", place]).fails(125, "Read-only file system").advises("read-only");
        }
        // A file that is a mount keeps its place, and gets another content.
        if state == State::Running {
            world.make("b", Root::Overlay, state, &[]);
            world.cp(&["file", "b:/etc/hosts"]).ok();
            assert_eq!(world.archive("b:/etc/hosts")[0].1, b"x");
            std::fs::create_dir(world.env.path("hosts")).unwrap();
            world.cp(&["--overwrite", "hosts", "b:/etc"]).fails(125, "hosts");
        }
    }
}

#[test]
fn archives() {
    let world = World::running(&[]);
    world.write("tree/dir/file", "x");
    world.cp(&["tree", "a:/"]).ok();
    assert_eq!(names(&world.archive("a:/tree")), ["tree/", "tree/dir/", "tree/dir/file"]);
    assert_eq!(names(&world.archive("a:/tree/.")), ["./", "dir/", "dir/file"]);
    assert_eq!(names(&world.archive("a:/tree/dir/file")), ["file"]);
    // Whoever reads no more is no error.
    let mut child = world.spawn(&["a:/guest", "-"]);
    drop(child.stdout.take());
    Done::from(child.wait_with_output().unwrap()).ok();
    let plain = archive_of(&[
        entry(Kind::Directory, "./", "", b""),
        entry(Kind::Regular, "/absolute/file", "", b"abs"),
        entry(Kind::Regular, "dir/../name", "", b"name"),
        entry(Kind::Symlink, "link", "absolute", b""),
        entry(Kind::Regular, "link/through", "", b"through"),
        entry(Kind::Hardlink, "hard", "name", b""),
    ]);
    let packed = {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        gzip.finish().unwrap()
    };
    for archive in [&plain, &packed] {
        world.cp_archive(&["-", "a:/tree"], archive).ok();
        for (name, text) in
            [("absolute/file", "abs"), ("name", "name"), ("absolute/through", "through"), ("hard", "name")]
        {
            assert_eq!(world.guest(&["read", &format!("/tree/{name}")]).stdout, text);
        }
        world.cp_archive(&["-", "a:/tree/dir/file"], archive).fails(125, "an archive goes into a directory");
        world.cp_archive(&["-", "a:/none"], archive).fails(125, "an archive goes into a directory");
        world.cp_archive(&["-", "a:/tree"], &archive[..600.min(archive.len() - 1)]).fails(125, "a:/tree");
    }
    world.cp_archive(&["-", "a:/tree"], b"no archive at all, and longer than nothing").fails(125, "tar");
}

/// An archive that is to leave the directory that it is for.
#[test]
fn hostile_archives() {
    for state in [State::Running, State::Created] {
        let world = World::with(Root::Overlay, state, &[]);
        world.write("seed/file", "x");
        world.cp(&["seed", "a:/data"]).ok();
        let hostile = [
            (vec![entry(Kind::Regular, "../etc/passwd", "", b"evil")], "leads out of the destination"),
            (vec![entry(Kind::Regular, "a/../../etc/passwd", "", b"evil")], "leads out of the destination"),
            (
                vec![entry(Kind::Symlink, "l", "/etc", b""), entry(Kind::Regular, "l/passwd", "", b"evil")],
                "leads out of the destination",
            ),
            (
                vec![entry(Kind::Symlink, "m", "../etc", b""), entry(Kind::Regular, "m/passwd", "", b"evil")],
                "leads out of the destination",
            ),
            (
                vec![
                    entry(Kind::Symlink, "l2", ".", b""),
                    entry(Kind::Symlink, "l2/l3", "../etc", b""),
                    entry(Kind::Directory, "l3/new", "", b""),
                ],
                "leads out of the destination",
            ),
            (vec![entry(Kind::Hardlink, "h", "../etc/passwd", b"")], "leads out of the destination"),
            (
                vec![entry(Kind::Symlink, "l4", "/etc", b""), entry(Kind::Hardlink, "h", "l4/passwd", b"")],
                "leads out of the destination",
            ),
        ];
        for (number, (entries, text)) in hostile.iter().enumerate() {
            let done = world.cp_archive(&["-", "a:/data"], &archive_of(entries)).fails(125, text);
            assert!(done.stderr.contains("a:/data"), "{number}: {done:?}");
        }
        let passwd = world.guest(&["read", "/etc/passwd"]).stdout;
        assert!(passwd.contains("ada") && !passwd.contains("evil"), "{passwd}");
        assert_eq!(world.guest(&["stat", "/data/h"]).field("errno"), libc::ENOENT.to_string());
        assert!(!world.guest(&["ls", "/etc"]).stdout.contains("new"));
        // The last name of an entry is never followed.
        let over = [entry(Kind::Symlink, "s", "/etc/passwd", b""), entry(Kind::Regular, "s", "", b"mine")];
        world.cp_archive(&["-", "a:/data"], &archive_of(&over)).ok();
        assert_eq!(world.guest(&["read", "/data/s"]).stdout, "mine");
        assert_eq!(world.guest(&["read", "/etc/passwd"]).stdout, passwd);
        // Devices are none of the caller's to make.
        let device = [entry(Kind::CharDevice, "null", "", b"")];
        let done = world.cp_archive(&["-", "a:/data"], &archive_of(&device)).ok();
        assert_eq!(done.stderr, "rbox: note: cp: 1 devices were left out\n");
    }
}

/// Symlinks that a container has aimed at the host, among them one that is there only now and then (CVE-2018-15664).
#[test]
fn symlinks_lead_nowhere_else() {
    for state in [State::Running, State::Created] {
        let world = World::with(Root::Directory, state, &[]);
        world.write("outside/file", "secret");
        let outside = world.env.path("outside");
        let root = world.env.rootfs();
        std::fs::create_dir_all(root.join("work/dir")).unwrap();
        std::fs::write(root.join("work/dir/file"), "inside").unwrap();
        symlink(&outside, root.join("work/link")).unwrap();
        symlink(format!("../../../../../..{}", outside.display()), root.join("work/up")).unwrap();
        symlink(outside.join("file"), root.join("work/to-file")).unwrap();
        world.write("mine", "mine");
        for path in ["work/link/file", "work/up/file", "work/link/"] {
            world.cp(&[&format!("a:/{path}"), "out"]).fails(125, "no such file or directory");
            world.cp(&["mine", &format!("a:/{path}new")]).fails(125, "no such file or directory");
        }
        world.cp(&["-L", "a:/work/to-file", "out"]).fails(125, "no such file or directory");
        world.cp(&["mine", "a:/work/to-file"]).fails(125, "no such file or directory");
        // The link itself is a text.
        world.cp(&["a:/work/to-file", "out"]).ok();
        assert_eq!(std::fs::read_link(world.env.path("out")).unwrap(), outside.join("file"));
        std::fs::remove_file(world.env.path("out")).unwrap();
        let check = || {
            assert_eq!(world.read("outside/file"), "secret");
            assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1, "nothing came");
        };
        check();
        if state != State::Running {
            continue;
        }
        // Now they change places all the time.
        world.rbox(&["exec", "-d", "a", "/guest", "swap", "/work/dir", "/work/link"]).ok();
        let (mut got, mut refused) = (0, 0);
        for _ in 0..60 {
            let done = world.cp(&["a:/work/dir/file", "out"]);
            if done.status == 0 {
                assert_eq!(world.read("out"), "inside");
                got += 1;
            } else {
                refused += 1;
            }
            world.cp(&["a:/work/.", "all"]);
            // The link itself may have come.
            let came = std::fs::symlink_metadata(world.env.path("all/dir")).is_ok_and(|meta| meta.is_dir());
            assert!(!came || !world.read("all/dir/file").contains("secret"));
            let _ = std::fs::remove_dir_all(world.env.path("all"));
            world.cp(&["mine", "a:/work/dir/came"]);
            world.cp_archive(&["-", "a:/work"], &archive_of(&[entry(Kind::Regular, "dir/came2", "", b"x")]));
            check();
        }
        // Otherwise this has tried nothing.
        assert!(got > 0 && refused > 0, "{got} {refused}");
    }
}

/// Where the container sees the host's processes, their links do not lead to the host's files.
#[test]
fn links_of_proc_lead_nowhere() {
    for options in [&["--pid=host"][..], &[]] {
        let world = World::running(options);
        world.write("secret", "secret");
        let pid = if options.is_empty() { 1 } else { std::process::id() };
        for path in [format!("proc/{pid}/root/etc/passwd"), format!("proc/{pid}/cwd/"), "proc/self/root/etc".to_owned()]
        {
            for words in [[&format!("a:/{path}"), "out"], ["secret", &format!("a:/{path}/new")]] {
                let done = world.cp(&words);
                assert_eq!(done.status, 125, "{path} {done:?}");
            }
        }
        // Neither by a link that the container makes.
        symlink(format!("/proc/{pid}/cwd"), world.env.path("way")).unwrap();
        world.cp(&["way", "a:/way"]).ok();
        assert_eq!(world.cp(&["a:/way/secret", "out"]).status, 125);
        assert_eq!(world.cp(&["secret", "a:/way/new"]).status, 125);
        assert!(!world.env.path("out").exists());
        // What the kernel makes up is left out of the root.
        world.cp(&["a:/", "all"]).ok();
        assert_eq!(std::fs::read_dir(world.env.path("all/proc")).unwrap().count(), 0);
        assert_eq!(std::fs::read_dir(world.env.path("all/sys")).unwrap().count(), 0);
        assert!(world.env.path("all/guest").is_file());
    }
}

#[test]
fn a_full_disk() {
    let world = World::running(&["--tmpfs", "/small:size=64k"]);
    world.write("large", &"x".repeat(1 << 20));
    world.cp(&["large", "a:/small"]).fails(125, "a:/small: write: No space left on device");
    world.cp(&["a:/guest", "a:/small"]).fails(125, "a:/small: write: No space left on device");
}

#[test]
fn between_containers() {
    let world = World::with(Root::Overlay, State::Running, &[]);
    world.make("b", Root::Overlay, State::Ended, &[]);
    make_tree(&world.env);
    world.cp(&["tree", "a:/one"]).ok();
    world.cp(&["a:/one", "b:/two"]).ok();
    world.cp(&["b:/two", "b:/three"]).ok();
    world.cp(&["b:/three", "a:/four"]).ok();
    world.cp(&["a:/four", "back"]).ok();
    check_tree(&world.env, "back");
    open_up(&world.env, &["tree", "back"]);
    // The way back and forth at once: neither waits for the other for ever.
    world.make("c", Root::Overlay, State::Created, &[]);
    for _ in 0..3 {
        let children = [
            world.spawn(&["b:/two/.", "c:/"]),
            world.spawn(&["c:/guest", "b:/"]),
            world.spawn(&["b:/guest", "c:/tmp"]),
        ];
        for child in children {
            Done::from(child.wait_with_output().unwrap()).ok();
        }
    }
}

/// `cp` that waits for the rest of its archive, of which something has come; and the processes that it has made.
fn half_way(world: &World) -> (Child, ChildStdin, Vec<Pid>) {
    let mut child = world.spawn(&["-", "a:/tmp"]);
    let mut stdin = child.stdin.take().unwrap();
    let archive =
        archive_of(&[entry(Kind::Directory, "half", "", b""), entry(Kind::Regular, "half/file", "", &[1; 9000])]);
    stdin.write_all(&archive[..1024 + 4096]).unwrap();
    let all = world.env.path("data/rbox/containers");
    eventually("something has come", || {
        let mut containers = std::fs::read_dir(&all).unwrap().flatten();
        containers.any(|container| container.path().join("0/upper/tmp/half/file").exists())
    });
    let pid = child.id();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let children = children.split_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap()).unwrap()).collect();
    (child, stdin, children)
}

#[test]
fn killed_half_way() {
    for (state, helpers) in [(State::Running, 1), (State::Ended, 2)] {
        let world = World::with(Root::Overlay, state, &[]);
        let (mut child, _stdin, children) = half_way(&world);
        assert_eq!(children.len(), helpers);
        if state == State::Ended {
            world.rbox(&["start", "a"]).fails(125, "is running, or somebody is about to change it");
            assert_eq!(world.rbox(&["ps", "-a", "--format", "{{.State}}"]).ok().stdout, "exited\n");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        eventually("its processes end with it", || {
            children.iter().all(|pid| rustix::process::test_kill_process(*pid).is_err())
        });
        world.cp(&["a:/guest", "guest"]).ok();
        assert_eq!(world.guest(&["ls", "/tmp"]).stdout, "half\n");
    }
}

/// Where the container sees the host's processes it sees a visitor, and no more of it.
#[test]
fn nobody_looks_into_a_visitor() {
    let world = World::running(&["--pid=host", "--privileged"]);
    let (mut child, _stdin, children) = half_way(&world);
    let visitor = children[0].as_raw_nonzero();
    assert!(world.guest(&["read", &format!("/proc/{visitor}/cmdline")]).stdout.starts_with("cp-visitor"));
    for file in ["environ", "maps", "exe"] {
        let done = world.guest(&["read", &format!("/proc/{visitor}/{file}")]).stdout;
        assert!(done.starts_with("error="), "{file}: {done}");
    }
    assert_eq!(world.guest(&["ls", &format!("/proc/{visitor}/fd")]).stdout, "\n");
    // Of its own processes it sees all.
    assert_ne!(world.guest(&["ls", "/proc/self/fd"]).stdout, "\n");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_container_ends_half_way() {
    let world = World::with(Root::Overlay, State::Running, &[]);
    let (child, _stdin, _) = half_way(&world);
    world.rbox(&["kill", "a"]).ok();
    Done::from(child.wait_with_output().unwrap()).fails(125, "a:/tmp: the container has ended");
}

/// Of a large file little is in memory at a time, on either side.
#[test]
fn little_memory() {
    let world = World::with(Root::Overlay, State::Running, &[]);
    let large = std::fs::File::create(world.env.path("large")).unwrap();
    large.set_len(300 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&large, b"end", (300 << 20) - 3).unwrap();
    for words in [["large", "a:/large"], ["a:/large", "back"]] {
        let mut command: Command = world.env.command("sh");
        // In KiB; both processes have it.
        command.args(["-c", "ulimit -v 100000; exec \"$@\"", "sh"]).arg(env::program("rbox")).arg("cp").args(words);
        Done::from(command.output().unwrap()).ok();
    }
    let back = std::fs::metadata(world.env.path("back")).unwrap();
    assert_eq!(back.size(), 300 << 20);
    assert!(back.blocks() * 512 < 1 << 20, "the hole stays");
}
