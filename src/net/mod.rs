//! The network of a container: its interface, its names, its ports, and who carries its packets
//! (docs/design/015-network.md). Nothing here knows docker's words.

pub mod carrier;
pub mod child;
pub mod closed;
pub mod dns;
pub mod helper;
pub mod holder;
pub mod keeper;
pub mod link;
pub mod pings;
pub mod port;
pub mod porter;
pub mod relay;
pub mod service;
pub mod shared;
pub mod unsent;
pub mod uplink;
