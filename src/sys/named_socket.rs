//! Sockets that have a name in a directory.

use super::{Named, Result, mount};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A socket that keeps message borders; closed on exec.
fn new() -> Result<OwnedFd> {
    let made = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    made.named(|| "socket(SEQPACKET)".to_owned())
}

/// Listens under a name, which nobody has yet, without waiting in accept(2). `backlog`: how many may wait to be heard.
pub fn listen(dir: &Path, name: &str, backlog: i32) -> Result<OwnedFd> {
    let listener = new()?;
    let call = || format!("bind({}/{name})", dir.display());
    with_address(dir, name, |address| rustix::net::bind(&listener, address)).named(call)?;
    rustix::net::listen(&listener, backlog).named(call)?;
    rustix::io::ioctl_fionbio(&listener, true).named(call)?;
    Ok(listener)
}

/// Connects to whoever listens there; `None` if nobody does.
pub fn connect(dir: &Path, name: &str) -> Result<Option<OwnedFd>> {
    let socket = new()?;
    match with_address(dir, name, |address| rustix::net::connect(&socket, address)) {
        Ok(()) => Ok(Some(socket)),
        Err(Errno::NOENT | Errno::CONNREFUSED) => Ok(None),
        Err(errno) => Err(errno).named(|| format!("connect({}/{name})", dir.display())),
    }
}

/// Hears datagrams under a name, which nobody has yet, of everybody who gets there; without waiting.
pub fn hear_datagrams(dir: &Path, name: &str) -> Result<OwnedFd> {
    let socket = datagrams()?;
    let call = || format!("bind({}/{name})", dir.display());
    with_address(dir, name, |address| rustix::net::bind(&socket, address)).named(call)?;
    let everybody = Mode::from_raw_mode(0o666);
    rustix::fs::chmodat(rustix::fs::CWD, dir.join(name), everybody, AtFlags::empty()).named(call)?;
    Ok(socket)
}

/// A socket for datagrams to an address: a path, or a name of no directory behind an @ (unix(7), "abstract").
pub fn datagrams_to(address: &OsStr) -> Result<OwnedFd> {
    let socket = datagrams()?;
    let path = Path::new(address);
    let call = || format!("connect({})", path.display());
    match (address.as_bytes(), path.parent(), path.file_name().and_then(OsStr::to_str)) {
        ([b'@', name @ ..], ..) => {
            let address = SocketAddrUnix::new_abstract_name(name).named(call)?;
            rustix::net::connect(&socket, &address).named(call)?;
        }
        (_, Some(dir), Some(name)) if path.is_absolute() => {
            with_address(dir, name, |address| rustix::net::connect(&socket, address)).named(call)?;
        }
        _ => return Err(Errno::AFNOSUPPORT).named(call),
    }
    Ok(socket)
}

fn datagrams() -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let made = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None);
    made.named(|| "socket(DGRAM)".to_owned())
}

/// Wakes whoever listens there, without waiting for anything: who does not accept has been woken before.
pub fn knock(dir: &Path, name: &str) {
    if let Ok(socket) = new() {
        // Nobody there is nobody to be woken.
        let _ = rustix::io::ioctl_fionbio(&socket, true);
        let _ = with_address(dir, name, |address| rustix::net::connect(&socket, address));
    }
}

/// The path of a socket has 107 bytes at most (unix(7)), that of a directory many more.
fn with_address(
    dir: &Path,
    name: &str,
    call: impl Fn(&SocketAddrUnix) -> rustix::io::Result<()>,
) -> rustix::io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(dir, flags, Mode::empty())?;
    call(&SocketAddrUnix::new(mount::path_of(dir.as_fd()).join(name))?)
}
