//! User and group ids of this process.
//!
//! The calls are the kernel's own and change one thread only; rbox makes them where it has but one.

use super::{Named, Result, check};
use rustix::process::{Gid, RawGid, Uid};

/// Sets the real, effective and saved user id.
pub fn set_uid(uid: u32) -> Result<()> {
    let id = Uid::from_raw(uid);
    rustix::thread::set_thread_res_uid(id, id, id).named(|| format!("setresuid({uid})"))
}

/// Sets the real, effective and saved group id.
pub fn set_gid(gid: u32) -> Result<()> {
    let id = Gid::from_raw(gid);
    rustix::thread::set_thread_res_gid(id, id, id).named(|| format!("setresgid({gid})"))
}

/// Sets the supplementary groups.
pub fn set_groups(gids: &[RawGid]) -> Result<()> {
    let ids: Vec<Gid> = gids.iter().map(|gid| Gid::from_raw(*gid)).collect();
    rustix::thread::set_thread_groups(&ids).named(|| format!("setgroups({gids:?})"))
}

/// The file system ids follow the effective ids, so this is also whose files the process makes.
pub fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The effective group id.
pub fn gid() -> u32 {
    rustix::process::getegid().as_raw()
}

/// Leaves the caller's session keyring, whose keys an inside process could read otherwise (keyctl(2),
/// KEYCTL_JOIN_SESSION_KEYRING). `Ok(false)` where the kernel has no keyrings or the user's quota is used up: then the
/// container has no session keyring to use, and the caller's stays reachable only for its owner.
pub fn leave_session_keyring() -> Result<bool> {
    use rustix::io::Errno;
    // SAFETY: a null name asks for an anonymous keyring; no memory is passed.
    match check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0) }) {
        Ok(_) => Ok(true),
        Err(Errno::NOSYS | Errno::DQUOT | Errno::PERM | Errno::ACCESS) => Ok(false),
        Err(errno) => Err(errno).named(|| "keyctl(JOIN_SESSION_KEYRING)".to_owned()),
    }
}

/// linux/keyctl.h; the crates do not have it.
const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
