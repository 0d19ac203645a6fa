//! One verb a file: what can be done with containers. Returns data and prints nothing.

pub mod create;
pub mod ids;
pub mod images;
pub mod overlay;
pub mod record;
pub mod root;
pub mod said;
pub mod unshare;
pub mod volumes;
