//! What the tests share: a private home, a root filesystem with the guest, and the commands that run in them.

#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

pub mod bed;
pub mod image;
pub mod pty;
pub mod shared;
pub mod verbs;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A container is made, runs and ends in milliseconds; whoever needs this long hangs.
pub const LONG: Duration = Duration::from_secs(60);

/// A private world for one test, removed at its end.
pub struct Env {
    dir: tempfile::TempDir,
}

/// A program's end: what a test looks at.
#[derive(Debug)]
pub struct Done {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Done {
    /// `key=value` lines of the guest.
    pub fn fields(&self) -> HashMap<String, String> {
        self.stdout.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    /// One of them.
    pub fn field(&self, key: &str) -> String {
        self.fields().remove(key).unwrap_or_else(|| panic!("no {key} in {self:?}"))
    }

    /// Asserts success and gives the output back.
    #[track_caller]
    pub fn ok(self) -> Done {
        assert_eq!(self.status, 0, "{self:?}");
        self
    }

    /// Asserts a status and one line of error that contains `text`, and hints only after it.
    #[track_caller]
    pub fn fails(self, status: i32, text: &str) -> Done {
        assert_eq!(self.status, status, "{self:?}");
        let mut lines = self.stderr.lines();
        let first = lines.next().unwrap_or_default();
        assert!(first.starts_with("rbox: ") && first.contains(text), "{self:?}");
        assert!(lines.all(|line| line.starts_with("hint: ") || line.starts_with("      ")), "{self:?}");
        self
    }

    /// Asserts that a hint has `text`.
    #[track_caller]
    pub fn advises(self, text: &str) -> Done {
        assert!(self.stderr.lines().skip(1).any(|line| line.contains(text)), "{self:?}");
        self
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Done {
        Done {
            status: output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0)),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// The built programs: beside one another in RBOX_BIN_DIR, else where cargo put them.
pub fn program(name: &str) -> PathBuf {
    if let Some(dir) = std::env::var_os("RBOX_BIN_DIR") {
        return Path::new(&dir).join(name);
    }
    PathBuf::from(match name {
        "rbox" => env!("CARGO_BIN_EXE_rbox"),
        "rbox-runtime" => env!("CARGO_BIN_EXE_rbox-runtime"),
        "rbox-guest" => env!("CARGO_BIN_EXE_rbox-guest"),
        other => panic!("no program {other}"),
    })
}

impl Default for Env {
    fn default() -> Env {
        Env::new()
    }
}

impl Env {
    pub fn new() -> Env {
        let dir = tempfile::Builder::new().prefix("rbox-test-").tempdir().expect("a temporary directory");
        let env = Env { dir };
        for name in ["home", "run", "data", "rootfs/etc", "rootfs/tmp"] {
            std::fs::create_dir_all(env.path(name)).unwrap();
        }
        set_mode(&env.path("run"), 0o700);
        // As in a session where the user was told already that there is one id only.
        std::fs::create_dir(env.path("run/rbox")).unwrap();
        set_mode(&env.path("run/rbox"), 0o700);
        std::fs::write(env.path(SAID), "").unwrap();
        set_mode(&env.path("rootfs/tmp"), 0o777);
        std::fs::copy(program("rbox-guest"), env.path("rootfs/guest")).expect("the guest");
        std::fs::write(
            env.path("rootfs/etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000:Ada:/home/ada:/bin/sh\nfar:x:4000000:4000000::/:/\n",
        )
        .unwrap();
        std::fs::write(env.path("rootfs/etc/group"), "root:x:0:\nada:x:1000:\nwheel:x:10:ada\n").unwrap();
        env
    }

    /// A path in the private world.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The private world itself.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn rootfs(&self) -> PathBuf {
        self.path("rootfs")
    }

    /// A program with the private directories in its environment.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env("HOME", self.path("home"))
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .env("XDG_DATA_HOME", self.path("data"))
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        command
    }

    pub fn rbox(&self) -> Command {
        self.command(program("rbox"))
    }

    /// `rbox run --rm OPTIONS --rootfs ROOTFS`, to which the command is still to be added.
    pub fn run_command(&self, options: &[&str]) -> Command {
        let mut command = self.rbox();
        command.args(["run", "--rm"]).args(options).arg("--rootfs").arg(self.rootfs());
        command
    }

    /// Runs the guest in a container.
    pub fn guest(&self, options: &[&str], verb: &[&str]) -> Done {
        self.run_command(options).arg("/guest").args(verb).output().expect("rbox starts").into()
    }

    /// Runs the guest in a container with these bytes as its standard input.
    pub fn guest_with_input(&self, options: &[&str], verb: &[&str], input: &[u8]) -> Done {
        let mut child = self
            .run_command(options)
            .arg("/guest")
            .args(verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("rbox starts");
        // A payload that ends without reading closes the pipe.
        let _ = child.stdin.take().expect("a pipe").write_all(input);
        child.wait_with_output().expect("rbox ends").into()
    }

    /// True for a directory that the next container takes, with nothing in it but two empty ones.
    fn is_free(&self, path: &Path) -> bool {
        let Ok(below) = path.strip_prefix("data/rbox/scratch") else { return false };
        let Some(id) = below.components().next() else { return true };
        let dir = self.path("data/rbox/scratch").join(id);
        let is_blank = std::fs::read(dir.join("container.json"))
            .is_ok_and(|text| !text.is_empty() && text.iter().all(|byte| *byte == b' '));
        let inner: PathBuf = below.components().skip(1).collect();
        is_blank
            && ["", "container.json", "0", "0/upper", "0/work", "0/work/work"]
                .iter()
                .any(|known| inner == Path::new(known))
    }

    /// Everything that rbox keeps in its directories, as relative paths.
    pub fn leftovers(&self) -> Vec<String> {
        let mut found = Vec::new();
        for top in ["run", "data"] {
            walk(&self.path(top), &mut found);
        }
        found.retain(|path| {
            let name = path.strip_prefix(self.dir.path()).expect("below");
            // The directories themselves stay.
            !matches!(name.components().count(), 1 | 2) && !is_fixed(name) && !self.is_free(name)
        });
        found.into_iter().map(|path| path.display().to_string()).collect()
    }
}

/// A test that failed may have left an rbox running; its container goes with it.
impl Drop for Env {
    fn drop(&mut self) {
        let own = self.dir.path().as_os_str().as_encoded_bytes();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid =
                entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(rustix::process::Pid::from_raw);
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if let Some(pid) = pid.filter(|_| line.windows(own.len()).any(|part| part == own)) {
                // It may have ended meanwhile.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

/// The mark that the user knows of having one id.
pub const SAID: &str = "run/rbox/said-one-id";

fn is_fixed(path: &Path) -> bool {
    ["data/rbox/skeleton-1", "data/rbox/networks"].iter().any(|fixed| path.starts_with(fixed))
        || ["locks", "names", "containers", "run/rbox/networks", "said-one-id", "events.log", "around.json"]
            .iter()
            .any(|name| path.ends_with(name))
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        found.push(entry.path());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), found);
        }
    }
}

pub fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

pub fn uid() -> u32 {
    unsafe_free_id("Uid:")
}

pub fn gid() -> u32 {
    unsafe_free_id("Gid:")
}

fn unsafe_free_id(key: &str) -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Waits until `condition` holds; there is no event for what other processes' /proc entries do.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LONG, "not within {LONG:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// True if the caller has a subordinate range that works: then rbox maps it.
pub fn has_range() -> bool {
    static ANSWER: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *ANSWER.get_or_init(|| {
        Command::new(program("rbox"))
            .args(["unshare", "--id-mode", "range", "true"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    })
}

/// The first subordinate id of the caller in a file.
pub fn first_subid(file: &str) -> u32 {
    let own = uid();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    let name = passwd.lines().find(|line| line.split(':').nth(2) == Some(&own.to_string())).unwrap();
    let name = name.split(':').next().unwrap();
    let text = std::fs::read_to_string(file).unwrap();
    let line = text.lines().find(|line| line.split(':').next() == Some(name)).unwrap();
    line.split(':').nth(1).unwrap().parse().unwrap()
}

/// Notes a skip where the test script looks for it, and on standard error.
pub fn skip(test: &str, reason: &str) {
    eprintln!("skip: {test}: {reason}");
    if let Some(path) = std::env::var_os("RBOX_TEST_SKIPS") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).expect("the list of skips");
        // In one piece: other tests write at the same time.
        file.write_all(format!("{test}: {reason}\n").as_bytes()).expect("writable");
    }
}

/// `requires!(test_name, range)`, `bed`, or `networks` on a bed: leaves the test with its reason where the host lacks something.
#[macro_export]
macro_rules! requires {
    ($test:expr, range) => {
        if !env::has_range() {
            return env::skip($test, "no subordinate id range that works");
        }
    };
    ($test:expr, bed) => {
        if !env::bed::is_here() {
            return env::skip($test, env::bed::MISSING);
        }
    };
    ($test:expr, networks) => {
        requires!($test, bed);
        if let Some(missing) = env::shared::missing() {
            return env::skip($test, missing);
        }
    };
    ($test:expr, $condition:expr, $reason:expr) => {
        if !$condition {
            return env::skip($test, $reason);
        }
    };
}
