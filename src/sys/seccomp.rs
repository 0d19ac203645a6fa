//! Loading a seccomp filter.

use super::{Named, Result, check};
use crate::seccomp::filter::Instruction;

/// Loads a filter for this process and all that it becomes or makes (seccomp(2)). Needs no_new_privs or CAP_SYS_ADMIN
/// in the user namespace. `flags`: SECCOMP_FILTER_FLAG_* but NEW_LISTENER.
pub fn load(program: &[Instruction], flags: u32) -> Result<()> {
    #[repr(C)]
    struct Program {
        length: u16,
        instructions: *const Instruction,
    }
    let length = u16::try_from(program.len()).unwrap_or(u16::MAX);
    let argument = Program { length, instructions: program.as_ptr() };
    // SAFETY: `argument` has the layout of sock_fprog and points at `length` instructions in the layout of
    // sock_filter; the kernel copies them during the call and checks them.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const argument) })
        .named(|| format!("seccomp({length} instructions)"))?;
    Ok(())
}
