//! Images: names, registries, manifests.

pub mod reference;
