//! The OCI distribution protocol (distribution-spec, spec.md), as far as images need it.
//!
//! | file | what it is |
//! | --- | --- |
//! | `client.rs` | requests: redirects, retries, authentication, what never leaves for another host |
//! | `challenge.rs`, `token.rs` | what a registry asks for before it answers, and how that is had |
//! | `tls.rs` | which certificates count |
//! | `manifests.rs`, `blobs.rs` | the two kinds of things that a repository has |

mod blobs;
mod challenge;
mod client;
mod manifests;
mod tls;
mod token;

pub use client::{Access, Client, Status, status};
pub use manifests::{Fetched, MAX_MANIFEST};
