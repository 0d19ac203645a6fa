//! rbox runs containers for people who have no root.
//!
//! The modules are layers: each may use those above it in this list and none below (`tests/layers.rs` holds that).
//! `docs/architecture.md` walks through them along the life of one `rbox run`.

pub mod cgroup;
pub mod cli;
pub mod engine;
pub mod error;
pub mod image;
pub mod net;
pub mod oci;
pub mod paths;
pub mod runtime;
pub mod seccomp;
pub mod spec;
pub mod storage;
pub mod supervisor;
pub mod sys;
pub mod time;
pub mod userns;

// What random input does to whoever reads it: docs/design/014-fuzzing.md.
#[cfg(test)]
#[path = "../tests/fuzz/mod.rs"]
mod fuzz;

/// musl's allocator asks the kernel for pages with nearly every block of some size and gives them back as soon; on the
/// way of a start that is 50 calls and 0.3 ms (docs/design/006-start.md).
#[global_allocator]
static HEAP: sys::heap::Heap = sys::heap::Heap::new();
