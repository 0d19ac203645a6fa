//! From what a user asks to the OCI Spec: no system calls, no I/O.
//!
//! [`build::build`] is the waist between docker's words and the runtime. The grammars of single options are beside it,
//! one file each.

pub mod address;
pub mod annotation;
pub mod bind;
pub mod build;
pub mod capability;
pub mod conflicts;
pub mod csv;
pub mod defaults;
pub mod device;
pub mod env;
pub mod extra_host;
pub mod foreground;
pub mod health;
pub mod host;
pub mod idmapping;
pub mod keys;
pub mod limits;
pub mod log;
pub mod masks;
pub mod merged;
pub mod mount;
pub mod mounts;
pub mod name;
pub mod namespace;
pub mod network;
pub mod options;
pub mod path;
pub mod port;
pub mod process;
pub mod resolver;
pub mod restart;
pub mod sdnotify;
pub mod seccomp;
pub mod security;
pub mod signal;
pub mod size;
pub mod subnet;
pub mod sysctl;
pub mod tmpfs;
pub mod ulimit;
pub mod unit;
pub mod uplink;
pub mod user;
pub mod userns;
pub mod volume;
