//! Archives, unpacked and packed again. It is done in this process, with what the sandbox would leave out in reach
//! (`tests/unpack.rs` has the whole worker), and best as root of a user namespace, as `scripts/fuzz` does it.

use super::{Target, kind_of, tar};
use crate::storage::archive::{self, Form};
use crate::storage::nobody;
use crate::storage::ownership::Ownership;
use crate::storage::stack::Stack;
use crate::storage::tar::{Entry, Kind, Reader, Writer};
use crate::storage::unpack::{Owners, Report, unpack};
use crate::storage::{owners, remove};
use crate::sys::path::open_in;
use crate::userns::idmap::{IdMap, IdMaps};
use anyhow::Result;
use rustix::fs::OFlags;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The time of the first entry of an archive that has its entries numbered.
const FIRST: i64 = 1000;

/// A layer among other things.
struct Place {
    dir: tempfile::TempDir,
    layer: OwnedFd,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().expect("a directory");
        fs_err::create_dir(dir.path().join("diff")).expect("made");
        fs_err::create_dir(dir.path().join("other")).expect("made");
        for name in ["precious", "owners", "x", "y", "b"] {
            fs_err::write(dir.path().join(name), "mine").expect("written");
        }
        let layer = crate::sys::mount::place(&dir.path().join("diff")).expect("there");
        Place { dir, layer }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// All that is beside the layer, with what a write would change.
    fn beside(&self) -> BTreeMap<String, Vec<u64>> {
        let entries = fs_err::read_dir(self.dir.path()).expect("readable").map(|entry| entry.expect("an entry"));
        let mut found = BTreeMap::new();
        for entry in entries.filter(|entry| entry.file_name() != "diff") {
            let about = fs_err::symlink_metadata(entry.path()).expect("there");
            let owners = [about.mode(), about.uid(), about.gid()].map(u64::from);
            let times = [about.mtime(), about.ctime(), about.ctime_nsec()].map(|time| time as u64);
            let all = [owners.as_slice(), &times, &[about.ino(), about.size()]].concat();
            found.insert(entry.file_name().to_string_lossy().into_owned(), all);
        }
        found
    }

    /// Unpacks; nothing but the layer is another one after that.
    fn unpack(&self, bytes: &[u8], owners: Owners) -> Result<(Report, Vec<u8>)> {
        let mut table = Vec::new();
        let before = self.beside();
        let result = unpack(bytes, self.layer.as_fd(), owners, &mut table);
        assert_eq!(self.beside(), before);
        assert_eq!(fs_err::read_to_string(self.path("precious")).expect("there"), "mine");
        assert_eq!(fs_err::read_dir(self.path("other")).expect("there").count(), 0);
        let report = result?;
        owners::read(table.as_slice()).expect("a table");
        Ok((report, table))
    }

    /// What is in the layer, as an archive.
    fn pack(&self, table: &[u8]) -> Result<Vec<u8>> {
        let file = tempfile::NamedTempFile::new()?;
        fs_err::write(file.path(), table)?;
        // As in the worker: one id, whatever it is called outside.
        let single = || IdMap::single(0, 0);
        let (_, nobody) = nobody::apart(&IdMaps { uid: single(), gid: single() });
        let ownership = Ownership::new(Owners::Record, nobody, false, vec![Some(file.path().to_owned())]);
        let stack = Stack::new(vec![self.layer.try_clone()?]);
        let mut bytes = Vec::new();
        archive::write(&stack, &ownership, Form::Changes, false, &mut bytes)?;
        Ok(bytes)
    }

    fn empty(&self) {
        fs_err::set_permissions(self.path("diff"), PermissionsExt::from_mode(0o755)).expect("allowed");
        let root = open_in(self.layer.as_fd(), Path::new("."), OFlags::RDONLY | OFlags::DIRECTORY).expect("there");
        remove::contents(root.as_fd()).expect("removed");
        for name in [owners::ATTRIBUTE, "user.overlay.opaque", "user.a"] {
            // There may be none.
            let _ = rustix::fs::fremovexattr(&root, name);
        }
    }
}

fn entries(bytes: &[u8]) -> Vec<(Entry, Vec<u8>)> {
    let mut reader = Reader::new(bytes);
    let mut entries = Vec::new();
    // What was read before an error is an archive, too.
    while let Ok(Some(entry)) = reader.next_entry() {
        let mut data = vec![0; usize::try_from(entry.size).unwrap_or(usize::MAX).min(bytes.len())];
        let mut filled = 0;
        while let Some(length) = reader.read_data(&mut data[filled..]).ok().filter(|length| *length > 0) {
            filled += length;
        }
        data.truncate(filled);
        entries.push((entry, data));
    }
    entries
}

/// The same archive with a number in each entry: its time, its owner, its device are that number.
fn numbered(bytes: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for ((mut entry, data), number) in entries(bytes).into_iter().zip(1..) {
        entry.pieces = None;
        entry.size = data.len() as u64;
        entry.mode |= 0o700;
        (entry.uid, entry.gid, entry.mtime) = (number, number, (FIRST + number as i64, 0));
        entry.device = (number as u32, 0);
        if writer.entry(&entry).is_ok() && entry.kind == Kind::Regular {
            writer.data(&data).expect("as long as announced");
        }
    }
    writer.finish().expect("written")
}

/// Whatever has the time of an entry has its owner.
fn check_numbers(bytes: &[u8], packed: &[u8]) {
    let asked = entries(bytes);
    for (entry, _) in entries(packed) {
        let name = entry.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let number = entry.mtime.0 - FIRST;
        if name.starts_with(b".wh.") || !(1..10_000).contains(&number) {
            continue;
        }
        let source = asked.iter().find(|(asked, _)| asked.mtime == entry.mtime);
        let (source, _) = source.expect("where it is from");
        assert_eq!((entry.uid, entry.gid), (source.uid, source.gid), "{entry:?} is from {source:?}");
        assert!(entry.kind == source.kind || entry.kind == Kind::Hardlink, "{entry:?} is from {source:?}");
        if matches!(entry.kind, Kind::CharDevice | Kind::BlockDevice) {
            assert_eq!(entry.device, source.device);
        }
    }
}

fn test(place: &Place, bytes: &[u8]) -> Result<(u64, u64, u64), String> {
    // An input is run in the same way each time.
    let owners = [Owners::Record, Owners::Record, Owners::Set, Owners::Overflow(0)][bytes.len() / 512 % 4];
    let first = place.unpack(bytes, owners);
    place.empty();
    let (report, _) = first.map_err(|error| kind_of(&error))?;
    let bytes = numbered(bytes);
    let packed = place.unpack(&bytes, Owners::Record).and_then(|(_, table)| place.pack(&table));
    place.empty();
    let packed = packed.map_err(|error| kind_of(&error))?;
    check_numbers(&bytes, &packed);
    // What was packed comes out as it went in.
    let (_, table) = place.unpack(&packed, Owners::Record).expect("rbox's own archive");
    let again = place.pack(&table).expect("packed before");
    place.empty();
    let shown = |bytes: &[u8]| entries(bytes).into_iter().map(|(entry, _)| entry).collect::<Vec<_>>();
    assert!(packed == again, "{:#?}\n{:#?}", shown(&packed), shown(&again));
    Ok((report.entries, report.devices, report.attributes))
}

#[test]
fn fuzz_unpack() {
    let place = Place::new();
    let mut seeds = tar::seeds();
    // Links that lead to what is beside the layer, and what goes through them.
    let beside = place.path("");
    let beside = beside.to_str().expect("text");
    for target in ["..", "../..", "/", beside, "/proc/self/cwd", "../precious", "missing/..", "a", "b"] {
        let through = [
            tar::Part::new(b"link", b'2', target.as_bytes(), b""),
            tar::Part::new(b"link/precious", b'0', b"", b"theirs"),
            tar::Part::new(b"link/x/", b'5', b"", b""),
            tar::Part::new(b"link/x/fifo", b'6', b"", b""),
            tar::Part::new(b"link/null", b'3', b"", b""),
            tar::Part::new(b"hard", b'1', b"link/precious", b""),
            tar::Part::new(b"link", b'0', b"", b"theirs"),
            tar::Part::new(b"link/.wh.precious", b'0', b"", b""),
        ];
        seeds.push(tar::join(&through[..6]));
        seeds.push(tar::join(&through));
    }
    let target = Target { name: "unpack", seeds, words: &[], longest: 64 << 10, mutate: Some(tar::mutate) };
    target.run(|bytes| test(&place, bytes));
}
