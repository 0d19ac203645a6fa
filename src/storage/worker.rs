//! The part of the store's work that needs other ids: done in a process of its own, which rbox starts from its own
//! program, because the caller may have threads and a namespace wants one.
//!
//! The caller gives a [`Task`] as an argument and gets one line of JSON on standard output; before it, where a task has
//! more to tell, the pieces of `storage/frames.rs`. An archive comes through standard input.

use super::archive::{self, Form};
use super::compression::{self, BUFFER};
use super::digest::{Algorithm, Digest, Hasher};
use super::frames::{self, Frames};
use super::pack::Packed;
use super::store::if_full;
use super::tree::Tree;
use super::unpack::{self, Owners, Report};
use super::{changes, copy, file, remove, same, sandbox, temporary, usage};
use crate::error::{FAILED, Failure};
use crate::sys::{Alone, Named, fd, mount, process};
use crate::userns::idmap::IdMaps;
use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::ffi::OsStr;
use std::io::{BufReader, BufWriter, IntoInnerError, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// The first argument of a worker. Not a verb of the command line: nobody types it.
pub const ROLE: &str = "storage-worker";

/// The directory of a layer that has its files.
pub const DIFF: &str = "diff";
/// The table of owners beside it.
pub const OWNERS: &str = "owners";

/// What a worker does.
#[derive(Debug, Serialize, Deserialize)]
pub enum Task {
    /// Unpacks the archive on standard input into [`DIFF`] and [`OWNERS`] below an empty directory.
    Unpack {
        /// The directory.
        dir: PathBuf,
        /// The ids of files.
        maps: IdMaps,
        /// What becomes of the owners.
        owners: Owners,
    },
    /// Copies trees, each on top of the one before as layers are, into a new directory.
    Copy {
        /// The lowest first.
        layers: Vec<PathBuf>,
        /// An existing directory.
        dir: PathBuf,
        /// The name of the new one in it, which it has when all is there.
        name: String,
        /// The ids of files.
        maps: IdMaps,
    },
    /// Counts the bytes of the files below a directory.
    Measure {
        /// The directory.
        dir: PathBuf,
        /// The ids of files.
        maps: IdMaps,
    },
    /// Removes everything below a directory.
    Remove {
        /// The directory.
        dir: PathBuf,
        /// The ids of files.
        maps: IdMaps,
    },
    /// Reads one file.
    ReadFile {
        /// Where it is.
        tree: Tree,
        /// Its path, without the slash at the beginning.
        path: PathBuf,
        /// As many bytes at most.
        limit: usize,
    },
    /// Finds the first difference between two trees.
    Compare {
        /// The directories.
        dirs: Vec<PathBuf>,
        /// The ids of files.
        maps: IdMaps,
    },
    /// Packs a tree. Answers in pieces: those of the archive, then [`Packed`].
    Pack {
        /// The tree.
        tree: Tree,
        /// What the archive is for.
        form: Form,
    },
    /// Lists what the upper directory of a tree changes. Answers in pieces: the lines of `storage/changes.rs`.
    Changes {
        /// The tree.
        tree: Tree,
    },
}

/// What was unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpacked {
    /// The digest of the archive without its compression.
    pub diff_id: Digest,
    /// Its length.
    pub size: u64,
    /// What was in it.
    pub report: Report,
}

/// Starts a worker. Its standard input is a pipe.
pub fn start(task: &Task) -> Result<Child> {
    Command::new("/proc/self/exe")
        .arg0("rbox")
        .args([ROLE, &serde_json::to_string(task)?])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("start a worker of the store")
}

/// What a worker that was given all its input says.
pub fn result<T: for<'a> Deserialize<'a>>(child: Child) -> Result<T> {
    let output = child.wait_with_output()?;
    read_answer(&output.stdout, output.status)
}

/// The answer of a worker that has ended.
pub fn read_answer<T: for<'a> Deserialize<'a>>(answer: &[u8], status: ExitStatus) -> Result<T> {
    match serde_json::from_slice::<Answer<T>>(answer) {
        Ok(Answer::Done(done)) => Ok(done),
        Ok(Answer::Failed(failure)) => Err(failure.into()),
        Err(_) => bail!("a worker of the store ended without an answer: {status}"),
    }
}

/// The last thing that a worker says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer<T> {
    /// It is done.
    Done(T),
    /// It is not.
    Failed(Failure),
}

/// The worker: does the task that its argument names. Returns the status of the process.
pub fn main(task: &str) -> Result<u8> {
    let task: Task = serde_json::from_str(task)?;
    let in_pieces = matches!(task, Task::Pack { .. } | Task::Changes { .. });
    work(task).or_else(|error| {
        let failure = Failure::from(&error);
        // If nobody listens any more there is nobody to tell.
        let _ = if in_pieces { frames::failed(failure) } else { answer(&Answer::<()>::Failed(failure)) };
        Ok(FAILED)
    })
}

/// Says the last thing.
pub fn answer<T: Serialize>(answer: &Answer<T>) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, answer)?;
    Ok(out.flush()?)
}

fn work(task: Task) -> Result<u8> {
    let alone = Alone::check()?;
    // The thread that starts a worker waits for it. One whose maker was killed has nobody to work for.
    process::die_with_parent()?;
    ensure!(!fd::hung_up(rustix::stdio::stdout()), "nobody waits for the answer");
    match task {
        Task::Unpack { dir, maps, owners } => sandbox::run(&alone, &maps, &dir, || {
            let _shared = share_root()?;
            // Of what happens here the caller gets the text only.
            let unpacked = if_full(unpack_here(std::io::stdin().lock(), owners), &dir)?;
            answer(&Answer::Done(unpacked))?;
            Ok(0)
        }),
        Task::Copy { layers, dir, name, maps } => {
            // Out of sight once the work begins: their descriptors are what stays.
            let layers: Vec<OwnedFd> = layers.iter().map(|dir| mount::place(dir)).collect::<Result<_, _>>()?;
            sandbox::run(&alone, &maps, &dir, || {
                let (aside, whole) = (Path::new("/.copy"), Path::new("/").join(name));
                // What a killed one left.
                remove::entry(open_root()?.as_fd(), OsStr::new(".copy"))?;
                fs_err::create_dir(aside)?;
                let target = mount::place(aside)?;
                if_full(layers.iter().try_for_each(|layer| copy::layer(layer.as_fd(), target.as_fd())), &dir)?;
                fs_err::rename(aside, whole)?;
                answer(&Answer::Done(()))?;
                Ok(0)
            })
        }
        Task::Measure { dir, maps } => sandbox::run(&alone, &maps, &dir, || {
            answer(&Answer::Done(usage::of_contents(open_root()?.as_fd())?))?;
            Ok(0)
        }),
        Task::Remove { dir, maps } => sandbox::run(&alone, &maps, &dir, || {
            remove::contents(share_root()?.as_fd())?;
            answer(&Answer::Done(()))?;
            Ok(0)
        }),
        Task::ReadFile { tree, path, limit } => tree.read(&alone, |stack, _| {
            answer(&Answer::Done(file::in_stack(stack, &path, limit)?))?;
            Ok(0)
        }),
        Task::Compare { dirs, maps } => sandbox::read(&alone, &maps, &dirs, |places| {
            let [a, b] = places else { bail!("two directories are compared") };
            let difference = same::difference(mount::place(a)?.as_fd(), mount::place(b)?.as_fd())?;
            answer(&Answer::Done(difference))?;
            Ok(0)
        }),
        Task::Pack { tree, form } => tree.read(&alone, |stack, ownership| {
            let sink = Summed { sink: Frames::to_stdout()?, hasher: Hasher::new(Algorithm::Sha256), bytes: 0 };
            let mut sink = BufWriter::with_capacity(BUFFER, sink);
            let report = archive::write(stack, ownership, form, tree.has_upper(), &mut sink)?;
            let Summed { mut sink, hasher, bytes } = sink.into_inner().map_err(IntoInnerError::into_error)?;
            sink.end()?;
            answer(&Answer::Done(Packed { diff_id: hasher.finish(), size: bytes, report }))?;
            Ok(0)
        }),
        Task::Changes { tree } => tree.read(&alone, |stack, _| {
            let mut sink = BufWriter::with_capacity(BUFFER, Frames::to_stdout()?);
            changes::walk(stack, |change, path| Ok(changes::write_line(&mut sink, change, path)?))?;
            sink.into_inner().map_err(IntoInnerError::into_error)?.end()?;
            answer(&Answer::Done(()))?;
            Ok(0)
        }),
    }
}

/// Computes the digest of what goes out.
struct Summed<W> {
    sink: W,
    hasher: Hasher,
    bytes: u64,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let length = self.sink.write(bytes)?;
        self.hasher.update(&bytes[..length]);
        self.bytes += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.sink.flush()
    }
}

fn unpack_here(archive: impl Read, owners: Owners) -> Result<Unpacked> {
    fs_err::create_dir(Path::new("/").join(DIFF))?;
    let root = mount::place(&Path::new("/").join(DIFF))?;
    let table = fs_err::File::create_new(Path::new("/").join(OWNERS))?;
    let packed = Cell::new(0);
    let (_, plain) = compression::decode(Counted { source: archive, bytes: &packed })?;
    let mut hashed = Hashed { source: plain, hasher: Hasher::new(Algorithm::Sha256), bytes: 0, packed: &packed };
    let buffered = BufReader::with_capacity(BUFFER, &mut hashed);
    let report = unpack::unpack(buffered, root.as_fd(), owners, BufWriter::new(table))?;
    let Hashed { hasher, bytes, .. } = hashed;
    // Where it counts: what the layer says is on disk before its name says that it is whole.
    rustix::fs::syncfs(open_root()?).named(|| "syncfs".to_owned())?;
    Ok(Unpacked { diff_id: hasher.finish(), size: bytes, report })
}

/// The directory of the task, with a part in its lock: nobody sweeps it away as long as this process is at it.
fn share_root() -> Result<OwnedFd> {
    let root = open_root()?;
    ensure!(temporary::share(&root)? && !fd::hung_up(rustix::stdio::stdout()), "somebody else removes it");
    Ok(root)
}

fn open_root() -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open("/", flags, Mode::empty()).named(|| "open(/)".to_owned())?)
}

/// Knows how much came in.
struct Counted<'a, R> {
    source: R,
    bytes: &'a Cell<u64>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.source.read(buffer)?;
        self.bytes.set(self.bytes.get() + length as u64);
        Ok(length)
    }
}

/// Computes the digest of what comes out, and gives up on archives that blow up.
struct Hashed<'a, R> {
    source: R,
    hasher: Hasher,
    bytes: u64,
    packed: &'a Cell<u64>,
}

/// gzip cannot do better (zlib's documentation: 1032 to 1); zstd can, for nothing that anybody ships.
const MAX_RATIO: u64 = 1100;
/// Small archives may.
const FREE_OF_RATIO: u64 = 1 << 30;

impl<R: Read> Read for Hashed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.source.read(buffer)?;
        self.hasher.update(&buffer[..length]);
        self.bytes += length as u64;
        if self.bytes > FREE_OF_RATIO && self.bytes / MAX_RATIO > self.packed.get() {
            return Err(std::io::Error::other(format!("unpacks to more than {MAX_RATIO} times its size")));
        }
        Ok(length)
    }
}
