//! Writing the maps of a new user namespace into the kernel (user_namespaces(7)).

use super::idmap::{IdMap, IdMaps};
use crate::error::Advise;
use crate::paths;
use crate::sys::{self, Named, process, signal};
use anyhow::{Context, Result, anyhow};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::path::DecInt;
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// As long a helper that nobody needs any more may take to end.
const PATIENCE: Duration = Duration::from_millis(500);

/// Who writes the maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// The new process itself: only the caller's own id is mapped.
    Itself,
    /// The maker, with newuidmap and newgidmap.
    Helpers,
    /// The maker itself: it has the privilege (root, or root in a container).
    Maker,
}

/// Who has to write these maps, if the caller's ids are `uid` and `gid`.
pub fn writer(maps: &IdMaps, uid: u32, gid: u32) -> Writer {
    if maps.uid.is_only(uid) && maps.gid.is_only(gid) {
        Writer::Itself
    } else if uid == 0 {
        Writer::Maker
    } else {
        Writer::Helpers
    }
}

/// Runs in: the new user namespace, as its first process, the host's /proc still mounted.
pub fn own(maps: &IdMaps) -> Result<()> {
    single("self", maps)
}

/// The same from outside: the caller's own id for a child's user namespace.
pub fn single_of(pid: i32, maps: &IdMaps) -> Result<()> {
    single(&pid.to_string(), maps)
}

/// Without privilege the kernel takes a map of the own id only, from the process itself or from its maker, and a group map only once
/// setgroups(2) is given up (CVE-2014-8989).
fn single(process: &str, maps: &IdMaps) -> Result<()> {
    put(&format!("/proc/{process}/setgroups"), "deny")
        .and_then(|()| put(&format!("/proc/{process}/uid_map"), &lines(&maps.uid)))
        .and_then(|()| put(&format!("/proc/{process}/gid_map"), &lines(&maps.gid)))
        .map_err(|error| (error.errno, error))
        .or_else(|(errno, error)| Err(error).maybe_hint(|| denied(errno)))
}

/// Runs in: the host's namespaces, as the maker.
pub fn for_child(pid: i32, maps: &IdMaps, writer: Writer) -> Result<()> {
    begin(pid, maps, writer)?.finish()
}

/// Programs that write maps.
#[derive(Debug, Default)]
pub struct Writing(Vec<(&'static str, Child)>);

impl Writing {
    /// Waits until all is written.
    pub fn finish(mut self) -> Result<()> {
        let mut all = std::mem::take(&mut self.0).into_iter().map(|(name, child)| finish(name, child));
        let first = all.next().unwrap_or(Ok(()));
        // The others are waited for whatever became of the first.
        all.fold(first, Result::and)
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        for (_, child) in &mut self.0 {
            // Set-user-id programs are not the caller's to kill, and end soon. For one that hangs nobody waits.
            let pidfd = process::open_pidfd(child.id() as i32);
            if !pidfd.is_ok_and(|pidfd| matches!(process::ends_within(pidfd.as_fd(), PATIENCE), Ok(false))) {
                let _ = child.wait();
            }
        }
    }
}

/// Begins with one of both: the users' ids, or the groups'.
pub fn begin_one(pid: i32, maps: &IdMaps, of_groups: bool) -> Result<Writing> {
    let (name, map) = if of_groups { ("newgidmap", &maps.gid) } else { ("newuidmap", &maps.uid) };
    Ok(Writing(vec![(name, start(name, pid, map)?)]))
}

/// The same in two steps: something else can be done between them.
pub fn begin(pid: i32, maps: &IdMaps, writer: Writer) -> Result<Writing> {
    match writer {
        Writer::Itself => Ok(Writing::default()),
        Writer::Maker => {
            let write = |name: &'static str, map| {
                put(&format!("/proc/{pid}/{name}"), &lines(map))
                    .map_err(|error| HelperFailed::new(name, error.to_string()))
                    .hint(|| "these ids are not all of this user namespace; --id-mode single works without".to_owned())
            };
            write("uid_map", &maps.uid)?;
            write("gid_map", &maps.gid)?;
            Ok(Writing::default())
        }
        Writer::Helpers => {
            // Both at once: each is the start of a set-user-id program, and they do not wait for one another.
            let mut writing = Writing::default();
            for (name, map) in [("newuidmap", &maps.uid), ("newgidmap", &maps.gid)] {
                writing.0.push((name, start(name, pid, map)?));
            }
            Ok(writing)
        }
    }
}

/// Maps that are to be written into a process's user namespace, by somebody who has no heap for it.
pub struct Lines {
    /// /proc
    proc: OwnedFd,
    maps: [(&'static CStr, String); 2],
}

impl Lines {
    /// Runs in: wherever the process is to be seen.
    pub fn of(maps: &IdMaps) -> Result<Lines> {
        let proc = rustix::fs::open("/proc", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .named(|| "open(/proc)".to_owned())?;
        Ok(Lines { proc, maps: [(c"uid_map", lines(&maps.uid)), (c"gid_map", lines(&maps.gid))] })
    }

    /// Runs in: the user namespace above, as its root. Allocates nothing unless it fails.
    pub fn write(&self, pid: i32) -> sys::Result<()> {
        let open =
            |dir: &OwnedFd, name: &CStr, flags| rustix::fs::openat(dir, name, flags | OFlags::CLOEXEC, Mode::empty());
        let call = |name: &CStr| format!("open(/proc/{pid}/{})", name.to_string_lossy());
        let number = DecInt::new(pid);
        let process = open(&self.proc, number.as_c_str(), OFlags::PATH | OFlags::DIRECTORY).named(|| call(c""))?;
        for (name, text) in &self.maps {
            let file = open(&process, name, OFlags::WRONLY).named(|| call(name))?;
            write_whole(&file, text)
                .named(|| format!("write(/proc/{pid}/{}, {})", name.to_string_lossy(), text.trim_end()))?;
        }
        Ok(())
    }
}

/// newuidmap or newgidmap could not do its work. Whoever did not insist on a range may go on with one id.
#[derive(Debug)]
pub struct HelperFailed {
    name: String,
    said: String,
}

impl HelperFailed {
    /// Another one that could not give a range.
    pub fn new(name: impl Into<String>, said: String) -> HelperFailed {
        HelperFailed { name: name.into(), said }
    }

    /// Which.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it said.
    pub fn said(&self) -> &str {
        &self.said
    }
}

impl std::fmt::Display for HelperFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.name, self.said)
    }
}

impl std::error::Error for HelperFailed {}

fn start(name: &'static str, pid: i32, map: &IdMap) -> Result<Child> {
    let path = paths::program(name)
        .ok_or_else(|| anyhow!("{name}: not found in PATH"))
        .hint(|| format!("{name} writes the map of subordinate ids: install the package uidmap (Debian, Ubuntu) or\nshadow-utils (Fedora), or run with --id-mode single"))?;
    let mut command = Command::new(path);
    command.arg(pid.to_string());
    for range in map.ranges() {
        command.args([range.inside.to_string(), range.outside.to_string(), range.count.to_string()]);
    }
    // What is typed to end rbox does not make it fail: rbox would go on without a range.
    command.process_group(0);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    process::keep_c_heap();
    // It would stop in a process group that no shell lets go on, while its maker waits for its program to be loaded and cannot stop.
    let _unstoppable = signal::Unstoppable::begin()?;
    command.spawn().with_context(|| format!("run {name}"))
}

fn finish(name: &'static str, child: Child) -> Result<()> {
    let output = child.wait_with_output().with_context(|| format!("wait for {name}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let status = output.status.to_string();
    let said = text.lines().next().unwrap_or(&status).trim();
    // The helper starts its lines with its own name.
    let said = said.strip_prefix(name).map(|rest| rest.trim_start_matches([':', ' '])).unwrap_or(said);
    Err(HelperFailed::new(name, said.to_owned())).hint(|| {
        if rustix::thread::no_new_privs().unwrap_or(false) {
            "this process runs with no_new_privs, so set-user-id programs such as newuidmap have no effect;\nrun with --id-mode single, or lift it (systemd: NoNewPrivileges=no)".to_owned()
        } else {
            format!("{name} must be set-user-id root or have cap_setuid/cap_setgid, and the ranges must be in /etc/subuid\nand /etc/subgid; `ls -l $(command -v {name})` shows it; --id-mode single works without")
        }
    })
}

fn put(path: &str, text: &str) -> sys::Result<()> {
    let file =
        rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).named(|| format!("open({path})"))?;
    write_whole(&file, text).named(|| format!("write({path}, {})", text.trim_end()))
}

/// One write at offset 0: the kernel takes a map once and whole.
fn write_whole(file: &OwnedFd, text: &str) -> std::result::Result<(), Errno> {
    if rustix::io::write(file, text.as_bytes())? == text.len() { Ok(()) } else { Err(Errno::IO) }
}

fn lines(map: &IdMap) -> String {
    use std::fmt::Write;
    map.ranges().iter().fold(String::new(), |mut text, range| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{} {} {}", range.inside, range.outside, range.count);
        text
    })
}

/// Ubuntu 23.10 and later: AppArmor lets everybody make a user namespace and takes all capabilities in it away, so that
/// the first thing to fail is the map.
fn denied(errno: Errno) -> Option<String> {
    if apparmor_restricts() {
        return Some(apparmor_hint());
    }
    // Linux 5.12: whoever maps the outer root needs CAP_SETFCAP.
    (errno == Errno::PERM).then(|| {
        "if this is inside a container, its root lacks CAP_SETFCAP: start that one with --cap-add SETFCAP".to_owned()
    })
}

/// True where AppArmor restricts user namespaces of programs without a profile.
pub fn apparmor_restricts() -> bool {
    fs_err::read_to_string("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
        .is_ok_and(|value| value.trim() == "1")
}

/// What root can do about it.
pub fn apparmor_hint() -> String {
    let program = std::env::current_exe().map(|path| path.display().to_string()).unwrap_or("/usr/bin/rbox".to_owned());
    format!(
        "AppArmor restricts user namespaces (kernel.apparmor_restrict_unprivileged_userns=1); as root once:\n\
         printf 'abi <abi/4.0>,\\ninclude <tunables/global>\\nprofile rbox {program} flags=(unconfined) {{ userns, }}\\n' \\\n\
         > /etc/apparmor.d/rbox && apparmor_parser -r /etc/apparmor.d/rbox\n\
         or: sysctl kernel.apparmor_restrict_unprivileged_userns=0"
    )
}

/// Why the kernel refused to make the namespaces, and who can mend it.
pub fn clone_refused(errno: Errno) -> Option<String> {
    let value = |path: &str| fs_err::read_to_string(path).map(|text| text.trim().to_owned()).ok();
    match errno {
        Errno::NOSPC | Errno::USERS => {
            for kind in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"] {
                let knob = format!("/proc/sys/user/max_{kind}_namespaces");
                if let Some(limit) = value(&knob).filter(|limit| limit.parse().is_ok_and(|limit: u64| limit < 16)) {
                    return Some(format!(
                        "user.max_{kind}_namespaces is {limit}; root can raise it: sysctl user.max_{kind}_namespaces=28633"
                    ));
                }
            }
            Some("a limit of user.max_*_namespaces is used up; root can raise it with sysctl".to_owned())
        }
        Errno::PERM | Errno::ACCESS => {
            if value("/proc/sys/kernel/unprivileged_userns_clone").as_deref() == Some("0") {
                Some("root can allow user namespaces: sysctl kernel.unprivileged_userns_clone=1".to_owned())
            } else if apparmor_restricts() {
                Some(apparmor_hint())
            } else if value("/proc/self/status").is_some_and(|text| text.contains("\nSeccomp:\t2")) {
                Some(
                    "a seccomp filter denies user namespaces, probably that of an outer container; start that one with\n\
                     --security-opt seccomp=unconfined (docker) or securityContext.seccompProfile Unconfined (Kubernetes)"
                        .to_owned(),
                )
            } else {
                None
            }
        }
        Errno::INVAL => Some("this kernel was built without one of these namespaces (CONFIG_*_NS)".to_owned()),
        _ => None,
    }
}
