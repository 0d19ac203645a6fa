//! Images: names, registries, manifests.

pub mod credentials;
pub mod reference;
pub mod registry;
