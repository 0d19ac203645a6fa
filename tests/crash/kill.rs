//! SIGKILL at a random moment: the next command works, and nothing is lost or half there.

use crate::env::{Done, set_mode};
use crate::image::noise;
use crate::victim::{self, Chance, Victim, Whom};
use crate::{World, file_name, is_long};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// One thing that is interrupted.
struct Case<'a> {
    /// Brings the world into the state before.
    prepare: &'a dyn Fn(),
    /// What is killed.
    victim: &'a dyn Fn() -> Command,
    /// What a user does next; fails if that does not work.
    next: &'a dyn Fn(),
    /// That takes away what was in the making.
    sweeps: bool,
    /// What is interrupted is to mend something: until then it is damaged.
    mends: bool,
}

fn repetitions() -> u64 {
    if is_long() { 100 } else { 3 }
}

/// Kills it, again and again.
#[track_caller]
fn killed(world: &World, case: &Case<'_>) {
    let mark = file_name(world.env.dir());
    let mut chance = Chance::new();
    // The first time caches are cold.
    let usual = (0..if is_long() { 5 } else { 1 }).map(|_| {
        (case.prepare)();
        let start = Instant::now();
        let done: Done = (case.victim)().output().expect("rbox starts").into();
        let took = start.elapsed();
        done.ok();
        (case.next)();
        took
    });
    let usual = usual.last().unwrap_or_default();
    for number in 0..repetitions() {
        (case.prepare)();
        let whom = Whom::by(&mut chance);
        let after = Duration::from_micros(chance.below(usual.as_micros() as u64 * 11 / 10));
        let said = format!("number {number}: {whom:?} killed after {after:?} of {usual:?}");
        eprintln!("{said}");
        let mut victim = Victim::start((case.victim)(), mark);
        let group = victim.group();
        victim.kill(whom, after);
        let done = victim.end();
        if whom == Whom::Worker && done.status != 0 {
            // `system check` goes on, and says at its end that something is left.
            let is_told = done.status == 125 || (case.mends && done.status == 1);
            assert!(done.stderr.starts_with("rbox: ") && is_told, "{said}: {done:?}");
        }
        if !case.mends {
            world.images_are_whole();
        }
        // The next command may come while the kernel is still about it.
        let at_once = chance.below(2) == 0;
        if !at_once {
            victim::is_gone(mark, group);
        }
        if !case.mends && chance.below(3) == 0 {
            world.is_sound();
        }
        (case.next)();
        // Who is not quite gone holds his own still.
        if case.sweeps && !at_once {
            world.nothing_is_in_the_making();
        }
        victim::is_gone(mark, group);
        world.is_sound();
        world.images_are_whole();
        world.nothing_is_in_the_making();
    }
}

#[test]
fn pull() {
    let world = World::new();
    let name = world.name.as_str();
    killed(
        &world,
        &Case {
            prepare: &|| drop(world.rbox(&["rmi", "-f", "-i", name]).ok()),
            victim: &|| world.command(&["pull", "-q", name]),
            next: &|| {
                world.rbox(&["pull", "-q", name]).ok();
                world.runs();
            },
            sweeps: true,
            mends: false,
        },
    );
}

#[test]
fn load() {
    let world = World::new();
    let (name, file) = (world.name.as_str(), world.archive());
    killed(
        &world,
        &Case {
            prepare: &|| drop(world.rbox(&["rmi", "-f", "-i", name]).ok()),
            victim: &|| world.command(&["load", "-q", "-i", &file]),
            next: &|| {
                world.rbox(&["load", "-q", "-i", &file]).ok();
                world.runs();
            },
            sweeps: true,
            mends: false,
        },
    );
}

#[test]
fn import() {
    let world = World::new();
    let tree = world.env.path("tree.tar");
    std::fs::write(&tree, tree_of(2)).unwrap();
    let tree = tree.display().to_string();
    let runs = || world.rbox(&["run", "--rm", "--pull", "never", "imported", "/guest", "exit", "0"]);
    killed(
        &world,
        &Case {
            prepare: &|| drop(world.rbox(&["rmi", "-f", "-a"]).ok()),
            victim: &|| world.command(&["import", &tree, "imported"]),
            next: &|| {
                world.rbox(&["import", &tree, "imported"]).ok();
                runs().ok();
            },
            sweeps: true,
            mends: false,
        },
    );
}

/// An archive of the guest and many files.
fn tree_of(seed: u64) -> Vec<u8> {
    let mut archive = crate::env::image::base().file("large", 0o644, 0, &noise(1 << 20, seed));
    for number in 0..CHANGED {
        archive = archive.file(&format!("tmp/{number}"), 0o644, 0, &noise(3000, seed + number));
    }
    archive.bytes()
}

#[test]
fn rmi() {
    let world = World::new();
    let name = world.name.as_str();
    killed(
        &world,
        &Case {
            prepare: &|| drop(world.rbox(&["pull", "-q", name]).ok()),
            victim: &|| world.command(&["rmi", name]),
            next: &|| {
                // It is gone or it is whole.
                if world.rbox(&["image", "exists", name]).status == 0 {
                    world.runs();
                    world.rbox(&["rmi", name]).ok();
                }
                world.rbox(&["image", "prune", "-f"]).ok();
                assert_eq!(world.names("images/blobs/sha256"), [""; 0]);
                assert_eq!(world.layers(), [""; 0].map(std::path::PathBuf::from));
                world.rbox(&["pull", "-q", name]).ok();
                world.runs();
            },
            sweeps: false,
            mends: false,
        },
    );
}

#[test]
fn image_prune() {
    let world = World::new();
    let name = world.name.as_str();
    killed(
        &world,
        &Case {
            prepare: &|| {
                world.rbox(&["pull", "-q", name]).ok();
                world.rbox(&["untag", name]).ok();
            },
            victim: &|| world.command(&["image", "prune", "-f"]),
            next: &|| {
                world.rbox(&["image", "prune", "-f"]).ok();
                assert_eq!(world.names("images/blobs/sha256"), [""; 0]);
                assert_eq!(world.layers(), [""; 0].map(std::path::PathBuf::from));
                world.rbox(&["pull", "-q", name]).ok();
                world.runs();
            },
            sweeps: false,
            mends: false,
        },
    );
}

/// Makes a container that is kept and has changed a few hundred files.
fn kept(world: &World, name: &str) {
    world.rbox(&["run", "--name", name, &world.name, "/guest", "write", "/tmp/written", "by the guest"]).ok();
    let id = std::fs::read_link(world.store("names").join(name)).expect("a name");
    // As if the container had written them, which takes longer.
    let dir = world.store("containers").join(id).join("0/upper/changed");
    std::fs::create_dir(&dir).expect("an upper directory");
    for number in 0..CHANGED {
        std::fs::write(dir.join(number.to_string()), noise(3000, number)).expect("written");
    }
}

const CHANGED: u64 = 300;

#[test]
fn commit() {
    let world = World::new();
    world.rbox(&["pull", "-q", &world.name]).ok();
    kept(&world, "kept");
    killed(
        &world,
        &Case {
            prepare: &|| drop(world.rbox(&["rmi", "-f", "-i", "committed"]).ok()),
            victim: &|| world.command(&["commit", "kept", "committed"]),
            next: &|| {
                if world.rbox(&["image", "exists", "committed"]).status == 0 {
                    world.rbox(&["run", "--rm", "committed", "/guest", "stat", "/changed/7"]).ok();
                }
                world.rbox(&["commit", "kept", "committed"]).ok();
                let done = world.rbox(&["run", "--rm", "committed", "/guest", "stat", "/changed/7"]).ok();
                assert_eq!(done.field("size"), "3000");
            },
            sweeps: true,
            mends: false,
        },
    );
}

#[test]
fn rm() {
    let world = World::new();
    world.rbox(&["pull", "-q", &world.name]).ok();
    killed(
        &world,
        &Case {
            prepare: &|| kept(&world, "kept"),
            victim: &|| world.command(&["rm", "kept"]),
            next: &|| {
                // Whole or not there at all.
                let diff = world.rbox(&["diff", "kept"]);
                if diff.status == 0 {
                    let changed = diff.stdout.lines().filter(|line| line.starts_with("A /changed/")).count();
                    assert_eq!(changed as u64, CHANGED);
                    world.rbox(&["rm", "kept"]).ok();
                } else {
                    diff.fails(125, "no such container: kept");
                }
                world.rbox(&["run", "--name", "kept", &world.name, "/guest", "exit", "0"]).ok();
                world.rbox(&["rm", "kept"]).ok();
                world.rbox(&["pull", "-q", &world.name]).ok();
                assert_eq!((world.names("containers"), world.names("names")), (vec![], vec![]));
            },
            sweeps: false,
            mends: false,
        },
    );
}

/// A container whose payload has a mark in its arguments, and waits for an end that does not come.
fn waiting(world: &World, options: &[&str]) -> Command {
    let mark = format!("/tmp/{}", file_name(world.env.dir()));
    let mut command = world.command(&["run", "-i"]);
    command.args(options).args([&world.name, "/guest", "write-and-read", &mark]);
    command
}

/// Kills containers: how long it takes until they run is measured with one that ends at once.
fn killed_run(world: &World, options: &[&str], next: &dyn Fn()) {
    let mark = file_name(world.env.dir());
    let mut chance = Chance::new();
    let usual = (0..2).map(|_| {
        let start = Instant::now();
        let done: Done = waiting(world, options).stdin(Stdio::null()).output().expect("rbox starts").into();
        let took = start.elapsed();
        done.ok();
        next();
        took
    });
    let usual = usual.last().unwrap_or_default();
    for number in 0..repetitions() {
        let whom = if chance.below(3) == 0 { Whom::All } else { Whom::Rbox };
        let after = Duration::from_micros(chance.below(usual.as_micros() as u64 * 11 / 10));
        eprintln!("number {number}: {whom:?} killed after {after:?} of {usual:?}");
        let mut command = waiting(world, options);
        let mut victim = Victim::start(
            {
                command.stdin(Stdio::piped());
                command
            },
            mark,
        );
        let group = victim.group();
        victim.kill(whom, after);
        victim.end();
        if chance.below(2) == 0 {
            victim::is_gone(mark, group);
        }
        next();
        victim::is_gone(mark, group);
    }
    world.is_sound();
    world.nothing_is_in_the_making();
}

#[test]
fn run() {
    let world = World::new();
    world.rbox(&["pull", "-q", &world.name]).ok();
    killed_run(&world, &["--rm", "--name", "once", "-v", "data:/data", "-v", "/anonymous"], &|| {
        // Its name is free, as soon as the kernel has ended who was killed, and nothing of it is left.
        let start = Instant::now();
        loop {
            let done = world.rbox(&["run", "--rm", "--name", "once", &world.name, "/guest", "exit", "0"]);
            if done.status == 0 {
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(1), "{done:?}");
            done.fails(125, "already in use");
        }
        // What is left for the next one is blank.
        let mut left = world.names("scratch");
        left.retain(|id| {
            std::fs::read(world.store("scratch").join(id).join("container.json"))
                .ok()
                .is_none_or(|text| text.first() != Some(&b' '))
        });
        assert_eq!(left, [""; 0]);
        for dir in ["containers", "locks", "names"] {
            assert_eq!(std::fs::read_dir(world.env.path("run/rbox").join(dir)).unwrap().count(), 0, "{dir}");
        }
        let volumes = world.rbox(&["volume", "ls", "-q"]).ok().stdout;
        assert!(volumes.is_empty() || volumes == "data\n", "{volumes}");
    });
}

#[test]
fn run_without_rm() {
    let world = World::new();
    world.rbox(&["pull", "-q", &world.name]).ok();
    killed_run(&world, &["--name", "kept"], &|| {
        let done = world.rbox(&["diff", "kept"]);
        if done.status == 0 {
            world.rbox(&["run", "--name", "kept", &world.name, "/guest", "exit", "0"]).fails(125, "already in use");
            world.rbox(&["rm", "kept"]).ok();
        } else {
            done.fails(125, "no such container: kept");
        }
        world.rbox(&["run", "--name", "kept", &world.name, "/guest", "exit", "0"]).ok();
        world.rbox(&["rm", "kept"]).ok();
        assert_eq!((world.names("containers"), world.names("names")), (vec![], vec![]));
        world.rbox(&["pull", "-q", &world.name]).ok();
    });
}

#[test]
fn push() {
    let world = World::new();
    world.rbox(&["pull", "-q", &world.name]).ok();
    let target = world.fake.name("copy:v1");
    killed(
        &world,
        &Case {
            prepare: &|| {
                let mut state = world.fake.state();
                state.held.retain(|(repository, _)| repository != "copy");
                state.manifests.retain(|(repository, _), _| repository != "copy");
            },
            victim: &|| world.command(&["push", "-q", &world.name, &target]),
            next: &|| {
                world.rbox(&["push", "-q", &world.name, &target]).ok();
                let key = |repository: &str| (repository.to_owned(), "v1".to_owned());
                let state = world.fake.state();
                assert_eq!(state.manifests[&key("copy")].1, state.manifests[&key("app")].1);
            },
            sweeps: false,
            mends: false,
        },
    );
}

#[test]
fn save() {
    let world = World::new();
    world.rbox(&["pull", "-q", &world.name]).ok();
    let (dir, other) = (world.env.path("saved"), World::new());
    std::fs::create_dir(&dir).unwrap();
    let path = dir.join("app.tar");
    let file = path.display().to_string();
    killed(
        &world,
        &Case {
            prepare: &|| {
                // What is there already stays until all is written.
                std::fs::write(&path, "older").unwrap();
            },
            victim: &|| world.command(&["save", "-o", &file, &world.name]),
            next: &|| {
                let names = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name());
                let other_names: Vec<_> = names.filter(|name| name != "app.tar").collect();
                // For the moment between two names it has one of its own beside the older file, which no kernel replaces
                // in one step.
                if let [left] = other_names.as_slice() {
                    assert!(left.to_string_lossy().starts_with(".app.tar."), "{left:?}");
                    let left = dir.join(left);
                    other.rbox(&["load", "-q", "-i", left.to_str().unwrap()]).ok();
                    other.rbox(&["rmi", "-a"]).ok();
                    std::fs::remove_file(left).unwrap();
                } else {
                    assert_eq!(other_names, [""; 0]);
                }
                if std::fs::read(&path).unwrap() != b"older" {
                    other.rbox(&["load", "-q", "-i", &file]).ok();
                    other.rbox(&["rmi", "-a"]).ok();
                }
                world.rbox(&["save", "-o", &file, &world.name]).ok();
            },
            sweeps: false,
            mends: false,
        },
    );
}

#[test]
fn volumes() {
    let world = World::new();
    let made = |name: &str| world.store("volumes").join(name).join("_data").is_dir();
    let none_is_half_there = || {
        let listed = world.rbox(&["volume", "ls", "-q"]).ok().stdout;
        for name in listed.lines() {
            assert!(made(name), "{name}");
            world.rbox(&["volume", "inspect", name]).ok();
        }
        // The list sweeps.
        assert_eq!(world.names("volumes"), listed.lines().map(str::to_owned).collect::<Vec<_>>());
    };
    killed(
        &world,
        &Case {
            prepare: &|| drop(world.rbox(&["volume", "rm", "-f", "v"]).ok()),
            victim: &|| world.command(&["volume", "create", "--label", "a=b", "v"]),
            next: &|| {
                none_is_half_there();
                world.rbox(&["volume", "create", "--label", "a=b", "v"]).ok();
                assert!(made("v"));
            },
            sweeps: false,
            mends: false,
        },
    );
    killed(
        &world,
        &Case {
            prepare: &|| {
                world.rbox(&["volume", "create", "v"]).ok();
                let data = world.store("volumes/v/_data");
                for number in 0..CHANGED {
                    std::fs::write(data.join(number.to_string()), "x").unwrap();
                }
            },
            victim: &|| world.command(&["volume", "rm", "v"]),
            next: &|| {
                none_is_half_there();
                if made("v") {
                    assert_eq!(std::fs::read_dir(world.store("volumes/v/_data")).unwrap().count() as u64, CHANGED);
                    world.rbox(&["volume", "rm", "v"]).ok();
                }
                world.rbox(&["volume", "inspect", "v"]).fails(125, "no such volume");
            },
            sweeps: false,
            mends: false,
        },
    );
}

#[test]
fn repair() {
    let world = World::new();
    world.rbox(&["pull", "-q", &world.name]).ok();
    killed(
        &world,
        &Case {
            prepare: &|| {
                let layer = world.layer_with("of-10/5");
                std::fs::remove_file(layer.join("diff/of-10/5")).unwrap();
                let blob = world
                    .names("images/blobs/sha256")
                    .into_iter()
                    .map(|name| world.store("images/blobs/sha256").join(name));
                let blob = blob.max_by_key(|path| std::fs::metadata(path).unwrap().len()).expect("a blob");
                set_mode(&blob, 0o644);
                let mut bytes = std::fs::read(&blob).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                std::fs::write(&blob, bytes).unwrap();
            },
            victim: &|| world.command(&["system", "check", "--repair"]),
            next: &|| {
                world.rbox(&["system", "check", "--repair"]).ok();
                world.rbox(&["pull", "-q", &world.name]).ok();
                world.runs();
            },
            sweeps: false,
            mends: true,
        },
    );
}
