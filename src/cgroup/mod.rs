//! Control groups, version 2: where a container's may be, what it is limited to, what it uses.
//!
//! Runs in: the host's namespaces.

mod bus;
pub mod group;
pub mod list;
pub mod mounted;
pub mod place;
pub mod scope;
pub mod setting;
pub mod usage;
