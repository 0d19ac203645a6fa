//! Names and numbers of system calls, from `syscalls.table`.

use super::filter::Arch;
use super::tables::Tables;

include!(concat!(env!("OUT_DIR"), "/seccomp_tables.rs"));

/// The number of a call, x32's with its bit; `None` if the architecture does not have it.
pub fn number(arch: Arch, name: &str) -> Option<u32> {
    TABLES.number(arch, TABLES.index(name)?)
}

/// The name of a number, x32's with its bit.
pub fn name(arch: Arch, number: u32) -> Option<&'static str> {
    TABLES.name(TABLES.index_of_number(arch, number)?)
}

/// Whether any architecture has a call of this name, also one that rbox does not run on.
pub fn is_known(name: &str) -> bool {
    TABLES.index(name).is_some()
}

/// The number of the newest call that the tables know.
pub const fn newest(arch: Arch) -> u32 {
    TABLES.newest[arch as usize]
}
