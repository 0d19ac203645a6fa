//! Standard streams: straight through without `-t`, a real terminal with it.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

use env::{Env, LONG};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::OpenptFlags;
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// A terminal as a user's shell has it.
struct Terminal {
    master: OwnedFd,
    slave: OwnedFd,
    seen: String,
}

impl Terminal {
    fn new() -> Terminal {
        let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
        let slave = rustix::fs::open(name.as_c_str(), flags, rustix::fs::Mode::empty()).unwrap();
        Terminal { master, slave, seen: String::new() }
    }

    fn size(&self, rows: u16, columns: u16) {
        tcsetwinsize(&self.master, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    }

    fn spawn(&self, mut command: Command) -> Child {
        let end = || Stdio::from(self.slave.try_clone().unwrap());
        command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("rbox starts")
    }

    fn type_in(&self, bytes: &[u8]) {
        assert_eq!(rustix::io::write(&self.master, bytes).unwrap(), bytes.len());
    }

    /// Reads until `text` is there.
    #[track_caller]
    fn wait_for(&mut self, text: &str) {
        let start = Instant::now();
        while !self.seen.contains(text) {
            assert!(start.elapsed() < LONG, "no {text:?} in {:?}", self.seen);
            self.read(500);
        }
    }

    /// Reads on until the child has ended: its status.
    #[track_caller]
    fn end_of(&mut self, child: &mut Child) -> Option<i32> {
        let start = Instant::now();
        loop {
            assert!(start.elapsed() < LONG, "no end; {:?}", self.seen);
            self.read(20);
            if let Some(status) = child.try_wait().unwrap() {
                while self.read(0) {}
                return status.code();
            }
        }
    }

    /// Reads what is there, after waiting so many milliseconds for it; false if there was nothing.
    fn read(&mut self, milliseconds: i64) -> bool {
        let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
        let limit = Timespec { tv_sec: 0, tv_nsec: milliseconds * 1_000_000 };
        if poll(&mut fds, Some(&limit)).unwrap() == 0 {
            return false;
        }
        let mut buffer = [0; 4096];
        let length = rustix::io::read(&self.master, &mut buffer).unwrap_or(0);
        self.seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
        length > 0
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.slave).unwrap().local_modes.contains(LocalModes::ICANON)
    }
}

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
