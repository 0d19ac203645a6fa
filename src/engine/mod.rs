//! One verb a file: what can be done with containers. Returns data and prints nothing.

pub mod create;
pub mod ids;
pub mod images;
pub mod login;
pub mod push;
pub mod record;
pub mod root;
pub mod said;
pub mod search;
pub mod unshare;
