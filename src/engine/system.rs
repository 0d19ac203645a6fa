//! The store as a whole: how much is in it, whether it is sound, how it is emptied.

pub mod check;
pub mod df;
pub mod reset;
