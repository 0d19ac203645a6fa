//! The store: content by digest, layers unpacked from it, what may be deleted.

pub mod digest;
pub mod owners;
pub mod tar;
pub mod unpack;
