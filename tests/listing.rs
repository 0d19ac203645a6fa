//! What is shown of containers: `ps`, `inspect`, and `container prune`.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

use env::verbs::{background, made, rbox};
use env::{Done, Env};
use std::path::PathBuf;

/// A file of a container that is kept.
fn of_container(env: &Env, id: &str, file: &str) -> PathBuf {
    env.path("data/rbox/containers").join(id).join(file)
}

/// Names and states of all.
fn all(env: &Env) -> Done {
    rbox(env, &["ps", "-a", "--format", "{{.Names}} {{.State}}"])
}

#[test]
fn damaged_files_hide_nothing() {
    let env = Env::new();
    let ended = background(&env, &["--name", "ended"], &["exit", "3"]);
    rbox(&env, &["wait", "ended"]).ok();
    let runs = background(&env, &["--name", "runs", "--expose", "80", "-i"], &["cat"]);
    made(&env, "create", &["--name", "made"], &["cat"]).ok();
    let whole = "made created\nruns running\nended exited\n";
    assert_eq!(all(&env).ok().stdout, whole);
    let session = env.path("run/rbox/containers").join(&runs);
    for (file, name) in [
        (of_container(&env, &ended, "exit.json"), "ended"),
        (session.join("ports.json"), "runs"),
        (session.join("process.json"), "runs"),
    ] {
        let before = std::fs::read(&file).ok();
        std::fs::write(&file, "{").unwrap();
        let done = all(&env).fails(125, &format!("container {name}: {}: ", file.display()));
        assert_eq!(done.stdout, whole);
        let done = rbox(&env, &["inspect", "-f", "{{.Name}}", name]).fails(125, &file.display().to_string());
        assert_eq!(done.stdout, format!("/{name}\n"));
        match before {
            Some(before) => std::fs::write(&file, before).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
    }
    let about = of_container(&env, &ended, "container.json");
    for text in ["", "{\"id\":"] {
        std::fs::write(&about, text).unwrap();
        let done = all(&env).fails(125, &format!("container {}: {}: ", &ended[..12], about.display()));
        assert_eq!(done.stdout, "made created\nruns running\n");
        for name in ["ended", &ended[..20]] {
            rbox(&env, &["inspect", "--type=container", name])
                .fails(125, &about.display().to_string())
                .advises("rbox rm -f");
        }
    }
    rbox(&env, &["rm", "-f", &ended]).ok();
    rbox(&env, &["rm", "-f", "runs", "made"]).ok();
    assert_eq!(all(&env).ok().stdout, "");
}
