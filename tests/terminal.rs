//! Standard streams: straight through without `-t`, a real terminal with it.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

use env::Env;
use env::pty::Terminal;
use std::process::{Command, Stdio};

fn interactive(env: &Env, verb: &[&str]) -> Command {
    let mut command = env.run_command(&["-i", "-t"]);
    command.arg("/guest").args(verb);
    command
}

#[test]
fn pipes_pass_straight_through() {
    let env = Env::new();
    let bytes: Vec<u8> = (0..=255u8).cycle().take(300_000).collect();
    let mut child =
        env.run_command(&["-i"]).args(["/guest", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let sent = bytes.clone();
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut input, &sent).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.stdout == bytes, "{} bytes of {}", output.stdout.len(), bytes.len());
}

#[test]
fn without_i_standard_input_is_empty() {
    let env = Env::new();
    assert_eq!(env.guest_with_input(&[], &["cat"], b"not for the payload").ok().stdout, "");
}

#[test]
fn a_closed_standard_output_is_no_panic() {
    let env = Env::new();
    for shell in ["\"$@\" >&-", "\"$@\" >/dev/full", "\"$@\" | true"] {
        let done: env::Done = env
            .command("sh")
            .args(["-c", shell, "sh"])
            .arg(env::program("rbox"))
            .arg("--help")
            .output()
            .unwrap()
            .into();
        assert!(!done.stderr.contains("panic"), "{shell}: {done:?}");
    }
}

#[test]
fn a_terminal_of_its_own() {
    let env = Env::new();
    let mut terminal = Terminal::new();
    terminal.size(33, 101);
    let mut child = terminal.spawn(interactive(&env, &["report"]));
    assert_eq!(terminal.end_of(&mut child), Some(0));
    assert!(terminal.seen.contains("tty=111") && terminal.seen.contains(" /dev/console "), "{}", terminal.seen);
    let mut child = terminal.spawn(interactive(&env, &["winsize"]));
    terminal.wait_for("size=33x101");
    assert_eq!(terminal.end_of(&mut child), Some(0));
}

#[test]
fn resizing_reaches_the_payload() {
    let env = Env::new();
    let mut terminal = Terminal::new();
    terminal.size(24, 80);
    let mut child = terminal.spawn(interactive(&env, &["wait-winsize"]));
    terminal.wait_for("ready\r\n");
    terminal.size(40, 120);
    // This terminal controls no session, so the kernel tells nobody by itself.
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::WINCH).unwrap();
    terminal.wait_for("size=40x120");
    assert_eq!(terminal.end_of(&mut child), Some(0));
}

#[test]
fn control_keys_are_for_the_payload_and_the_mode_comes_back() {
    let env = Env::new();
    let mut terminal = Terminal::new();
    assert!(!terminal.is_raw());
    let mut command = env.run_command(&["-i", "-t", "--init"]);
    command.args(["/guest", "sleep"]);
    let mut child = terminal.spawn(command);
    terminal.wait_for("ready\r\n");
    assert!(terminal.is_raw());
    terminal.type_in(b"\x03");
    assert_eq!(terminal.end_of(&mut child), Some(128 + 2));
    assert!(!terminal.is_raw());
}

#[test]
fn the_mode_comes_back_after_an_error_and_a_signal() {
    let env = Env::new();
    let mut terminal = Terminal::new();
    let mut command = env.run_command(&["-i", "-t"]);
    command.arg("/no/such/program");
    let mut child = terminal.spawn(command);
    assert_eq!(terminal.end_of(&mut child), Some(127));
    assert!(!terminal.is_raw());
    let mut child = terminal.spawn(interactive(&env, &["sleep"]));
    terminal.wait_for("ready\r\n");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    assert_eq!(terminal.end_of(&mut child), Some(128 + 15));
    assert!(!terminal.is_raw());
}

#[test]
fn typed_lines_arrive_and_end_of_file_too() {
    let env = Env::new();
    let mut terminal = Terminal::new();
    let mut child = terminal.spawn(interactive(&env, &["ready-cat"]));
    // Not before rbox has set the terminal: it would take the end of file for its own.
    terminal.wait_for("ready\r\n");
    terminal.type_in(b"a line\n\x04");
    terminal.wait_for("a line\r\na line\r\n");
    assert_eq!(terminal.end_of(&mut child), Some(0));
}

#[test]
fn the_callers_terminal_is_out_of_reach() {
    let env = Env::new();
    let terminal = Terminal::new();
    // Without -t the payload has the caller's terminal as it is, but not as its own: it cannot push input into it.
    let mut command = env.run_command(&["-i"]);
    command.args(["/guest", "try", "tiocsti"]).stdin(Stdio::from(terminal.slave.try_clone().unwrap()));
    let output = command.stdout(Stdio::piped()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text == format!("errno={}\n", libc::EPERM) || text == format!("errno={}\n", libc::EIO), "{text}");
}
