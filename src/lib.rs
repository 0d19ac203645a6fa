//! rbox runs containers for people who have no root.
//!
//! The modules are layers: each may use those above it in this list and none below (`tests/layers.rs` holds that).
//! `docs/architecture.md` walks through them along the life of one `rbox run`.

pub mod cli;
pub mod engine;
pub mod error;
pub mod oci;
pub mod paths;
pub mod runtime;
pub mod seccomp;
pub mod spec;
pub mod supervisor;
pub mod sys;
pub mod userns;
