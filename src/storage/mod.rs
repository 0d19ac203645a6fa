//! The store: content by digest, layers unpacked from it and packed again, what may be deleted.

pub mod archive;
pub mod blobs;
pub mod changes;
pub mod compression;
pub mod copy;
pub mod digest;
pub mod frames;
pub mod gc;
pub mod layers;
pub mod lock;
pub mod nobody;
pub mod owners;
pub mod ownership;
pub mod pack;
pub mod remove;
pub mod sandbox;
pub mod stack;
pub mod store;
pub mod tar;
pub mod temporary;
pub mod tree;
pub mod unpack;
pub mod usage;
pub mod whiteout;
pub mod worker;
pub mod xattrs;
