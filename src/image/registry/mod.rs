//! The OCI distribution protocol (distribution-spec, spec.md), as far as images need it.
//!
//! | file | what it is |
//! | --- | --- |
//! | `client.rs` | requests: redirects, authentication, what never leaves for another host |
//! | `address.rs`, `answer.rs` | where an answer leads; what it says when it is none, and when to ask again |
//! | `agent.rs`, `proxy.rs`, `tls.rs` | HTTP: time limits, the proxy on the way, which certificates count |
//! | `challenge.rs`, `token.rs` | what a registry asks for before it answers, and how that is had |
//! | `login.rs` | whether credentials are taken |
//! | `manifests.rs`, `blobs.rs`, `uploads.rs` | the two kinds of things that a repository has |
//! | `lists.rs`, `search.rs` | what there is |
//! | `file.rs` | any file, for `import` |

mod address;
mod agent;
mod answer;
mod blobs;
mod challenge;
mod client;
mod file;
mod lists;
mod login;
mod manifests;
mod proxy;
mod search;
mod tls;
mod token;
mod uploads;

pub use answer::{Status, status};
pub use client::{Access, Client};
pub use file::fetch;
pub use manifests::{Fetched, MAX_MANIFEST};
pub use search::{Found, search_hub};
pub use uploads::Pushed;
