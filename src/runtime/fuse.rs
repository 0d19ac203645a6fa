//! fuse-overlayfs, which serves an overlay of a container.
//!
//! Runs in: the container's user namespace, as its root, with everything else the host's: the process is no part of the
//! container's pid namespace, where the payload would see it. It dies with rbox, and by itself when the container's mount
//! namespace goes.

use super::mount_options::MountOptions;
use super::overlay::{self, Refused};
use crate::error::Advise;
use crate::paths::program;
use crate::sys::clone::{self, CLONE_NEWUSER, Child, Side};
use crate::sys::process::Never;
use crate::sys::{Alone, Named, fd, ids, process, signal};
use anyhow::{Context, Result};
use oci_spec::runtime::Mount;
use rustix::fs::{MemfdFlags, Mode, OFlags};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PROGRAM: &str = "fuse-overlayfs";
/// What it still has to write when its container has ended is written by then.
const PATIENCE: Duration = Duration::from_secs(10);

/// True if there is the program and the device.
pub fn is_there() -> bool {
    let device = || rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).is_ok();
    program(PROGRAM).is_some() && device()
}

/// A running fuse-overlayfs. Dropped, it is waited for, and killed if it does not end.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// What it writes to its standard output and error.
    said: OwnedFd,
}

impl Server {
    /// What it said last.
    pub fn last_words(&self) -> Option<String> {
        let mut text = vec![0; 4096];
        let length = rustix::io::pread(&self.said, &mut text, 0).ok()?;
        let text = String::from_utf8_lossy(&text[..length]).into_owned();
        text.lines().rfind(|line| !line.is_empty()).map(str::to_owned)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pidfd = self.child.pidfd.as_fd();
        if !process::ends_within(pidfd, PATIENCE).unwrap_or(false) {
            let _ = process::send_signal(pidfd, libc::SIGKILL);
        }
        // Waiting collects it in any case.
        let _ = process::wait(pidfd);
    }
}

/// Starts it on a connection, for this overlay of the Spec. Runs in: the host's namespaces.
pub fn serve(alone: &Alone, namespace: &OwnedFd, device: OwnedFd, mount: &Mount) -> Result<Server> {
    let options = MountOptions::parse(mount.options().as_deref().unwrap_or_default())?;
    let value = |key: &str| {
        let found = options.data.iter().find(|(known, _)| known == key).and_then(|(_, value)| value.as_deref());
        found.with_context(|| format!("{PROGRAM}: no {key}"))
    };
    let plain = |path: PathBuf| path.into_os_string().into_string().map_err(|_| anyhow::anyhow!("a path is not UTF-8"));
    let lower: Vec<String> = overlay::layers(value("lowerdir")?).into_iter().map(plain).collect::<Result<_>>()?;
    let upper = plain(overlay::unescaped(value("upperdir")?))?;
    let work = plain(overlay::unescaped(value("workdir")?))?;
    let Some(program) = program(PROGRAM) else {
        let said = format!("{PROGRAM}: not found in PATH");
        return Err(Refused { said }).hint(|| format!("the package {PROGRAM} has it"));
    };
    let said = rustix::fs::memfd_create(PROGRAM, MemfdFlags::CLOEXEC).named(|| "memfd_create".to_owned())?;
    let text = format!("lowerdir={},upperdir={upper},workdir={work}", lower.join(":"));
    let args = [PROGRAM, "-f", "-o", &text, "/dev/fd/0"];
    let args: Vec<CString> = args.into_iter().map(CString::new).collect::<std::result::Result<_, _>>()?;
    let program = CString::new(program.as_os_str().as_bytes())?;
    let maker = process::pid();
    match clone::clone(alone, 0)? {
        Side::Parent(child) => Ok(Server { child, said }),
        Side::Child => {
            let Err(error) = become_server(alone, maker, namespace, &device, &said, &program, &args);
            let _ = rustix::io::write(&said, format!("{error:#}\n").as_bytes());
            process::exit_now(crate::error::FAILED)
        }
    }
}

fn become_server(
    alone: &Alone,
    maker: i32,
    namespace: &OwnedFd,
    device: &OwnedFd,
    said: &OwnedFd,
    program: &CString,
    args: &[CString],
) -> Result<Never> {
    // What the terminal sends to rbox's group is not for this process.
    process::new_session()?;
    signal::default_all()?;
    clone::setns(alone, namespace, CLONE_NEWUSER, Path::new("user namespace of the container"))?;
    // Who has no such id there stays who it is.
    let _ = ids::set_gid(0).and_then(|()| ids::set_uid(0));
    process::die_with_parent()?;
    if process::parent() != Some(maker) {
        process::exit_now(crate::error::FAILED);
    }
    fd::place(device.as_fd(), 0)?;
    fd::place(said.as_fd(), 1)?;
    fd::place(said.as_fd(), 2)?;
    fd::close_on_exec_from(3)?;
    let errno = process::exec(program, args, &[]);
    Err(errno).named(|| format!("exec({PROGRAM})")).map_err(Into::into)
}
