//! User namespaces: which ids a container has, and how they are written into the kernel.

pub mod idmap;
pub mod run;
pub mod subid;
pub mod write;
