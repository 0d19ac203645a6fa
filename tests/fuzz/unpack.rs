//! A hostile archive, unpacked: nothing appears outside of the layer's directory. It is done in this process, with what the
//! sandbox would leave out in reach (`tests/unpack.rs` has the whole worker), and best as root of a user namespace, as
//! `scripts/fuzz` does it.

use super::{Target, kind_of, tar};
use crate::storage::unpack::{Owners, unpack};
use crate::storage::{owners, remove};
use crate::sys::path::open_in;
use rustix::fs::OFlags;
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// All that is beside the layer, with what a write would change.
fn beside(dir: &Path) -> BTreeMap<String, Vec<u64>> {
    let entries = fs_err::read_dir(dir).expect("readable").map(|entry| entry.expect("an entry"));
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

#[test]
fn fuzz_unpack() {
    let dir = tempfile::tempdir().expect("a directory");
    let diff = dir.path().join("diff");
    fs_err::create_dir(&diff).expect("made");
    fs_err::create_dir(dir.path().join("other")).expect("made");
    for name in ["precious", "owners", "x", "y", "b"] {
        fs_err::write(dir.path().join(name), "mine").expect("written");
    }
    let place = crate::sys::mount::place(&diff).expect("there");
    let before = beside(dir.path());
    let mut seeds = tar::seeds();
    // Links that lead to what is beside the layer, and what goes through them.
    for target in
        ["..", "../..", "/", dir.path().to_str().expect("text"), "/proc/self/cwd", "../precious", "missing/.."]
    {
        let through = [
            tar::Part::new(b"link", b'2', target.as_bytes(), b""),
            tar::Part::new(b"link/precious", b'0', b"", b"theirs"),
            tar::Part::new(b"link/x/", b'5', b"", b""),
            tar::Part::new(b"hard", b'1', b"link/precious", b""),
            tar::Part::new(b"link", b'0', b"", b"theirs"),
            tar::Part::new(b"link/.wh.precious", b'0', b"", b""),
        ];
        seeds.push(tar::join(&through));
    }
    let target = Target { name: "unpack", seeds, words: &[], longest: 64 << 10, mutate: Some(tar::mutate) };
    target.run(|bytes| {
        let mut table = Vec::new();
        let result = unpack(bytes, place.as_fd(), Owners::Record, &mut table);
        // Its mtime is the archive's.
        assert_eq!(beside(dir.path()), before);
        assert_eq!(fs_err::read_to_string(dir.path().join("precious")).expect("there"), "mine");
        assert_eq!(fs_err::read_dir(dir.path().join("other")).expect("there").count(), 0);
        if result.is_ok() {
            owners::read(table.as_slice()).expect("a table");
        }
        fs_err::set_permissions(&diff, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("allowed");
        let root = open_in(place.as_fd(), Path::new("."), OFlags::RDONLY | OFlags::DIRECTORY).expect("there");
        remove::contents(root.as_fd()).expect("removed");
        for name in [owners::ATTRIBUTE, "user.overlay.opaque", "user.a"] {
            // There may be none.
            let _ = rustix::fs::fremovexattr(&root, name);
        }
        result.map(|report| (report.entries, report.devices, report.attributes)).map_err(|error| kind_of(&error))
    });
}
