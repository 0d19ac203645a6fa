//! The network of a container: its interface, its names, its ports, and who carries its packets
//! (docs/design/015-network.md). Nothing here knows docker's words.

pub mod dns;
