//! The store: content by digest, layers unpacked from it, what may be deleted.

pub mod compression;
pub mod digest;
pub mod lock;
pub mod owners;
pub mod remove;
pub mod sandbox;
pub mod tar;
pub mod unpack;
pub mod worker;
