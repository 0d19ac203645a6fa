//! An image of one layer, made of an archive of files.

use super::archive::layer_type;
use super::catalog::Catalog;
use super::make::{self, About, Layer};
use super::manifest::Descriptor;
use super::reference::Reference;
use super::view::Image;
use crate::storage::compression::{BUFFER, Compression, Encoder, detect};
use crate::storage::store::Store;
use crate::storage::temporary;
use anyhow::Result;
use std::io::{Read, Write};

/// Reads a tar stream, which may be packed, and makes an image of it; what is not packed is. The stream is unpacked
/// while it comes.
pub fn import(store: &Store, source: impl Read, name: Option<&Reference>, about: About) -> Result<Image> {
    let _in_use = store.in_use()?;
    // What cannot be removed is no reason not to go on: `system check` tells of it.
    let _ = temporary::sweep(store);
    let (compression, mut source) = detect(source)?;
    // What is packed already stays as it is.
    let (packed_with, kept) = match compression {
        Compression::Plain => (Compression::Gzip, Compression::Gzip),
        other => (Compression::Plain, other),
    };
    let mut blob = Encoder::new(store.blobs().writer_of_new()?, packed_with, None)?;
    let mut files = store.layers().unpack()?;
    let mut buffer = vec![0; BUFFER];
    loop {
        match source.read(&mut buffer)? {
            0 => break,
            length => {
                blob.write_all(&buffer[..length])?;
                files.write(&buffer[..length])?;
            }
        }
    }
    let unpacked = files.finish_new()?;
    let blob = blob.finish()?;
    let size = blob.length();
    let descriptor = Descriptor::new(layer_type(kept), blob.finish()?, size);
    store.layers().note(&unpacked.diff_id, &descriptor.digest)?;
    let layer = Layer { descriptor, diff_id: unpacked.diff_id };
    let image = make::make(store, None, Some(layer), about)?;
    match name {
        Some(name) => Catalog::new(store).set(name, &image.descriptor)?,
        None => Catalog::new(store).add(&image.descriptor)?,
    }
    Ok(image)
}
