//! Verbs on containers in the background, as the tests of them call them.

use super::{Done, Env};
use serde_json::Value;

/// Runs rbox.
pub fn rbox(env: &Env, words: &[&str]) -> Done {
    env.rbox().args(words).output().unwrap().into()
}

/// `run` or `create` of the guest in a container without a network.
pub fn made(env: &Env, verb: &str, options: &[&str], command: &[&str]) -> Done {
    let mut words = env.rbox();
    words.arg(verb).args(["--network", "none"]).args(options).arg("--rootfs").arg(env.rootfs());
    words.arg("/guest").args(command).output().unwrap().into()
}

/// Runs the guest in the background; the container's id.
#[track_caller]
pub fn background(env: &Env, options: &[&str], command: &[&str]) -> String {
    let done = made(env, "run", &[&["-d"], options].concat(), command).ok();
    assert_eq!(done.stderr, "");
    done.stdout.trim_end().to_owned()
}

/// What `inspect` says of a container.
#[track_caller]
pub fn inspected(env: &Env, name: &str) -> Value {
    let all: Value = serde_json::from_str(&rbox(env, &["inspect", name]).ok().stdout).unwrap();
    all[0].clone()
}

/// What `inspect` prints with a template.
#[track_caller]
pub fn formatted(env: &Env, name: &str, template: &str) -> String {
    rbox(env, &["inspect", "-f", template, name]).ok().stdout.trim_end().to_owned()
}
