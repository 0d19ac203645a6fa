//! Networks that containers share (docs/design/016-user-networks.md): bridges in a network namespace of their own, kept by a
//! process that ends with the last container.

pub mod client;
pub mod definition;
pub mod desk;
pub mod hardware;
pub mod inside;
pub mod joined;
pub mod keeper;
pub mod leases;
pub mod message;
pub mod netavark;
pub mod rules;
pub mod subnet;
