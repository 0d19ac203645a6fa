//! Images: names, registries, manifests, and how they come and go.

pub mod archive;
pub mod catalog;
pub mod change;
pub mod credentials;
pub mod document;
pub mod find;
pub mod import;
pub mod make;
pub mod manifest;
pub mod pull;
pub mod push;
pub mod reference;
pub mod registries;
pub mod registry;
pub mod roots;
pub mod transfers;
pub mod view;
