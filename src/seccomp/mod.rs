//! seccomp: which system calls a container may make (seccomp(2)).
//!
//! A [`Filter`] says so in names and conditions; [`compile()`] makes of it what the kernel takes. Where there is no
//! other, the [`profile`] that is built in applies. The build script compiles it for the usual capabilities already, so
//! that a start only has to load it: loading, not the running, is what a filter costs.
//!
//! | file | what it is |
//! | --- | --- |
//! | `default.profile` | the built-in profile, in the format that `text.rs` reads |
//! | `syscalls.table` | names and numbers of system calls |
//! | `generate.rs` | makes tables and programs of these two, in the build script |
//! | `compile.rs` with `ranges.rs` and `writer.rs` | the compiler, shared with the build script |
//! | `filter.rs`, `tables.rs`, `group.rs`, `capability.rs` | the data, likewise shared |

pub mod capability;
pub mod filter;
pub mod profile;
pub mod syscalls;

mod compile;
mod group;
mod ranges;
mod tables;
mod writer;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod text;

pub use compile::{Compiled, Error};
pub use filter::{Action, Arch, Condition, Filter, Instruction, Op, Program, Rule, Syscall};
pub use profile::DEFAULT_PROGRAM;
pub use tables::Tables;

/// Compiles a filter with the numbers of [`syscalls`].
pub fn compile<'a>(filter: &Filter<'a>) -> Result<Compiled<'a>, Error> {
    compile::compile(filter, &syscalls::TABLES)
}
