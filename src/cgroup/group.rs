//! One cgroup of the unified hierarchy (cgroups(7)), by its directory: whoever moves or replaces a path above it changes nothing.

use crate::sys::{Named, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longer than any of its files, but for that of many devices.
const CHUNK: usize = 4096;
/// So long what was killed may take to be gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// A cgroup.
#[derive(Debug)]
pub struct Group {
    dir: OwnedFd,
    path: PathBuf,
}

impl Group {
    /// One that is there, by its path below the mounted hierarchy.
    pub fn open(path: &Path) -> Result<Group> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(path, flags, Mode::empty()).named(|| format!("open({})", path.display()))?;
        Ok(Group { dir, path: path.to_owned() })
    }

    /// One below it; made if it is not there.
    pub fn below(&self, name: &str) -> Result<Group> {
        let path = self.path.join(name);
        match rustix::fs::mkdirat(&self.dir, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).named(|| format!("mkdir({})", path.display())),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(&self.dir, name, flags, Mode::empty());
        Ok(Group { dir: dir.named(|| format!("open({})", path.display()))?, path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its directory, for clone3(2) with CLONE_INTO_CGROUP.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Another reference to it.
    pub fn again(&self) -> Result<Group> {
        let dir = rustix::io::fcntl_dupfd_cloexec(&self.dir, 3).named(|| "fcntl(F_DUPFD_CLOEXEC)".to_owned())?;
        Ok(Group { dir, path: self.path.clone() })
    }

    /// Writes one of its files.
    pub fn write(&self, file: &str, text: &str) -> Result<()> {
        let open = rustix::fs::openat(&self.dir, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        let written = open.and_then(|open| rustix::io::retry_on_intr(|| rustix::io::write(&open, text.as_bytes())));
        written.map(drop).named(|| format!("write({}/{file}, {})", self.path.display(), text.trim_end()))
    }

    /// Reads one of its files; `None` if the kernel does not have it.
    pub fn read(&self, file: &str) -> Result<Option<String>> {
        let call = || format!("read({}/{file})", self.path.display());
        let open = match self.open_file(file) {
            Ok(open) => open,
            Err(error) if error.errno == Errno::NOENT => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut text = Vec::new();
        loop {
            let before = text.len();
            text.resize(before + CHUNK, 0);
            match rustix::io::retry_on_intr(|| rustix::io::read(&open, &mut text[before..])) {
                Ok(0) => {
                    text.truncate(before);
                    return Ok(Some(String::from_utf8_lossy(&text).into_owned()));
                }
                Ok(length) => text.truncate(before + length),
                // Its directory was removed meanwhile, or pressure is not measured (psi=0).
                Err(Errno::NODEV | Errno::OPNOTSUPP) => return Ok(None),
                Err(errno) => return Err(errno).named(call),
            }
        }
    }

    /// One of its files, to be read or watched.
    pub fn open_file(&self, file: &str) -> Result<OwnedFd> {
        let open = rustix::fs::openat(&self.dir, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        open.named(|| format!("open({}/{file})", self.path.display()))
    }

    /// The controllers that it may limit with.
    pub fn controllers(&self) -> Result<Vec<String>> {
        let text = self.read("cgroup.controllers")?.unwrap_or_default();
        Ok(text.split_whitespace().map(str::to_owned).collect())
    }

    /// The numbers of the processes in it itself.
    pub fn processes(&self) -> Result<Vec<i32>> {
        let text = self.read("cgroup.procs")?.unwrap_or_default();
        Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
    }

    /// Lets those below it have controllers; which of them they have then. It must be empty itself (cgroups(7), "no internal
    /// processes").
    pub fn enable<'a>(&self, controllers: &[&'a str]) -> Vec<&'a str> {
        let text =
            |controllers: &[&str]| controllers.iter().map(|name| format!("+{name}")).collect::<Vec<_>>().join(" ");
        // One that cannot be had keeps the others from being had in the same write.
        if controllers.is_empty() || self.write("cgroup.subtree_control", &text(controllers)).is_ok() {
            return controllers.to_vec();
        }
        let is_had = |controller: &&str| self.write("cgroup.subtree_control", &text(&[*controller])).is_ok();
        controllers.iter().copied().filter(is_had).collect()
    }

    /// Stops all that is in it and below, or lets it go on; back when that is done (Linux 5.2).
    pub fn freeze(&self, frozen: bool) -> Result<()> {
        self.write("cgroup.freeze", if frozen { "1" } else { "0" })?;
        let events = self.open_file("cgroup.events")?;
        let wanted = if frozen { "1" } else { "0" };
        let begin = Instant::now();
        loop {
            let text = self.read("cgroup.events")?.unwrap_or_default();
            if key(&text, "frozen").is_none_or(|is| is == wanted) {
                return Ok(());
            }
            if begin.elapsed() > PATIENCE {
                return Err(Errno::TIMEDOUT).named(|| format!("cgroup.freeze({})", self.path.display()));
            }
            changed(&events, Duration::from_millis(100));
        }
    }

    /// True if nothing in it runs, for somebody has frozen it or one around it.
    pub fn is_stopped(&self) -> bool {
        self.read("cgroup.events").is_ok_and(|text| text.is_some_and(|text| key(&text, "frozen") == Some("1")))
    }

    /// True if its own controllers are those of others below it, and no process may be in it.
    pub fn is_divided(&self) -> bool {
        self.read("cgroup.subtree_control").is_ok_and(|text| text.is_some_and(|text| !text.trim().is_empty()))
    }

    /// True if it is there still.
    pub fn is_there(&self) -> bool {
        rustix::fs::accessat(&self.dir, "cgroup.procs", rustix::fs::Access::EXISTS, AtFlags::empty()).is_ok()
    }

    /// True if somebody has frozen it. Those below may have frozen themselves, which is no concern of this.
    pub fn is_frozen(&self) -> Result<bool> {
        Ok(self.read("cgroup.freeze")?.is_some_and(|text| text.trim() == "1"))
    }

    /// Kills all that is in it and below (Linux 5.14; before that, process by process), and waits until it is gone.
    pub fn kill(&self) -> Result<()> {
        let begin = Instant::now();
        let events = self.open_file("cgroup.events")?;
        let mut killed = false;
        loop {
            let text = self.read("cgroup.events")?.unwrap_or_default();
            if key(&text, "populated").is_none_or(|is| is == "0") || begin.elapsed() > PATIENCE {
                return Ok(());
            }
            if !std::mem::replace(&mut killed, true) {
                match self.write("cgroup.kill", "1") {
                    Err(error) if error.errno == Errno::NOENT => killed = self.kill_each()?,
                    done => done?,
                }
            }
            changed(&events, Duration::from_millis(10));
        }
    }

    /// False: there may be others by now.
    fn kill_each(&self) -> Result<bool> {
        let mut all =
            vec![self.dir.try_clone().map_err(|_| Errno::MFILE).named(|| "fcntl(F_DUPFD_CLOEXEC)".to_owned())?];
        while let Some(dir) = all.pop() {
            let group = Group { dir, path: self.path.clone() };
            for pid in group.processes()? {
                if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                    // It may have ended.
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            }
            let call = || format!("readdir({})", self.path.display());
            for entry in rustix::fs::Dir::read_from(&group.dir).named(call)?.flatten() {
                let name = entry.file_name();
                if entry.file_type() == FileType::Directory && name != c"." && name != c".." {
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    // It may be gone.
                    all.extend(rustix::fs::openat(&group.dir, name, flags, Mode::empty()));
                }
            }
        }
        Ok(false)
    }

    /// Removes it and those below; whoever is still in it stays, and it with him.
    pub fn remove(self) -> Result<()> {
        if rustix::fs::rmdir(&self.path).is_ok() {
            return Ok(());
        }
        self.clear()?;
        match rustix::fs::rmdir(&self.path) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno).named(|| format!("rmdir({})", self.path.display())),
        }
    }

    /// Removes those below it, whatever root of a container has called them and however deep it has made them: down to one that has
    /// none below it, and up again. No cgroup is moved, so that the way up is the way down.
    fn clear(&self) -> Result<()> {
        let call = || format!("rmdir(below {})", self.path.display());
        let open = |dir: &OwnedFd, name: &CStr| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(dir, name, flags, Mode::empty())
        };
        let mut dir = open(&self.dir, c".").named(call)?;
        let mut way: Vec<CString> = Vec::new();
        loop {
            if let Some(name) = first_below(&dir).named(call)? {
                match rustix::fs::unlinkat(&dir, &name, AtFlags::REMOVEDIR) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    // There are others in it, or processes.
                    Err(Errno::BUSY | Errno::NOTEMPTY) => {
                        let below = open(&dir, &name).named(call)?;
                        if first_below(&below).named(call)?.is_none() {
                            return Err(Errno::BUSY).named(call);
                        }
                        dir = below;
                        way.push(name);
                    }
                    Err(errno) => return Err(errno).named(call),
                }
            } else {
                let Some(name) = way.pop() else { return Ok(()) };
                dir = open(&dir, c"..").named(call)?;
                rustix::fs::unlinkat(&dir, &name, AtFlags::REMOVEDIR).named(call)?;
            }
        }
    }
}

/// The name of one of the cgroups below.
fn first_below(dir: &OwnedFd) -> rustix::io::Result<Option<CString>> {
    let entries = match rustix::fs::Dir::read_from(dir) {
        // It is gone.
        Err(Errno::NOENT) => return Ok(None),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() == FileType::Directory && name != c"." && name != c".." {
            return Ok(Some(name.to_owned()));
        }
    }
    Ok(None)
}

/// What a file of lines `KEY VALUE` says of a key.
pub fn key<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
}

/// Waits until the kernel says that a file has changed, or for as long.
fn changed(file: &OwnedFd, most: Duration) {
    let limit = Timespec { tv_sec: most.as_secs() as _, tv_nsec: most.subsec_nanos().into() };
    // Whoever waits looks again in any case.
    let _ = poll(&mut [PollFd::new(file, PollFlags::PRI)], Some(&limit));
}
