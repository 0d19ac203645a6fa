//! Many at once on one store: nobody waits for ever, nothing comes twice, nothing goes that somebody needs.

use crate::env::{Env, LONG};
use crate::fake::Fake;
use crate::victim::Victim;
use crate::{World, file_name, image, image_of};
use rbox::storage::digest::Digest;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// Every blob of the image was asked for once.
#[track_caller]
fn each_came_once(fake: &Fake, image: &crate::Image) {
    for bytes in image.layers.iter().chain([&image.config]) {
        let digest = Digest::of(bytes).to_string();
        assert_eq!(fake.count("GET", &digest), 1, "{digest}");
    }
}

#[test]
fn twenty_pulls_and_runs_of_one_image() {
    let world = World::new();
    std::thread::scope(|scope| {
        for number in 0..20 {
            let world = &world;
            scope.spawn(move || match number % 2 {
                0 => drop(world.rbox(&["pull", "-q", &world.name]).ok()),
                _ => {
                    let done = world.rbox(&["run", "--rm", &world.name, "/guest", "echo", "here"]).ok();
                    assert_eq!(done.stdout, "here\n");
                }
            });
        }
    });
    each_came_once(&world.fake, image());
    world.is_sound();
    world.nothing_is_in_the_making();
}

#[test]
fn pulls_beside_removals() {
    let world = World::new();
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| world.rbox(&["pull", "-q", &world.name]).ok());
            scope.spawn(|| world.rbox(&["rmi", "-f", "-i", &world.name]).ok());
        }
    });
    world.images_are_whole();
    world.is_sound();
    world.rbox(&["pull", "-q", &world.name]).ok();
    world.runs();
    world.rbox(&["rmi", &world.name]).ok();
    assert_eq!(world.names("images/blobs/sha256"), [""; 0]);
    world.nothing_is_in_the_making();
}

#[test]
fn runs_beside_removals() {
    let world = World::new();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..10)
            .map(|_| {
                scope.spawn(|| {
                    let done = world.rbox(&["run", "--rm", &world.name, "/guest", "read", "/of-10/3"]).ok();
                    assert!(!done.stdout.is_empty());
                })
            })
            .collect();
        for removal in [vec!["rmi", "-f", "-i", &world.name], vec!["image", "prune", "-a", "-f"]] {
            let (world, done) = (&world, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    world.rbox(&removal).ok();
                    // Whoever lists meanwhile sees images that are whole.
                    assert_eq!(world.rbox(&["images"]).ok().stderr, "");
                }
            });
        }
        let ended: Vec<_> = runs.into_iter().map(|run| run.join()).collect();
        done.store(true, Ordering::Relaxed);
        assert!(ended.iter().all(Result::is_ok));
    });
    world.is_sound();
}

#[test]
fn a_container_keeps_what_it_runs_on() {
    let world = World::new();
    world.rbox(&["pull", "-q", &world.name]).ok();
    let mark = format!("/tmp/{}", file_name(world.env.dir()));
    let mut command = world.command(&["run", "--rm", "-i", &world.name, "/guest", "write-and-read", &mark]);
    command.stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    assert_eq!(line, "written\n");
    world.rbox(&["rmi", "-f", &world.name]).ok();
    world.rbox(&["image", "prune", "-a", "-f"]).ok();
    assert_eq!(world.layers().len(), 3, "they are in use");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    world.rbox(&["image", "prune", "-f"]).ok();
    assert_eq!(world.layers().len(), 0);
}

#[test]
fn two_commits_with_one_name() {
    let world = World::new();
    world.rbox(&["pull", "-q", &world.name]).ok();
    for name in ["first", "second"] {
        world.rbox(&["run", "--name", name, &world.name, "/guest", "write", "/tmp/by", name]).ok();
    }
    std::thread::scope(|scope| {
        for _ in 0..5 {
            for name in ["first", "second"] {
                let world = &world;
                scope.spawn(move || world.rbox(&["commit", name, "committed"]).ok());
            }
        }
    });
    let by = world.rbox(&["run", "--rm", "committed", "/guest", "read", "/tmp/by"]).ok().stdout;
    assert!(["first", "second"].contains(&by.as_str()), "{by}");
    world.is_sound();
    world.rbox(&["image", "prune", "-f"]).ok();
    assert_eq!(world.rbox(&["images", "-q"]).ok().stdout.lines().count(), 2);
    world.nothing_is_in_the_making();
}

#[test]
fn two_containers_with_one_name() {
    let world = World::new();
    world.rbox(&["pull", "-q", &world.name]).ok();
    let started = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let done = world.rbox(&["run", "--name", "one", &world.name, "/guest", "exit", "0"]);
                match done.status {
                    0 => drop(started.fetch_add(1, Ordering::Relaxed)),
                    _ => drop(done.fails(125, "already in use")),
                }
            });
        }
    });
    assert_eq!(started.load(Ordering::Relaxed), 1);
    world.rbox(&["rm", "one"]).ok();
    assert_eq!((world.names("containers"), world.names("names")), (vec![], vec![]));
}

/// Whenever the registry is asked for a blob, somebody cleans up.
#[test]
fn cleaning_up_leaves_what_a_pull_has_fetched() {
    let env = Env::new();
    let prune: Arc<OnceLock<Vec<(String, std::ffi::OsString)>>> = Arc::default();
    let said = Arc::new(AtomicUsize::new(0));
    let (given, heard) = (prune.clone(), said.clone());
    let fake = Fake::new(move |request, _| {
        if request.target.contains("/blobs/") {
            let variables = given.get().cloned().unwrap_or_default();
            let mut command = Command::new(crate::env::program("rbox"));
            let done = command.args(["image", "prune", "-f"]).envs(variables).output().expect("rbox starts");
            assert!(done.status.success(), "{done:?}");
            heard.fetch_add(usize::from(!done.stderr.is_empty()), Ordering::Relaxed);
        }
        None
    });
    let image = image_of(3, 1 << 18, 20);
    // More than are fetched at the same time.
    let more: Vec<Vec<u8>> = (0..4).map(|seed| crate::layer(40 + seed, 1 << 17, 10, 0)).collect();
    let image = crate::on_top(&image, &more);
    fake.add("app", "v1", &image);
    let name = fake.name("app:v1");
    let world = World { env, fake, name };
    let command = world.env.rbox();
    let variables = command.get_envs().filter_map(|(key, value)| Some((key.to_str()?.to_owned(), value?.to_owned())));
    prune.set(variables.collect()).expect("once");
    world.rbox(&["pull", "-q", &world.name]).ok();
    assert_eq!(said.load(Ordering::Relaxed), image.layers.len() + 1, "each was told that the store is in use");
    each_came_once(&world.fake, &image);
    world.runs();
    world.is_sound();
}

/// Whoever waits for somebody who is killed goes on with it.
#[test]
fn whoever_waits_goes_on_when_the_other_is_killed() {
    let world = World::new();
    let start = Instant::now();
    let mark = file_name(world.env.dir());
    let mut first = Victim::start(world.command(&["pull", "-q", &world.name]), mark);
    std::thread::scope(|scope| {
        let others: Vec<_> = (0..4).map(|_| scope.spawn(|| world.rbox(&["pull", "-q", &world.name]).ok())).collect();
        first.kill_while_it_works();
        for other in others {
            other.join().expect("it comes to an end");
        }
    });
    assert!(start.elapsed() < LONG);
    world.runs();
    world.is_sound();
    world.nothing_is_in_the_making();
}
