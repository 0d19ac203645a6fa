//! From a mounted root to execve: limits, ids, capabilities, filter, program.
//!
//! Runs in: the container's namespaces and root, as the container's first process (or the reaper's child).

use super::extra::Extra;
use super::seccomp::Filter;
use super::{capability, rlimit};
use crate::cgroup::list;
use crate::error::{Advise, NOT_EXECUTABLE, NOT_FOUND};
use crate::sys::process::Never;
use crate::sys::{self, Named, caps, ids, path, process};
use anyhow::{Context, Result, anyhow, bail};
use oci_spec::runtime::{IOPriorityClass, LinuxIOPriority, PosixRlimit, Process, Spec};
use rustix::fs::{Access, AtFlags, CWD, FileType};
use rustix::io::Errno;
use rustix::thread::CpuSet;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// Everything about the payload that can be made before the root changes hands: C strings, masks, the filter.
pub struct Payload {
    args: Vec<CString>,
    env: Vec<CString>,
    search: Vec<PathBuf>,
    cwd: PathBuf,
    uid: u32,
    gid: u32,
    /// `None`: the caller's groups stay.
    groups: Option<Vec<u32>>,
    umask: u32,
    caps: caps::Sets,
    no_new_privileges: bool,
    rlimits: Vec<PosixRlimit>,
    priority: Option<LinuxIOPriority>,
    cpus: Option<CpuSet>,
    filter: Filter,
    extra: Extra,
}

/// The annotation for the processors that it runs on where no cgroup says so, as in cpuset(7).
pub const CPUS: &str = "rbox.cpus";

/// crun's annotation for podman's `--group-add keep-groups`.
pub const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

impl Payload {
    /// Reads the Spec's process. `can_set_groups` is false where only one id is mapped: the kernel denies setgroups(2)
    /// there (CVE-2014-8989).
    pub fn of(spec: &Spec, can_set_groups: bool, extra: Extra) -> Result<Payload> {
        let process = spec.process().as_ref().context("process: missing")?;
        let user = process.user();
        let keep = spec.annotations().as_ref().is_some_and(|all| all.get(KEEP_GROUPS).is_some_and(|v| v == "1"));
        let wanted = user.additional_gids().clone().unwrap_or_default();
        let groups = match (keep, can_set_groups) {
            (true, _) => None,
            (false, true) => Some(wanted),
            (false, false) if wanted.is_empty() => None,
            (false, false) => {
                return Err(anyhow!("supplementary groups {wanted:?}: only one id is mapped"))
                    .hint(|| "this needs a subordinate id range (--id-mode range)".to_owned());
            }
        };
        Ok(Payload {
            args: c_strings("argument", process.args().as_deref().unwrap_or_default())?,
            env: c_strings("environment", process.env().as_deref().unwrap_or_default())?,
            search: search_path(process),
            cwd: process.cwd().clone(),
            uid: user.uid(),
            gid: user.gid(),
            groups,
            umask: user.umask().unwrap_or(0o022),
            caps: process.capabilities().as_ref().map(capability::sets).unwrap_or_default(),
            no_new_privileges: process.no_new_privileges() == Some(true),
            rlimits: process.rlimits().clone().unwrap_or_default(),
            priority: *process.io_priority(),
            cpus: spec
                .annotations()
                .as_ref()
                .and_then(|all| all.get(CPUS))
                .map(|text| cpus(text))
                .transpose()
                .context(CPUS)?,
            filter: Filter::of(spec)?,
            extra,
        })
    }

    /// Everything up to the point where only waiting for the start is left. Returns the program's path.
    pub fn prepare(&self) -> Result<CString> {
        for limit in &self.rlimits {
            rlimit::set(limit)?;
        }
        if let Some(priority) = &self.priority {
            process::set_io_priority(class(priority.class()), priority.priority())?;
        }
        if let Some(cpus) = &self.cpus {
            rustix::thread::sched_setaffinity(None, cpus).named(|| "sched_setaffinity".to_owned())?;
        }
        ids::leave_session_keyring()?;
        self.enter_cwd()?;
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(self.umask));
        caps::limit_bounding(self.caps.bounding)?;
        if !self.no_new_privileges {
            // Without no_new_privs a filter needs CAP_SYS_ADMIN, which is about to go.
            self.filter.load()?;
        }
        if let Some(groups) = &self.groups {
            match ids::set_groups(groups) {
                // A joined user namespace may have setgroups(2) denied; then the caller's groups stay.
                Err(error) if error.errno == Errno::PERM && groups.is_empty() => {}
                result => result.context("supplementary groups")?,
            }
        }
        if (ids::uid(), ids::gid()) != (self.uid, self.gid) {
            caps::keep_over_setuid(true)?;
            ids::set_gid(self.gid).with_context(|| format!("group {}", self.gid))?;
            ids::set_uid(self.uid).with_context(|| format!("user {}", self.uid))?;
        }
        caps::set(&self.caps)?;
        if self.no_new_privileges {
            process::set_no_new_privileges()?;
            self.filter.load()?;
        }
        self.find()
    }

    /// The container's own terminal, and pipes that are its standard streams, become the user's, who may want to open
    /// them again (/dev/stdout). Files and terminals of the caller stay the caller's.
    pub fn give_streams(&self, terminal: Option<BorrowedFd<'_>>) -> Result<()> {
        if self.uid == 0 {
            return Ok(());
        }
        let (uid, gid) = (rustix::fs::Uid::from_raw(self.uid), rustix::fs::Gid::from_raw(self.gid));
        let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
        let is_pipe = |fd: &BorrowedFd<'_>| {
            rustix::fs::fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_fifo())
        };
        for fd in terminal.into_iter().chain(streams.into_iter().filter(is_pipe)) {
            // The group of a terminal is tty. A pipe of somebody else's stays as it is.
            let group = if terminal.is_some() { None } else { Some(gid) };
            let _ = rustix::fs::fchown(fd, Some(uid), group);
        }
        Ok(())
    }

    /// Ends in the program.
    pub fn run(&self, program: &CString) -> Result<Never> {
        sys::signal::unblock_all()?;
        let env = self.extra.complete(&self.env)?;
        self.extra.keep()?;
        let errno = process::exec(program, &self.args, &env);
        Err(not_executed(program, errno))
    }

    /// The working directory, made if it is missing, as docker does. Never through a link of /proc: those lead to
    /// descriptors that are still open here (CVE-2024-21626).
    fn enter_cwd(&self) -> Result<()> {
        let what = || format!("working directory {}", self.cwd.display());
        if self.cwd == Path::new("/") {
            return Ok(());
        }
        let root = sys::mount::place(Path::new("/"))?;
        let directory = path::place_in(root.as_fd(), &self.cwd, path::Missing::Directory).with_context(what)?;
        rustix::process::fchdir(&directory).named(|| "fchdir".to_owned()).with_context(what)?;
        // A directory outside the root has no name here (getcwd(2)).
        let name = rustix::process::getcwd(Vec::new()).named(|| "getcwd".to_owned()).with_context(what)?;
        if !name.as_bytes().starts_with(b"/") {
            bail!("{}: outside the container", what());
        }
        Ok(())
    }

    /// The program that the first argument names, as a shell finds it.
    fn find(&self) -> Result<CString> {
        let name = self.args.first().context("process.args: empty")?;
        let shown = name.to_string_lossy();
        if name.as_bytes().contains(&b'/') {
            return match executable(Path::new(&*shown)) {
                Ok(()) => Ok(name.clone()),
                Err(errno) => Err(anyhow!("exec {shown}: {}", sys::reason(errno))).exit(exit_for(errno)),
            };
        }
        let mut worst = Errno::NOENT;
        for directory in &self.search {
            let file = directory.join(&*shown);
            match executable(&file) {
                Ok(()) => return Ok(CString::new(file.into_os_string().into_encoded_bytes())?),
                Err(Errno::ACCESS) => worst = Errno::ACCESS,
                Err(_) => {}
            }
        }
        let reason = if worst == Errno::NOENT { "executable file not found in $PATH" } else { "permission denied" };
        Err(anyhow!("exec \"{shown}\": {reason}")).exit(exit_for(worst))
    }
}

/// docker's statuses: 127 what is not there, 126 what cannot be run.
fn exit_for(errno: Errno) -> u8 {
    if matches!(errno, Errno::NOENT | Errno::NOTDIR) { NOT_FOUND } else { NOT_EXECUTABLE }
}

fn executable(file: &Path) -> std::result::Result<(), Errno> {
    // The effective ids count here, access(2) alone would take the real ones; they are the same after setresuid.
    rustix::fs::accessat(CWD, file, Access::EXEC_OK, AtFlags::empty())?;
    match FileType::from_raw_mode(rustix::fs::stat(file)?.st_mode) {
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err(Errno::ISDIR),
        _ => Err(Errno::ACCESS),
    }
}

fn not_executed(program: &CString, errno: Errno) -> anyhow::Error {
    let shown = program.to_string_lossy();
    let failed: Result<Never> = Err(anyhow!("exec {shown}: {}", sys::reason(errno)));
    let hinted = match errno {
        Errno::NOENT => failed.hint(|| {
            "the file is there: its interpreter (the #! line, or the dynamic loader that it was linked for) is not"
                .to_owned()
        }),
        Errno::NOEXEC => {
            failed.hint(|| "it is not a program for this processor, or a script without a #! line".to_owned())
        }
        Errno::TOOBIG => {
            failed.hint(|| "arguments and environment together are larger than the kernel takes".to_owned())
        }
        _ => failed,
    };
    match hinted.exit(exit_for(errno)) {
        Err(error) => error,
        Ok(never) => match never {},
    }
}

/// The kernel's number (linux/ioprio.h).
fn class(class: IOPriorityClass) -> u32 {
    match class {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    }
}

fn cpus(text: &str) -> Result<CpuSet> {
    let mut cpus = CpuSet::new();
    list::read(text)?.into_iter().filter(|cpu| *cpu < CpuSet::MAX_CPU).for_each(|cpu| cpus.set(cpu));
    Ok(cpus)
}

fn c_strings(what: &str, words: &[String]) -> Result<Vec<CString>> {
    words
        .iter()
        .map(|word| CString::new(word.as_str()).with_context(|| format!("{what} {word:?}: contains a NUL byte")))
        .collect()
}

/// The directories of the payload's own PATH, or execvp(3)'s default.
fn search_path(process: &Process) -> Vec<PathBuf> {
    let env = process.env().as_deref().unwrap_or_default();
    let path = env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or("/bin:/usr/bin");
    path.split(':').map(|dir| PathBuf::from(if dir.is_empty() { "." } else { dir })).collect()
}
