//! Which images there are: `index.json` of the OCI layout, with a name for each (image-layout.md, "index.json file").
//!
//! Readers take no lock: the file is replaced as a whole. Writers take turns.

use super::manifest::{Descriptor, NAME};
use super::reference::Reference;
use crate::error::Advise;
use crate::storage::digest::Digest;
use crate::storage::store::{EMPTY_INDEX, Store};
use crate::storage::temporary::Temporary;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    manifests: Vec<Descriptor>,
}

/// The images of a store.
#[derive(Debug, Clone, Copy)]
pub struct Catalog<'a> {
    store: &'a Store,
}

impl<'a> Catalog<'a> {
    /// Those of this store.
    pub fn new(store: &'a Store) -> Catalog<'a> {
        Catalog { store }
    }

    fn path(&self) -> PathBuf {
        self.store.index()
    }

    fn read(&self) -> Result<Index> {
        let path = self.path();
        let read = || -> Result<Index> {
            let text = fs_err::read(&path)?;
            serde_json::from_slice(&text).with_context(|| path.display().to_string())
        };
        read().hint(|| "`rbox system check --repair` makes the list of images again".to_owned())
    }

    /// All of them. One may have several names, each an entry of its own, or none.
    pub fn all(&self) -> Result<Vec<Descriptor>> {
        Ok(self.read()?.manifests)
    }

    /// The image of this name.
    pub fn find(&self, name: &Reference) -> Result<Option<Descriptor>> {
        let name = name.to_string();
        Ok(self.all()?.into_iter().find(|entry| entry.annotations.get(NAME) == Some(&name)))
    }

    /// Gives an image a name, which another one may have had; that one goes on without.
    pub fn set(&self, name: &Reference, descriptor: &Descriptor) -> Result<()> {
        self.change(|entries| {
            let text = name.to_string();
            let mut replaced = None;
            entries.retain(|entry| {
                let is_it = entry.annotations.get(NAME) == Some(&text);
                if is_it && entry.digest != descriptor.digest {
                    replaced = Some(entry.clone());
                }
                !is_it && (entry.digest != descriptor.digest || entry.annotations.contains_key(NAME))
            });
            if let Some(mut old) = replaced.filter(|old| !entries.iter().any(|entry| entry.digest == old.digest)) {
                old.annotations.remove(NAME);
                entries.push(old);
            }
            let mut named = descriptor.clone();
            named.annotations.insert(NAME.to_owned(), text);
            entries.push(named);
            Ok(())
        })
    }

    /// Takes in an image without a name, unless it is there.
    pub fn add(&self, descriptor: &Descriptor) -> Result<()> {
        self.change(|entries| {
            if !entries.iter().any(|entry| entry.digest == descriptor.digest) {
                entries.push(descriptor.clone());
            }
            Ok(())
        })
    }

    /// Takes a name away. The image goes on without one if it has no other and `keep`.
    pub fn unset(&self, name: &Reference, keep: bool) -> Result<Descriptor> {
        let mut found = None;
        self.change(|entries| {
            let text = name.to_string();
            let Some(at) = entries.iter().position(|entry| entry.annotations.get(NAME) == Some(&text)) else {
                bail!("no such image: {text}");
            };
            let mut entry = entries.remove(at);
            entry.annotations.remove(NAME);
            if keep && !entries.iter().any(|other| other.digest == entry.digest) {
                entries.push(entry.clone());
            }
            found = Some(entry);
            Ok(())
        })?;
        found.context("no such image")
    }

    /// Takes an image away, with all of its names.
    pub fn remove(&self, digest: &Digest) -> Result<()> {
        self.change(|entries| {
            entries.retain(|entry| entry.digest != *digest);
            Ok(())
        })
    }

    /// Takes an image away, unless it has a name, such as one that it was given a moment ago. True if it is gone.
    pub fn remove_nameless(&self, digest: &Digest) -> Result<bool> {
        self.change(|entries| {
            if !entries.iter().any(|entry| entry.digest == *digest && entry.annotations.contains_key(NAME)) {
                entries.retain(|entry| entry.digest != *digest);
            }
            Ok(())
        })?;
        Ok(!self.all()?.iter().any(|entry| entry.digest == *digest))
    }

    /// Puts an index that cannot be read aside, as `index.json.damaged`, and begins an empty one.
    pub fn begin_anew(&self) -> Result<()> {
        let _turn = self.store.for_the_index()?;
        let path = self.path();
        match fs_err::rename(&path, path.with_extension("json.damaged")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let file = Temporary::file(self.store)?;
        file.write(EMPTY_INDEX.as_bytes())?;
        file.sync()?;
        file.replace(&path)
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Descriptor>) -> Result<()>) -> Result<()> {
        let _turn = self.store.for_the_index()?;
        let mut index = self.read()?;
        change(&mut index.manifests)?;
        let file = Temporary::file(self.store)?;
        file.write(&serde_json::to_vec(&index)?)?;
        file.sync()?;
        file.replace(&self.path())
    }
}
