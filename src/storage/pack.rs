//! From directories to layers and archives. The work is done by a worker that sees these directories and nothing else
//! (`storage/archive.rs`); the caller gets the archive as it comes.

use super::archive::{Form, Report};
use super::compression::{BUFFER, Compression, Encoder};
use super::digest::Digest;
use super::frames;
use super::store::Store;
use super::tree::Tree;
use super::worker::Task;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::io::{BufWriter, Write};
use std::path::PathBuf;

/// What is packed. Layers are directories with their files, the topmost first; those of the store know the owners of
/// what is in them (`storage/owners.rs`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// What a container has changed, as a layer: for `commit`.
    Changes {
        /// Its own directory: overlay's upper one.
        upper: PathBuf,
        /// What is below.
        layers: Vec<PathBuf>,
    },
    /// A root filesystem as it is seen: for `export`; in a store, for `import` of a directory.
    Whole {
        /// What a container has changed, if it is part of it.
        upper: Option<PathBuf>,
        /// What is below. A root filesystem that is one directory is one layer.
        layers: Vec<PathBuf>,
    },
}

/// An archive that was packed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed {
    /// Its digest (without compression).
    pub diff_id: Digest,
    /// Its length, likewise.
    pub size: u64,
    /// What is in it, and what is not.
    pub report: Report,
}

/// A layer in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Its digest, compressed as it is.
    pub digest: Digest,
    /// Its length, likewise.
    pub size: u64,
    /// What was packed.
    pub packed: Packed,
}

/// Packs a tree and gives the archive to `sink` in pieces of up to 256 KiB. The store has to be opened with the ids of
/// the container. An error of `sink` ends the work.
///
/// Fails on files of ids that the container does not have; in a layer, on names that begin with `.wh.`; and on what is
/// beyond the limits of unpacking.
pub fn pack(store: &Store, what: &What, sink: impl FnMut(&[u8]) -> Result<()>) -> Result<Packed> {
    let form = match what {
        What::Changes { .. } => Form::Changes,
        What::Whole { .. } => Form::Files,
    };
    packed(store, what, form, sink)
}

/// Packs a tree as a layer of the store: a blob, packed with `compression` (`level`: see [`Encoder::new`]). Nobody
/// names it yet: the caller holds [`Store::in_use`].
pub fn pack_to_blob(store: &Store, what: &What, compression: Compression, level: Option<i32>) -> Result<Blob> {
    let form = match what {
        What::Changes { .. } => Form::Changes,
        What::Whole { .. } => Form::Layer,
    };
    // What compressors give comes in small pieces.
    let writer = BufWriter::with_capacity(BUFFER, store.blobs().writer_of_new()?);
    let mut encoder = Encoder::new(writer, compression, level)?;
    let packed = packed(store, what, form, |piece| Ok(encoder.write_all(piece)?))?;
    let writer = encoder.finish()?.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    let size = writer.length();
    Ok(Blob { digest: writer.finish()?, size, packed })
}

fn packed(store: &Store, what: &What, form: Form, sink: impl FnMut(&[u8]) -> Result<()>) -> Result<Packed> {
    let tree = match what {
        What::Changes { upper, layers } => Tree::new(store, Some(upper), layers),
        What::Whole { upper, layers } => Tree::new(store, upper.as_deref(), layers),
    };
    frames::run(&Task::Pack { tree, form }, sink).context("pack")
}
