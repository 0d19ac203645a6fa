//! Images: names, registries, manifests, and how they come and go.

pub mod catalog;
pub mod credentials;
pub mod manifest;
pub mod pull;
pub mod reference;
pub mod registry;
pub mod view;
