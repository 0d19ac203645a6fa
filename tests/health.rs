//! Health checks, and what becomes of a container that does not pass them.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

use env::{Done, Env, eventually};
use serde_json::Value;

const WAITING: &[&str] = &["cat"];

/// A container that waits, with the guest as its check.
fn run(env: &Env, check: &[&str], options: &[&str]) {
    let words: Vec<String> = check.iter().map(|word| format!("{word:?}")).collect();
    let command = format!("[\"/guest\", {}]", words.join(", "));
    let mut run = env.rbox();
    run.args(["run", "-d", "-i", "--network=none", "--name=a", "--health-interval=20ms", "--health-cmd"]).arg(command);
    run.args(options).arg("--rootfs").arg(env.rootfs()).arg("/guest").args(WAITING);
    Done::from(run.output().unwrap()).ok();
}

fn rbox(env: &Env, words: &[&str]) -> Done {
    env.rbox().args(words).output().unwrap().into()
}

fn state(env: &Env) -> Value {
    let all: Value = serde_json::from_str(&rbox(env, &["inspect", "a"]).ok().stdout).unwrap();
    all[0]["State"].clone()
}

fn health(env: &Env) -> String {
    state(env)["Health"]["Status"].as_str().unwrap_or_default().to_owned()
}

fn end(env: &Env) {
    rbox(env, &["rm", "-f", "a"]).ok();
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn healthy_and_unhealthy() {
    let env = Env::new();
    // The check looks for a file, which comes and goes.
    run(&env, &["exists", "/tmp/well"], &["--health-retries=2"]);
    eventually("it is not", || health(&env) == "unhealthy");
    assert!(rbox(&env, &["ps"]).ok().stdout.contains("(unhealthy)"));
    std::fs::write(env.rootfs().join("tmp/well"), "").unwrap();
    eventually("it is", || health(&env) == "healthy");
    let about = state(&env)["Health"].clone();
    assert_eq!(about["FailingStreak"], 0);
    let log = about["Log"].as_array().unwrap();
    assert!((1..=5).contains(&log.len()) && log.last().unwrap()["ExitCode"] == 0, "{about}");
    assert!(rbox(&env, &["ps"]).ok().stdout.contains("(healthy)"));
    rbox(&env, &["healthcheck", "run", "a"]).ok();
    std::fs::remove_file(env.rootfs().join("tmp/well")).unwrap();
    eventually("it is not any more", || health(&env) == "unhealthy");
    assert_eq!(rbox(&env, &["healthcheck", "run", "a"]).status, 1);
    end(&env);
}

#[test]
fn what_it_says_and_how_long_it_may_take() {
    let env = Env::new();
    run(&env, &["say", "out:one", "err:two"], &[]);
    eventually("a check", || state(&env)["Health"]["Log"][0]["Output"] == "one\ntwo\n");
    end(&env);
    run(&env, &["sleep"], &["--health-timeout=30ms", "--health-retries=1"]);
    eventually("it is not", || health(&env) == "unhealthy");
    let last = state(&env)["Health"]["Log"][0].clone();
    assert_eq!(
        (last["ExitCode"].as_i64(), last["Output"].as_str()),
        (Some(-1), Some("Health check exceeded timeout (0.03s)"))
    );
    end(&env);
    run(&env, &["no-such-verb"], &["--health-retries=1"]);
    eventually("it is not", || health(&env) == "unhealthy");
    end(&env);
}

#[test]
fn while_it_starts_failures_do_not_count() {
    let env = Env::new();
    run(
        &env,
        &["exists", "/tmp/well"],
        &["--health-retries=1", "--health-start-period=1h", "--health-start-interval=10ms"],
    );
    eventually("some checks", || state(&env)["Health"]["Log"].as_array().is_some_and(|log| log.len() == 5));
    assert_eq!((health(&env).as_str(), state(&env)["Health"]["FailingStreak"].as_u64()), ("starting", Some(0)));
    std::fs::write(env.rootfs().join("tmp/well"), "").unwrap();
    eventually("it is", || health(&env) == "healthy");
    std::fs::remove_file(env.rootfs().join("tmp/well")).unwrap();
    eventually("it is not, and has started", || health(&env) == "unhealthy");
    end(&env);
}

#[test]
fn what_happens_then() {
    let env = Env::new();
    for (action, status) in [("kill", "137\n"), ("stop", "143\n")] {
        run(&env, &["exit", "1"], &["--health-retries=1", "--health-on-failure", action, "--restart=no"]);
        assert_eq!(rbox(&env, &["wait", "a"]).ok().stdout, status, "{action}");
        end(&env);
    }
    run(&env, &["exit", "1"], &["--health-retries=1", "--health-on-failure=restart"]);
    let count = || {
        let all: Value = serde_json::from_str(&rbox(&env, &["inspect", "a"]).ok().stdout).unwrap();
        all[0]["RestartCount"].as_u64().unwrap()
    };
    eventually("it is started again", || count() > 1);
    rbox(&env, &["stop", "a"]).ok();
    assert_eq!(state(&env)["Status"], "exited");
    end(&env);
}

#[test]
fn what_cannot_be_meant() {
    let env = Env::new();
    let refused = |options: &[&str], text: &str| {
        let mut run = env.rbox();
        run.args(["run", "-d", "--network=none"])
            .args(options)
            .arg("--rootfs")
            .arg(env.rootfs())
            .args(["/guest", "exit", "0"]);
        Done::from(run.output().unwrap()).fails(125, text);
    };
    refused(&["--health-cmd=x", "--no-healthcheck"], "conflicting options: --no-healthcheck and --health-*");
    refused(&["--health-interval=1us"], "--health-interval 1us");
    refused(&["--health-retries=0"], "--health-retries 0");
    refused(&["--health-on-failure=panic"], "--health-on-failure panic");
    refused(&["--rm", "--health-on-failure=restart"], "conflicting options");
    assert_eq!(env.leftovers(), Vec::<String>::new());
}
