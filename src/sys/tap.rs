//! tun.rst: network interfaces whose other end is a program.

use super::{Named, Result, check};
use rustix::fs::{Mode, OFlags};
use std::os::fd::{AsRawFd, OwnedFd};

/// The device that makes them.
pub const DEVICE: &str = "/dev/net/tun";

/// Opens the device, for the network namespace that this process is in.
pub fn open() -> Result<OwnedFd> {
    rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).named(|| format!("open({DEVICE})"))
}

/// Makes one of this name, at most 15 bytes, and this number: it carries Ethernet frames and stays without a program. It has no carrier as
/// long as none has opened it.
pub fn make(device: &OwnedFd, name: &str, index: u32) -> Result<()> {
    // SAFETY: TUNSETIFINDEX reads one number, which outlives the call.
    check(unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFINDEX as _, &raw const index) }.into())
        .named(|| format!("ioctl(TUNSETIFINDEX, {index})"))?;
    // SAFETY: all zeroes is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero.
    for (to, from) in request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one ifreq, which outlives the call.
    check(unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) }.into())
        .named(|| format!("ioctl(TUNSETIFF, {name})"))?;
    // SAFETY: TUNSETPERSIST takes a number.
    check(unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETPERSIST as _, 1) }.into())
        .named(|| format!("ioctl(TUNSETPERSIST, {name})"))?;
    Ok(())
}
