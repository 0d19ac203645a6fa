//! One verb a file: what can be done with containers. Returns data and prints nothing.

pub mod changed;
pub mod config;
pub mod container;
pub mod create;
pub mod etc;
pub mod ids;
pub mod images;
pub mod inspect;
pub mod login;
pub mod names;
pub mod network;
pub mod networks;
pub mod overlay;
pub mod port;
pub mod push;
pub mod record;
pub mod remove;
pub mod root;
pub mod said;
pub mod scratch;
pub mod search;
pub mod skeleton;
pub mod system;
pub mod unshare;
pub mod volumes;
