//! The store: content by digest, layers unpacked from it, what may be deleted.

pub mod digest;
pub mod tar;
