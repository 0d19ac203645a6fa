//! Starts containers from an OCI Spec and from nothing else.
//!
//! `create.rs` is the outside, `init.rs` the inside; `sync.rs` draws how they talk. Nobody here knows docker's words,
//! images or registries.

pub mod bundle;
pub mod capability;
pub mod create;
pub mod devices;
pub mod exec;
pub mod extra;
pub mod fence;
pub mod fuse;
mod holder;
pub mod hooks;
pub mod init;
pub mod joiner;
mod made;
pub mod mount_options;
pub mod mounts;
pub mod namespaces;
pub mod network;
pub mod overlay;
pub mod payload;
pub mod prepared;
pub mod reaper;
pub mod rlimit;
pub mod rootfs;
pub mod seccomp;
pub mod signal;
pub mod state;
pub mod sync;
pub mod sysctl;
pub mod visitor;
pub mod volume;
