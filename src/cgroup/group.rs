//! One cgroup of the unified hierarchy (cgroups(7)), by its directory: whoever moves or replaces a path above it changes nothing.

use crate::sys::{Named, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
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

    /// True if nobody is in it itself; those below do not count.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.read("cgroup.procs")?.unwrap_or_default().trim().is_empty())
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
        for name in self.names()? {
            self.below(&name)?.kill_each()?;
        }
        for pid in self.processes()? {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                // It may have ended.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
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

    fn clear(&self) -> Result<()> {
        for name in self.names()? {
            let below = self.path.join(&name);
            if rustix::fs::unlinkat(&self.dir, &name, AtFlags::REMOVEDIR).is_ok() {
                continue;
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match rustix::fs::openat(&self.dir, &name, flags, Mode::empty()) {
                Ok(dir) => Group { dir, path: below.clone() }.clear()?,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno).named(|| format!("open({})", below.display())),
            }
            match rustix::fs::unlinkat(&self.dir, &name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno).named(|| format!("rmdir({})", below.display())),
            }
        }
        Ok(())
    }

    /// Of the cgroups below it.
    fn names(&self) -> Result<Vec<String>> {
        let call = || format!("readdir({})", self.path.display());
        let mut names = Vec::new();
        let dir = match rustix::fs::Dir::read_from(&self.dir) {
            // It is gone.
            Err(Errno::NOENT) => return Ok(names),
            dir => dir.named(call)?,
        };
        for entry in dir {
            let entry = entry.named(call)?;
            let name = entry.file_name().to_string_lossy();
            if entry.file_type() == rustix::fs::FileType::Directory && name != "." && name != ".." {
                names.push(name.into_owned());
            }
        }
        Ok(names)
    }
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
