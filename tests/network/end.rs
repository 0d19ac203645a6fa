//! What a container has said when it ends is heard.

use crate::env;
use crate::env::bed::{CLIENT, RBOX, SERVER};
use crate::{in_each_mode, in_each_mode_apart, requires};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// More than fits into the buffers of one socket, and less than into those of two.
const BYTES: &str = "2000000";

#[test]
fn all_that_was_sent_arrives() {
    requires!("all_that_was_sent_arrives", bed);
    in_each_mode(|env, mode| {
        for (host, port) in [(SERVER, "8201"), (CLIENT, "8202")] {
            let mut taken = host.start(&["take-from-client", port]);
            assert_eq!(taken.line(), "ready\n");
            env.guest(mode, &["pour", &format!("{}:{port}", host.v4()), BYTES]).ok();
            assert_eq!(taken.line(), format!("bytes={BYTES}\n"), "{mode:?}");
        }
    });
}

#[test]
fn all_that_was_served_arrives() {
    requires!("all_that_was_served_arrives", bed);
    in_each_mode_apart(|env, mode| {
        for to in RBOX.addresses() {
            let mut command = env.run_command(&[mode, &["-p", "8203:80"]].concat());
            command.args(["/guest", "pour-to-client", "80", BYTES]).stdout(Stdio::piped());
            let mut container = command.spawn().unwrap();
            let mut ready = String::new();
            BufReader::new(container.stdout.take().unwrap()).read_line(&mut ready).unwrap();
            assert_eq!(ready, "ready\n");
            let taken = CLIENT.guest(&["take", &std::net::SocketAddr::new(to, 8203).to_string()]);
            assert_eq!(taken, format!("bytes={BYTES}\n"), "{mode:?} {to}");
            assert!(container.wait().unwrap().success());
        }
    });
}
