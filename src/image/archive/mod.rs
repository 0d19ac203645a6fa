//! Images in archives: docker's (`manifest.json` beside what it names), OCI's (an image layout in a tar), and the layout
//! as a directory.
//!
//! | file | what it is |
//! | --- | --- |
//! | `content.rs` | the files of an archive, taken into the store |
//! | `load.rs` | which images they are |
//! | `save.rs` | the other way |

mod content;
pub mod load;
pub mod save;

use super::manifest::{OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD};
use crate::storage::compression::Compression;

/// The file that says that a directory is an OCI image layout (image-layout.md).
const LAYOUT: &str = "oci-layout";
/// What is in it.
const INDEX: &str = "index.json";
/// docker's list of images.
const MANIFEST: &str = "manifest.json";
/// containerd's annotation with the whole name of an image; the other one has only the tag in docker's archives.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// How a layer that is packed like this is called.
pub fn layer_type(compression: Compression) -> &'static str {
    match compression {
        Compression::Plain => OCI_LAYER,
        Compression::Gzip => OCI_LAYER_GZIP,
        Compression::Zstd => OCI_LAYER_ZSTD,
    }
}
