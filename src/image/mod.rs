//! Images: names, registries, manifests, and how they come and go.

pub mod catalog;
pub mod credentials;
pub mod manifest;
pub mod pull;
pub mod push;
pub mod reference;
pub mod registries;
pub mod registry;
pub mod transfers;
pub mod view;
