//! The loopback interface of a new network namespace.

use super::{Named, Result};
use rustix::ioctl::{Opcode, Setter, ioctl};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// Its number in every network namespace.
pub const INDEX: u32 = 1;

/// Sets `lo` up; the kernel then gives it 127.0.0.1/8 and ::1/128 by itself (netdevice(7), SIOCSIFFLAGS).
pub fn set_up() -> Result<()> {
    let call = || "ioctl(SIOCSIFFLAGS, lo)".to_owned();
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .named(|| "socket(AF_INET)".to_owned())?;
    // SAFETY: all zeroes is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo\0") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    const SIOCSIFFLAGS: Opcode = libc::SIOCSIFFLAGS as Opcode;
    // SAFETY: SIOCSIFFLAGS reads one ifreq.
    unsafe { ioctl(&socket, Setter::<SIOCSIFFLAGS, libc::ifreq>::new(request)) }.named(call)
}
