//! Volumes, from their making to their end, and root filesystems where the kernel has no overlay for them.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

use env::image::{self, Archive};
use env::{Done, Env, gid, set_mode, uid};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Child, Stdio};

fn volume(env: &Env, words: &[&str]) -> Done {
    env.rbox().arg("volume").args(words).output().expect("rbox starts").into()
}

fn names(env: &Env, options: &[&str]) -> Vec<String> {
    let done = volume(env, &[&["ls", "-q"], options].concat()).ok();
    done.stdout.lines().map(str::to_owned).collect()
}

fn data(env: &Env, name: &str) -> PathBuf {
    env.path("data/rbox/volumes").join(name).join("_data")
}

/// What is in the directory of all volumes.
fn entries(env: &Env) -> Vec<String> {
    let all = std::fs::read_dir(env.path("data/rbox/volumes")).into_iter().flatten().flatten();
    let mut all: Vec<String> = all.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    all.sort();
    all
}

/// Runs the guest in the image of this name.
fn in_image(env: &Env, options: &[&str], image: &str, verb: &[&str]) -> Done {
    let mut command = env.rbox();
    command.args(["run", "--pull", "never"]).args(options).arg(image).arg("/guest").args(verb);
    command.output().expect("rbox starts").into()
}

/// A container that stays, and says when it is there.
fn sleeper(env: &Env, options: &[&str]) -> Child {
    let mut child =
        env.run_command(options).args(["/guest", "sleep"]).stdout(Stdio::piped()).spawn().expect("rbox starts");
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    child
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_volume_outlives_its_containers() {
    let env = Env::new();
    env.guest(&["-v", "data:/data"], &["write", "/data/file", "kept"]).ok();
    assert_eq!(env.guest(&["-v", "data:/other"], &["read", "/other/file"]).ok().stdout, "kept");
    let mount = "type=volume,src=data,dst=/data,readonly";
    let done = env.guest(&["--mount", mount], &["write", "/data/file", "x"]).ok();
    assert_eq!(done.stdout, format!("errno={}\n", libc::EROFS));
    let meta = std::fs::metadata(data(&env, "data").join("file")).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (uid(), gid()), "the container's root is the caller");
    assert_eq!(names(&env, &[]), ["data"]);
    assert_eq!(volume(&env, &["rm", "data"]).ok().stdout, "data\n");
    assert_eq!(entries(&env), Vec::<String>::new());
}

#[test]
fn words_of_docker() {
    let env = Env::new();
    assert_eq!(volume(&env, &["create", "-l", "a=b", "-l", "c", "web-1.x"]).ok().stdout, "web-1.x\n");
    assert_eq!(volume(&env, &["create", "web-1.x"]).ok().stdout, "web-1.x\n", "it is there already");
    let anonymous = volume(&env, &["create"]).ok().stdout.trim().to_owned();
    assert!(anonymous.len() == 64 && anonymous.bytes().all(|byte| byte.is_ascii_hexdigit()), "{anonymous}");
    let table = volume(&env, &["ls", "--filter", "name=web"]).ok().stdout;
    assert_eq!(table, "DRIVER    VOLUME NAME\nlocal     web-1.x\n");
    assert_eq!(names(&env, &["--filter", "label=a=b"]), ["web-1.x"]);
    assert_eq!(names(&env, &["--filter", "label=a=x"]), Vec::<String>::new());
    assert_eq!(names(&env, &["--filter", "driver=nfs"]), Vec::<String>::new());
    assert_eq!(names(&env, &["--filter", "dangling=true"]).len(), 2);
    let inspected: Value = serde_json::from_str(&volume(&env, &["inspect", "web-1.x"]).ok().stdout).unwrap();
    let about = &inspected[0];
    assert_eq!(about["Name"], "web-1.x");
    assert_eq!(about["Driver"], "local");
    assert_eq!(about["Scope"], "local");
    assert_eq!(about["Labels"], json!({ "a": "b", "c": "" }));
    assert_eq!(about["Options"], Value::Null);
    assert_eq!(about["Mountpoint"], data(&env, "web-1.x").display().to_string());
    assert!(about["CreatedAt"].as_str().unwrap().ends_with('Z'), "{about}");
    volume(&env, &["inspect", "none"]).fails(125, "get none: no such volume");
    volume(&env, &["rm", "none"]).fails(125, "get none: no such volume");
    assert_eq!(volume(&env, &["rm", "-f", "none"]).ok().stdout, "none\n");
    volume(&env, &["create", "_x"]).fails(125, "includes invalid characters for a local volume name");
    volume(&env, &["create", "../x"]).fails(125, "includes invalid characters for a local volume name");
    volume(&env, &["create", "-d", "nfs", "x"]).fails(125, "no such volume driver");
    volume(&env, &["create", "--opt", "type=nfs", "x"]).fails(125, "mounting it needs root");
    volume(&env, &["create", "-l", "a=other", "web-1.x"]).fails(125, "with other labels");
    env.guest(&["-v", "a b:/x"], &["exit", "0"]).fails(125, "includes invalid characters");
    let both = volume(&env, &["rm", "none", "web-1.x"]);
    assert_eq!((both.status, both.stdout.as_str()), (125, "web-1.x\n"));
}

#[test]
fn prune_takes_what_nobody_uses() {
    let env = Env::new();
    for words in [&["create", "named"][..], &["create", "-l", "keep", "labelled"], &["create", "used"], &["create"]] {
        volume(&env, words).ok();
    }
    std::fs::write(data(&env, "named").join("file"), [0; 1500]).unwrap();
    let child = sleeper(&env, &["-v", "used:/u"]);
    // No answer is no.
    let asked = volume(&env, &["prune"]).ok().stdout;
    assert_eq!(
        asked,
        "WARNING! This will remove anonymous local volumes not used by at least one container.\n\
         Are you sure you want to continue? [y/N] "
    );
    assert_eq!(names(&env, &[]).len(), 4);
    let pruned = volume(&env, &["prune", "-f"]).ok().stdout;
    let lines: Vec<&str> = pruned.lines().collect();
    assert_eq!((lines[0], lines[1].len(), lines[3]), ("Deleted Volumes:", 64, "Total reclaimed space: 0B"), "{pruned}");
    let all = ["prune", "-f", "-a", "--filter", "label!=keep"];
    assert_eq!(volume(&env, &all).ok().stdout, "Deleted Volumes:\nnamed\n\nTotal reclaimed space: 1.5kB\n");
    assert_eq!(volume(&env, &["prune", "-f"]).ok().stdout, "Total reclaimed space: 0B\n");
    assert_eq!(names(&env, &[]), ["labelled", "used"]);
    kill(child);
}

#[test]
fn a_volume_in_use_stays() {
    let env = Env::new();
    let child = sleeper(&env, &["--name", "holder", "-v", "data:/d"]);
    let id = std::fs::read_link(env.path("run/rbox/names/holder")).unwrap().display().to_string();
    for words in [&["rm", "data"][..], &["rm", "-f", "data"]] {
        volume(&env, words).fails(125, &format!("remove data: volume is in use - [{id}]"));
    }
    // Another session has another runtime directory, where the container is not to be seen.
    std::fs::create_dir(env.path("other")).unwrap();
    set_mode(&env.path("other"), 0o700);
    let other: Done =
        env.rbox().env("XDG_RUNTIME_DIR", env.path("other")).args(["volume", "rm", "data"]).output().unwrap().into();
    other.fails(125, "remove data: volume is in use");
    assert_eq!(names(&env, &["--filter", "dangling=true"]), Vec::<String>::new());
    assert_eq!(names(&env, &["--filter", "dangling=false"]), ["data"]);
    kill(child);
    volume(&env, &["rm", "data"]).ok();
}

#[test]
fn anonymous_volumes_go_with_their_container() {
    let env = Env::new();
    env.guest(&["-v", "/a", "--mount", "type=volume,dst=/b"], &["write", "/a/x", "x"]).ok();
    assert_eq!(entries(&env), Vec::<String>::new());
    // Its maker has no time to.
    let child = sleeper(&env, &["-v", "/a", "-v", "named:/n"]);
    assert_eq!(entries(&env).len(), 2);
    kill(child);
    assert_eq!(entries(&env).len(), 2);
    env.guest(&[], &["exit", "0"]).ok();
    assert_eq!(entries(&env), ["named"]);
    // Without --rm it stays.
    let mut command = env.rbox();
    command.args(["run", "-v", "/a", "--rootfs"]).arg(env.rootfs()).args(["/guest", "exit", "0"]);
    Done::from(command.output().unwrap()).ok();
    let all = names(&env, &[]);
    assert_eq!(all.len(), 2, "{all:?}");
}

#[test]
fn an_empty_volume_is_filled_once() {
    let env = Env::new();
    let seed = env.rootfs().join("seed");
    std::fs::create_dir_all(seed.join("sub")).unwrap();
    std::fs::write(seed.join("sub/file"), "from the image").unwrap();
    std::fs::hard_link(seed.join("sub/file"), seed.join("hard")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", seed.join("link")).unwrap();
    set_mode(&seed.join("sub/file"), 0o4755);
    set_mode(&seed, 0o751);
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1000);
    std::fs::File::open(seed.join("sub")).unwrap().set_modified(old).unwrap();
    env.guest(&["-v", "data:/seed"], &["write", "/seed/sub/file", "changed"]).ok();
    let there = data(&env, "data");
    let about = |path: &str| std::fs::symlink_metadata(there.join(path)).unwrap();
    assert_eq!(about("").permissions().mode() & 0o7777, 0o751);
    assert_eq!(about("sub").mtime(), 1000);
    assert_eq!(about("hard").ino(), about("sub/file").ino());
    assert_eq!(std::fs::read_link(there.join("link")).unwrap(), PathBuf::from("/etc/passwd"));
    assert_eq!(std::fs::read_to_string(seed.join("hard")).unwrap(), "from the image", "a copy");
    assert_eq!(env.guest(&["-v", "data:/seed"], &["read", "/seed/hard"]).ok().stdout, "changed");
    // Elsewhere nothing is there to fill it with, and then it is not empty.
    env.guest(&["-v", "other:/new"], &["write", "/new/x", "x"]).ok();
    assert_eq!(env.guest(&["-v", "other:/seed"], &["ls", "/seed"]).ok().stdout, "x\n");
    for nocopy in [&["-v", "no:/seed:nocopy"][..], &["--mount", "type=volume,src=no,dst=/seed,volume-nocopy"]] {
        assert_eq!(env.guest(nocopy, &["ls", "/seed"]).ok().stdout, "\n");
    }
    // One that is made first and started later fills it with its first start, and not again.
    let mut create = env.rbox();
    create.args(["create", "--network=none", "--name", "later", "-v", "late:/seed", "--rootfs"]).arg(env.rootfs());
    Done::from(create.args(["/guest", "ls", "/seed"]).output().unwrap()).ok();
    let start = || -> Done { env.rbox().args(["start", "-a", "later"]).output().unwrap().into() };
    assert_eq!(start().ok().stdout, "hard link sub\n");
    for name in ["hard", "link", "sub/file"] {
        std::fs::remove_file(data(&env, "late").join(name)).unwrap();
    }
    std::fs::remove_dir(data(&env, "late").join("sub")).unwrap();
    assert_eq!(start().ok().stdout, "\n");
    Done::from(env.rbox().args(["rm", "later"]).output().unwrap()).ok();
    assert_eq!(env.guest(&["-v", "ro:/seed:ro"], &["ls", "/seed"]).ok().stdout, "hard link sub\n");
    let done = env.guest(&["-v", "data:/etc/passwd"], &["exit", "0"]);
    done.fails(125, "a directory, and what is there in the root filesystem is none");
    let left = std::fs::read_dir(there.parent().unwrap()).unwrap().count();
    assert_eq!(left, 2, "nothing beside the data and what is known of it");
}

#[test]
fn a_link_of_the_image_leads_nowhere_else() {
    let env = Env::new();
    std::fs::write(env.path("secret"), "of the host").unwrap();
    std::os::unix::fs::symlink(env.dir(), env.rootfs().join("out")).unwrap();
    std::os::unix::fs::symlink("../../../../..", env.rootfs().join("up")).unwrap();
    let done = env.guest(&["-v", "a:/out", "-v", "b:/up/tmp"], &["exit", "0"]).ok();
    assert_eq!(done.stderr, "");
    for name in ["a", "b"] {
        assert!(!data(&env, name).join("secret").exists());
        assert_eq!(std::fs::read_dir(data(&env, name)).unwrap().count(), 0, "{name}");
    }
}

#[test]
fn many_at_once() {
    let env = Env::new();
    let seed = env.rootfs().join("seed");
    std::fs::create_dir(&seed).unwrap();
    for number in 0..200 {
        std::fs::write(seed.join(number.to_string()), "x").unwrap();
    }
    let start = |mut command: std::process::Command| {
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("rbox starts")
    };
    let containers: Vec<Child> = (0..8)
        .map(|_| {
            let mut command = env.run_command(&["-v", "data:/seed", "-v", "/other"]);
            command.args(["/guest", "ls", "/seed"]);
            start(command)
        })
        .collect();
    let makers: Vec<Child> = (0..8)
        .map(|_| {
            let mut command = env.rbox();
            command.args(["volume", "create", "same"]);
            start(command)
        })
        .collect();
    for child in containers {
        let done = Done::from(child.wait_with_output().unwrap()).ok();
        assert_eq!(done.stdout.split_whitespace().count(), 200);
    }
    for child in makers {
        assert_eq!(Done::from(child.wait_with_output().unwrap()).ok().stdout, "same\n");
    }
    assert_eq!(names(&env, &[]), ["data", "same"]);
    assert_eq!(entries(&env), ["data", "same"]);
}

#[test]
fn a_kill_leaves_nothing_half() {
    let env = Env::new();
    let seed = env.rootfs().join("seed");
    std::fs::create_dir(&seed).unwrap();
    for number in 0..200 {
        std::fs::write(seed.join(number.to_string()), [0; 4096]).unwrap();
    }
    let start = std::time::Instant::now();
    env.guest(&["-v", "data:/seed"], &["exit", "0"]).ok();
    let whole = start.elapsed();
    volume(&env, &["rm", "data"]).ok();
    let (mut empty, mut full) = (0, 0);
    let mut round = 0;
    // On a machine with other work a run may take many times what the first one took, or a small part of it.
    while round < 32 || full == 0 || empty == 0 {
        assert!(round < 960, "{empty} kills before the volume was filled, {full} after it");
        let mut command = env.run_command(&["-v", "data:/seed", "-v", "/anonymous"]);
        let mut child = command.args(["/guest", "exit", "0"]).stderr(Stdio::null()).spawn().expect("rbox starts");
        let unit = [whole / 32, whole / 128, whole / 8][round as usize / 32 % 3];
        std::thread::sleep(unit * (round % 32));
        // It may have ended.
        let _ = child.kill();
        child.wait().unwrap();
        if let Ok(entries) = std::fs::read_dir(data(&env, "data")) {
            match entries.count() {
                0 => empty += 1,
                200 => full += 1,
                some => panic!("{some} of 200 files"),
            }
        }
        // The first process may take a moment longer to die.
        env::eventually("the volume is free", || volume(&env, &["rm", "-f", "data"]).status == 0);
        round += 1;
    }
    env.guest(&["-v", "data:/seed"], &["exit", "0"]).ok();
    assert_eq!(names(&env, &[]), ["data"]);
    assert_eq!(entries(&env), ["data"]);
    assert_eq!(std::fs::read_dir(data(&env, "data").parent().unwrap()).unwrap().count(), 2);
}

#[test]
fn options_of_the_driver() {
    let env = Env::new();
    let dir = env.path("dir");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("file"), "of the host").unwrap();
    let device = format!("device={}", dir.display());
    volume(&env, &["create", "--opt", "type=none", "--opt", "o=bind,ro", "--opt", &device, "bound"]).ok();
    assert_eq!(env.guest(&["-v", "bound:/b"], &["read", "/b/file"]).ok().stdout, "of the host");
    let done = env.guest(&["-v", "bound:/b"], &["write", "/b/file", "x"]).ok();
    assert_eq!(done.stdout, format!("errno={}\n", libc::EROFS));
    let mount = "type=volume,src=memory,dst=/m,volume-opt=type=tmpfs,volume-opt=o=size=1m";
    let report = env.guest(&["--mount", mount], &["report"]).ok().stdout;
    let line = report.lines().find(|line| line.contains(" /m ")).unwrap();
    assert!(line.contains("tmpfs") && line.contains("size=1024k"), "{line}");
    let mount = "type=volume,src=memory,dst=/m,volume-opt=type=none,volume-opt=o=bind,volume-opt=device=/";
    env.guest(&["--mount", mount], &["exit", "0"]).fails(125, "with other options");
    let child = sleeper(&env, &["-v", "memory:/m"]);
    volume(&env, &["rm", "memory"]).fails(125, "volume is in use - [");
    kill(child);
}

#[test]
fn volumes_of_another_container() {
    let env = Env::new();
    let dir = env.path("dir");
    std::fs::create_dir(&dir).unwrap();
    let bind = format!("{}:/bind", dir.display());
    let child =
        sleeper(&env, &["--name", "first", "-v", "data:/data", "-v", "/anonymous", "-v", &bind, "--tmpfs", "/t"]);
    env.guest(&["--volumes-from", "first"], &["write", "/data/x", "data"]).ok();
    env.guest(&["--volumes-from", "first"], &["write", "/anonymous/x", "anonymous"]).ok();
    env.guest(&["--volumes-from", "first"], &["write", "/bind/x", "bind"]).ok();
    assert_eq!(std::fs::read_to_string(data(&env, "data").join("x")).unwrap(), "data");
    assert_eq!(std::fs::read_to_string(dir.join("x")).unwrap(), "bind");
    assert_eq!(env.guest(&["--volumes-from", "first"], &["read", "/anonymous/x"]).ok().stdout, "anonymous");
    for place in ["/data/x", "/bind/x"] {
        let done = env.guest(&["--volumes-from", "first:ro"], &["write", place, "x"]).ok();
        assert_eq!(done.stdout, format!("errno={}\n", libc::EROFS), "{place}");
    }
    // The own mount counts; what was no volume is not taken over.
    let done = env.guest(&["--volumes-from", "first", "-v", "own:/data"], &["ls", "/data"]).ok();
    assert_eq!(done.stdout, "\n");
    let mounts = env.guest(&["--volumes-from", "first"], &["report"]).ok().stdout;
    assert!(mounts.contains(" /data ") && !mounts.contains(" /t "), "{mounts}");
    env.guest(&["--volumes-from", "none"], &["exit", "0"]).fails(125, "--volumes-from none: no such container: none");
    // The volume stays as long as one has it.
    let second = sleeper(&env, &["--volumes-from", "first"]);
    kill(child);
    env.guest(&[], &["exit", "0"]).ok();
    assert_eq!(names(&env, &[]).len(), 3);
    kill(second);
    env.guest(&["-v", "data:/x"], &["exit", "0"]).ok();
    assert_eq!(names(&env, &[]), ["data", "own"]);
}

#[test]
fn an_image_names_volumes() {
    let env = Env::new();
    let seed = || image::base().directory("seed/", 0o750, 0).file("seed/file", 0o640, 0, b"from the image");
    let with = |places: &[&str]| {
        let all: serde_json::Map<String, Value> = places.iter().map(|place| (place.to_string(), json!({}))).collect();
        image::put(&env, "app", vec![seed()], json!({ "Volumes": all }));
    };
    with(&["/seed/", "/var/lib/app", "/seed/../seed"]);
    assert_eq!(in_image(&env, &["--rm"], "app", &["read", "/seed/file"]).ok().stdout, "from the image");
    assert_eq!(entries(&env), Vec::<String>::new());
    in_image(&env, &[], "app", &["write", "/seed/file", "changed"]).ok();
    let all = names(&env, &[]);
    assert_eq!(all.len(), 2, "{all:?}");
    let filled = all.iter().find(|name| data(&env, name).join("file").exists()).expect("one was filled");
    let about = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((about(data(&env, filled)), about(data(&env, filled).join("file"))), (0o750, 0o640));
    volume(&env, &["prune", "-f"]).ok();
    assert_eq!(names(&env, &[]), all, "the container is kept, and they are its");
    let done: Done = env.rbox().args(["rm", "-a", "-v"]).output().expect("rbox starts").into();
    done.ok();
    assert_eq!(names(&env, &[]), Vec::<String>::new());
    // What is mounted there anyway takes its place.
    let options = ["--rm", "-v", "own:/seed", "--tmpfs", "/var/lib/app"];
    in_image(&env, &options, "app", &["write", "/seed/file", "changed"]).ok();
    assert_eq!(entries(&env), ["own"]);
    for place in ["/", "relative", "/proc", "/x/../sys/kernel", "/dev"] {
        with(&[place]);
        in_image(&env, &["--rm"], "app", &["exit", "0"]).fails(125, "the image wants a volume on");
    }
    with(&["/../../../../../../seed"]);
    assert_eq!(in_image(&env, &["--rm"], "app", &["read", "/seed/file"]).ok().stdout, "from the image");
    with(&["/guest/x"]);
    assert_eq!(in_image(&env, &["--rm"], "app", &["exit", "0"]).status, 125);
    assert_eq!(entries(&env), ["own"]);
}

#[test]
fn owners_are_those_of_the_image() {
    requires!("owners_are_those_of_the_image", range);
    let env = Env::new();
    let layer = image::base().directory("seed/", 0o2775, 33).file("seed/file", 0o600, 1000, b"x");
    image::put(&env, "app", vec![layer], json!({}));
    let stat = |path: &str| in_image(&env, &["--rm", "-v", "data:/seed"], "app", &["stat", path]).ok();
    assert_eq!((stat("/seed").field("uid"), stat("/seed").field("mode")), ("33".to_owned(), "42775".to_owned()));
    assert_eq!(stat("/seed/file").field("gid"), "1000");
    // With another root, who is no owner of the volume.
    let stat = |path: &str| {
        let options = ["--rm", "--userns", "keep-id", "-v", "kept:/seed"];
        in_image(&env, &options, "app", &["stat", path]).ok()
    };
    assert_eq!((stat("/seed").field("uid"), stat("/seed/file").field("uid")), ("33".to_owned(), "1000".to_owned()));
    // Files of others go, too.
    volume(&env, &["rm", "data", "kept"]).ok();
    assert_eq!(entries(&env), Vec::<String>::new());
}

#[test]
fn an_owner_that_is_not_mapped() {
    requires!("an_owner_that_is_not_mapped", range);
    let env = Env::new();
    image::put(&env, "app", vec![image::base().file("far", 0o644, 4_000_000, b"x")], json!({}));
    let done = in_image(&env, &["--rm"], "app", &["exit", "0"]);
    assert!(done.stderr.contains("far: belongs to 4000000:4000000, and not both ids are mapped"), "{done:?}");
    let squashed = in_image(&env, &["--rm", "--id-overflow", "squash"], "app", &["stat", "/far"]).ok();
    assert!(["65534", "0"].contains(&squashed.field("uid").as_str()), "{squashed:?}");
    // What was squashed is not what others run.
    assert_ne!(in_image(&env, &["--rm"], "app", &["exit", "0"]).status, 0);
}

#[test]
fn only_what_may_be_lost_is_volatile() {
    let env = Env::new();
    image::put(&env, "app", vec![image::base()], json!({}));
    let root = |done: Done| done.ok().stdout.lines().find(|line| line.contains(" / / ")).unwrap().to_owned();
    assert!(root(in_image(&env, &["--rm"], "app", &["report"])).contains("volatile"));
    assert!(!root(in_image(&env, &[], "app", &["report"])).contains("volatile"));
}

/// Its directories may have been another's before.
#[test]
fn a_container_finds_nothing_of_the_last_one() {
    let env = Env::new();
    image::put(&env, "app", vec![image::base()], json!({}));
    let run = |verb: &[&str]| in_image(&env, &["--rm"], "app", verb).ok().stdout;
    let first = (run(&["stat", "/"]), run(&["ls", "/"]));
    let changes: [&[&str]; 4] = [
        &["set-attribute", "/", "user.left", "x"],
        &["chmod", "/", "1777"],
        &["write", "/left", "x"],
        &["set-attribute", "/etc", "user.left", "x"],
    ];
    for change in changes {
        assert_eq!(run(change), "ok\n", "{change:?}");
        for path in ["/", "/etc"] {
            assert_eq!(run(&["attribute", path, "user.left"]), "none\n", "{change:?}");
        }
        assert_eq!((run(&["stat", "/"]), run(&["ls", "/"])), first, "{change:?}");
    }
    // One that changed nothing leaves its directories to the next.
    let left = || std::fs::read_dir(env.path("data/rbox/scratch")).unwrap().map(|entry| entry.unwrap().file_name());
    let before: Vec<_> = left().collect();
    assert_eq!(before.len(), 1);
    run(&["exit", "0"]);
    assert_eq!(left().collect::<Vec<_>>(), before);
}

/// Places for mounts that an image lacks are no changes.
#[test]
fn what_every_container_has_is_no_change() {
    let env = Env::new();
    image::put(&env, "app", vec![image::base()], json!({}));
    in_image(&env, &["--name", "kept"], "app", &["exit", "0"]).ok();
    assert_eq!(env.rbox().args(["diff", "kept"]).output().map(Done::from).unwrap().ok().stdout, "");
}

#[test]
fn three_hundred_layers() {
    let env = Env::new();
    let layer = |number: u32| {
        Archive::default().file("last", 0o644, 0, number.to_string().as_bytes()).file(
            &format!("layer-{number}"),
            0o644,
            0,
            b"",
        )
    };
    let layers = std::iter::once(image::base()).chain((1..300).map(layer)).collect();
    image::put(&env, "high", layers, json!({}));
    let kernel: Vec<u32> = std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .unwrap()
        .split(|c: char| !c.is_ascii_digit())
        .take(2)
        .map(|number| number.parse().unwrap_or(0))
        .collect();
    assert_eq!(in_image(&env, &["--rm"], "high", &["read", "/last"]).ok().stdout, "299");
    let seen = in_image(&env, &["--rm"], "high", &["ls", "/"]).ok().stdout;
    assert_eq!(seen.split_whitespace().filter(|name| name.starts_with("layer-")).count(), 299);
    let report = in_image(&env, &["--rm"], "high", &["report"]).ok().stdout;
    let is_overlay = report.lines().any(|line| line.contains(" / / ") && line.contains(" overlay "));
    assert_eq!(is_overlay, kernel >= vec![6, 8], "{kernel:?}");
}

/// A data directory on which the kernel refuses an overlay: it lies on one itself. Runs `rbox` below it, as root of a
/// user namespace, with this PATH for whatever rbox may start.
fn on_an_overlay(env: &Env, path: &str, words: &[&str]) -> Done {
    let script = r#"
        set -e
        cd "$1"
        mkdir -p lower upper work merged nested-run
        chmod 700 nested-run
        mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work,userxattr merged
        mkdir -p merged/data
        if [ -d data/rbox/images ] && [ ! -d merged/data/rbox ]; then
            mkdir -m 700 merged/data/rbox
            cp -r data/rbox/images merged/data/rbox/
        fi
        export XDG_DATA_HOME=$1/merged/data XDG_RUNTIME_DIR=$1/nested-run PATH="$2"
        shift 2
        exec "$@"
    "#;
    let mut command = env.rbox();
    command.args(["unshare", "--id-mode", "single", "/bin/sh", "-c", script, "sh"]);
    command.arg(env.dir()).arg(path).arg(env::program("rbox")).args(words);
    command.output().expect("rbox starts").into()
}

fn hidden_and_new() -> Vec<Archive> {
    let lower = image::base()
        .directory("dir/", 0o755, 0)
        .file("dir/old", 0o644, 0, b"old")
        .directory("opaque/", 0o755, 0)
        .file("opaque/old", 0o644, 0, b"old")
        .file("gone", 0o644, 0, b"old");
    let upper = Archive::default()
        .file(".wh.gone", 0o644, 0, b"")
        .file("dir/new", 0o644, 0, b"new")
        .file("opaque/.wh..wh..opq", 0o644, 0, b"")
        .file("opaque/new", 0o644, 0, b"new");
    vec![lower, upper]
}

fn mounts_overlays() -> bool {
    ["/bin/mount", "/usr/bin/mount"].iter().any(|path| std::path::Path::new(path).exists())
}

/// What must hold however the root is made.
fn works_without_the_kernel(env: &Env, path: &str) {
    let run = |options: &[&str], verb: &[&str]| {
        let words =
            [&["run", "--rm", "--network", "none", "--pull", "never"], options, &["app", "/guest"], verb].concat();
        on_an_overlay(env, path, &words)
    };
    for (dir, names) in [("/dir", "new old"), ("/opaque", "new")] {
        assert_eq!(run(&[], &["ls", dir]).ok().stdout, format!("{names}\n"), "{dir}");
    }
    assert!(!run(&[], &["ls", "/"]).ok().stdout.contains("gone"));
    assert_eq!(run(&[], &["write-and-read", "/dir/old"]).ok().stdout, "written\nkept\n");
    assert_eq!(run(&[], &["read", "/dir/old"]).ok().stdout, "old", "changes are thrown away");
    assert_eq!(run(&["--read-only"], &["write", "/dir/x", "x"]).ok().stdout, format!("errno={}\n", libc::EROFS));
    assert_eq!(run(&["-v", "data:/dir"], &["ls", "/dir"]).ok().stdout, "new old\n");
    std::fs::create_dir_all(env.path("host")).unwrap();
    std::fs::write(env.path("host/file"), "host").unwrap();
    let bind = format!("{}:/host:O", env.path("host").display());
    assert_eq!(run(&["-v", &bind], &["write-and-read", "/host/file"]).ok().stdout, "written\nkept\n");
    assert_eq!(std::fs::read_to_string(env.path("host/file")).unwrap(), "host");
    // What is left for the next container has two empty directories.
    let find = ["/usr/bin/find", "merged/data/rbox/scratch", "-mindepth", "4"];
    let left = on_an_overlay(env, path, &[&["unshare", "--id-mode", "single"][..], &find].concat());
    assert_eq!(left.ok().stdout, "");
}

#[test]
fn copies_where_there_is_no_overlay() {
    requires!("copies_where_there_is_no_overlay", mounts_overlays(), "no mount(8)");
    let env = Env::new();
    image::put(&env, "app", hidden_and_new(), json!({}));
    // Without any program, also without helpers for a network.
    let run = ["run", "--rm", "--network", "none", "--pull", "never", "app", "/guest", "report"];
    let first = on_an_overlay(&env, "/nowhere", &run).ok();
    assert!(first.stderr.contains("note: the kernel refuses an overlay (Invalid argument)"), "{first:?}");
    assert!(!first.stdout.lines().any(|line| line.contains(" / / ") && line.contains("fuse")), "{first:?}");
    let again = on_an_overlay(&env, "/nowhere", &run).ok();
    assert_eq!(again.stderr, "", "said once");
    works_without_the_kernel(&env, "/nowhere");
}

#[test]
fn fuse_overlayfs_where_there_is_no_overlay() {
    let there = ["/usr/bin/fuse-overlayfs", "/usr/local/bin/fuse-overlayfs"];
    let there = there.iter().any(|path| std::path::Path::new(path).exists())
        && std::fs::File::options().read(true).write(true).open("/dev/fuse").is_ok();
    requires!("fuse_overlayfs_where_there_is_no_overlay", mounts_overlays() && there, "no fuse-overlayfs");
    let env = Env::new();
    image::put(&env, "app", hidden_and_new(), json!({}));
    let path = "/usr/local/bin:/usr/bin:/bin";
    let report = on_an_overlay(&env, path, &["run", "--rm", "--pull", "never", "app", "/guest", "report"]).ok();
    assert!(
        report.stdout.lines().any(|line| line.contains(" / / ") && line.contains("fuse.fuse-overlayfs")),
        "{report:?}"
    );
    assert_eq!(report.field("processes"), "1", "fuse-overlayfs is none of the container's");
    works_without_the_kernel(&env, path);
}
