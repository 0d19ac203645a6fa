//! From what a user asks to the OCI Spec: no system calls, no I/O.
//!
//! [`build::build`] is the waist between docker's words and the runtime. The grammars of single options are beside it,
//! one file each.

pub mod annotation;
pub mod bind;
pub mod build;
pub mod capability;
pub mod csv;
pub mod defaults;
pub mod device;
pub mod env;
pub mod host;
pub mod idmapping;
pub mod masks;
pub mod merged;
pub mod mount;
pub mod mounts;
pub mod name;
pub mod namespace;
pub mod options;
pub mod path;
pub mod process;
pub mod seccomp;
pub mod security;
pub mod signal;
pub mod size;
pub mod sysctl;
pub mod tmpfs;
pub mod ulimit;
pub mod user;
pub mod userns;
pub mod volume;
