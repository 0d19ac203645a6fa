//! Whose a file of a stack is, as the image has it.
//!
//! Runs in: the sandbox of `storage/sandbox.rs`.
//!
//! On disk, where the ids of the container are mapped. Where there is one id the owner is in an attribute and in the
//! table of the layer (`storage/owners.rs`). What overlay copies up keeps its attributes and loses its place in the
//! table: what is the same in a lower layer still belongs to whom it belonged there.

use super::nobody::Nobody;
use super::owners::{self, Recorded};
use super::stack::{self, Stack};
use super::unpack::Owners;
use crate::error::Advise;
use anyhow::{Context, Result, anyhow};
use rustix::fs::{FileType, Stat};
use std::cell::OnceCell;
use std::collections::HashMap;
use std::io::BufReader;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// An owner, and what an empty file stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The device that it is: c or b, major and minor number.
    pub device: Option<(char, u32, u32)>,
}

/// Knows the owners of all files of a stack.
#[derive(Debug)]
pub struct Ownership {
    owners: Owners,
    nobody: Nobody,
    /// The first of the stack is what a container has changed.
    upper: bool,
    tables: Vec<Option<Table>>,
}

#[derive(Debug)]
struct Table {
    file: PathBuf,
    lines: OnceCell<HashMap<Vec<u8>, Recorded>>,
    /// What the table says of files with several names, of which it has one: by device and inode.
    nodes: OnceCell<HashMap<(u64, u64), Recorded>>,
}

impl Ownership {
    /// `tables`: where the owners are written down, for each directory of the stack that has such a table.
    pub fn new(owners: Owners, nobody: Nobody, upper: bool, tables: Vec<Option<PathBuf>>) -> Ownership {
        let table = |file| Table { file, lines: OnceCell::new(), nodes: OnceCell::new() };
        let tables = tables.into_iter().map(|file| file.map(table)).collect();
        Ownership { owners, nobody, upper, tables }
    }

    /// True if an owner may be in the attribute [`owners::ATTRIBUTE`], which is then no attribute of the image.
    pub fn in_attributes(&self) -> bool {
        self.owners == Owners::Record
    }

    /// The ids on disk. One that is not mapped is an error.
    pub fn on_disk(&self, stat: &Stat) -> Result<(u32, u32)> {
        self.nobody.ids(stat.st_uid, stat.st_gid).map_or_else(
            || {
                Err(anyhow!("belongs to a user or group that the container does not have")).hint(|| {
                    "it is owned by an id of the host outside of the container's range: change its owner, or leave it out"
                        .to_owned()
                })
            },
            Ok,
        )
    }

    /// The owner of what a layer has at a path. `attribute`: the value of [`owners::ATTRIBUTE`], if it has one.
    pub fn of(&self, stack: &Stack, layer: usize, path: &Path, stat: &Stat, attribute: Option<&[u8]>) -> Result<Owner> {
        let (uid, gid) = self.on_disk(stat)?;
        let mut recorded = self.recorded(stack, layer, path, stat)?;
        if recorded.is_none() && self.upper && layer == 0 {
            recorded = self.before_it_was_copied(stack, path, stat)?;
        }
        let could_be_device = is_empty_file(stat);
        // A device that is something else by now was replaced.
        let recorded = recorded.filter(|recorded| recorded.device.is_none() || could_be_device);
        let device = recorded.and_then(|recorded| recorded.device);
        let (uid, gid) = match (self.owners, recorded) {
            (Owners::Set, _) => (uid, gid),
            (_, Some(recorded)) => (recorded.uid, recorded.gid),
            (Owners::Record, None) => attribute.and_then(owners::of_attribute).unwrap_or((uid, gid)),
            (Owners::Overflow(_), None) => (uid, gid),
        };
        Ok(Owner { uid, gid, device })
    }

    /// What the layer's table says.
    fn recorded(&self, stack: &Stack, layer: usize, path: &Path, stat: &Stat) -> Result<Option<Recorded>> {
        let Some(table) = self.tables.get(layer).and_then(Option::as_ref) else { return Ok(None) };
        let lines = get(&table.lines, || table.read())?;
        if let Some(recorded) = lines.get(path.as_os_str().as_bytes()) {
            return Ok(Some(*recorded));
        }
        if stat.st_nlink < 2 || FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Ok(None);
        }
        let nodes = get(&table.nodes, || nodes(stack, layer, lines))?;
        Ok(nodes.get(&(stat.st_dev, stat.st_ino)).copied())
    }

    /// What is recorded of the same thing in the layers below.
    fn before_it_was_copied(&self, stack: &Stack, path: &Path, stat: &Stat) -> Result<Option<Recorded>> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let may_be = match (self.owners, kind) {
            // The attribute has been copied, or there was none.
            (Owners::Record, FileType::Symlink | FileType::Fifo) => true,
            (Owners::Overflow(_), _) => true,
            _ => is_empty_file(stat),
        };
        if !may_be || self.tables.iter().all(Option::is_none) {
            return Ok(None);
        }
        let Some((layer, lower)) = stack.find(stack.from(1), path)? else { return Ok(None) };
        let same = FileType::from_raw_mode(lower.st_mode) == kind
            && (lower.st_uid, lower.st_gid) == (stat.st_uid, stat.st_gid)
            && (kind != FileType::Symlink || target(stack, 0, path)? == target(stack, layer, path)?);
        if !same {
            return Ok(None);
        }
        let recorded = self.recorded(stack, layer, path, &lower)?;
        // Of files with attributes only the device is known from below.
        Ok(recorded.filter(|recorded| {
            recorded.device.is_some() || kind != FileType::RegularFile || matches!(self.owners, Owners::Overflow(_))
        }))
    }
}

impl Table {
    fn read(&self) -> Result<HashMap<Vec<u8>, Recorded>> {
        match fs_err::File::open(&self.file) {
            Ok(file) => owners::read(BufReader::new(file)).context("table of owners"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(HashMap::new()),
            Err(error) => Err(error.into()),
        }
    }
}

fn get<T>(cell: &OnceCell<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let made = make()?;
    Ok(cell.get_or_init(|| made))
}

fn nodes(stack: &Stack, layer: usize, lines: &HashMap<Vec<u8>, Recorded>) -> Result<HashMap<(u64, u64), Recorded>> {
    let mut nodes = HashMap::new();
    for (path, recorded) in lines {
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
        let Some(directory) = stack.open(layer, parent)? else { continue };
        if let Some(stat) = stack::stat(directory.as_fd(), name)?.filter(|stat| stat.st_nlink > 1) {
            nodes.insert((stat.st_dev, stat.st_ino), *recorded);
        }
    }
    Ok(nodes)
}

fn target(stack: &Stack, layer: usize, path: &Path) -> Result<Option<Vec<u8>>> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
    let Some(directory) = stack.open(layer, parent)? else { return Ok(None) };
    Ok(rustix::fs::readlinkat(&directory, name, Vec::new()).ok().map(|target| target.into_bytes()))
}

fn is_empty_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_size == 0
}
