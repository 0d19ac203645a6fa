//! The store: content by digest, layers unpacked from it, what may be deleted.

pub mod blobs;
pub mod compression;
pub mod copy;
pub mod digest;
pub mod layers;
pub mod lock;
pub mod owners;
pub mod remove;
pub mod sandbox;
pub mod store;
pub mod tar;
pub mod temporary;
pub mod unpack;
pub mod usage;
pub mod whiteout;
pub mod worker;
