//! One file of a root filesystem that the caller himself may not read.

use super::stack::Stack;
use super::store::Store;
use super::tree::Tree;
use super::worker::{self, Task};
use crate::sys::path::read_in;
use anyhow::{Context, Result};
use rustix::io::Errno;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// A file of some layers, the topmost first, as an overlay of them would show it, as text; `None` if there is none. It is
/// read by root of the store's ids. `limit`: as many bytes at most.
pub fn read(store: &Store, layers: &[PathBuf], file: &Path, limit: usize) -> Result<Option<String>> {
    let path = file.strip_prefix("/").unwrap_or(file).to_owned();
    let mut child = worker::start(&Task::ReadFile { tree: Tree::new(store, None, layers), path, limit })?;
    drop(child.stdin.take());
    worker::result(child)
}

/// The worker's part.
pub fn in_stack(stack: &Stack, path: &Path, limit: usize) -> Result<Option<String>> {
    let Some((layer, _)) = stack.find(stack.from(0), path)? else { return Ok(None) };
    let root = stack.open(layer, Path::new(""))?.context("a layer without a root")?;
    match read_in(root.as_fd(), path, limit) {
        Err(error) if error.errno == Errno::INVAL => Ok(None),
        bytes => Ok(bytes?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())),
    }
}
