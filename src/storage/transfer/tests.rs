//! Streams that want to leave the place that they are for, on the side of the host.

use super::Report;
use super::find::{self, Typed, View};
use super::receive::{self, Goal, Rules, Whose};
use super::send::{self, Form};
use crate::storage::remove;
use crate::storage::tar::{Entry, Kind, Writer};
use crate::sys::mount;
use anyhow::Result;
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

const RULES: Rules = Rules { whose: Whose::Caller, overwrite: false };

fn entry(kind: Kind, path: &str, link: &str) -> Entry {
    Entry {
        kind,
        path: path.into(),
        link: link.into(),
        mode: if kind == Kind::Directory { 0o2755 } else { 0o6644 },
        uid: 7,
        gid: 8,
        mtime: (1000, 5),
        size: if kind == Kind::Regular { 4 } else { 0 },
        pieces: None,
        device: (0, 0),
        xattrs: vec![
            (b"user.mine".to_vec(), b"x".to_vec()),
            (b"user.overlay.opaque".to_vec(), b"y".to_vec()),
            (b"user.rootlesscontainers".to_vec(), b"\x08\x01".to_vec()),
            (b"security.capability".to_vec(), vec![0; 20]),
        ],
    }
}

fn stream(entries: &[Entry]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new()).with_nanoseconds();
    for entry in entries {
        writer.entry(entry).expect("written");
        if entry.kind == Kind::Regular {
            writer.data(b"evil").expect("written");
        }
    }
    writer.finish().expect("written")
}

/// `dir/here` is where streams go, and `dir/outside/file` is not theirs.
fn world() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    for name in ["here/sub", "outside"] {
        fs_err::create_dir_all(dir.path().join(name)).expect("made");
    }
    fs_err::write(dir.path().join("outside/file"), "mine").expect("made");
    symlink("../outside", dir.path().join("here/link")).expect("made");
    dir
}

fn inside(dir: &Path) -> Goal {
    let here = mount::place(dir).expect("there");
    Goal::Directory(remove::open_directory(here.as_fd(), OsStr::new("here")).expect("there"))
}

fn named(dir: &Path, name: &str) -> Goal {
    Goal::Entry(mount::place(&dir.join("here")).expect("there"), name.into())
}

fn names(dir: &Path) -> Vec<String> {
    let all = fs_err::read_dir(dir).expect("there");
    let mut all: Vec<String> =
        all.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    all.sort();
    all
}

#[test]
fn nothing_leaves_its_place() {
    use Kind::{CharDevice, Directory, Hardlink, Regular, Symlink};
    let hostile: [(Vec<Entry>, &str); 13] = [
        (vec![entry(Regular, "../outside/file", "")], "leads out"),
        (vec![entry(Regular, "sub/../../outside/file", "")], "leads out"),
        (vec![entry(Regular, "link/file", "")], "leads out"),
        (vec![entry(Directory, "link/new", "")], "leads out"),
        (vec![entry(Symlink, "a", "/"), entry(Regular, "a/tmp/x", "")], "leads out"),
        (vec![entry(Symlink, "b", ".."), entry(Regular, "b/outside/file", "")], "leads out"),
        (vec![entry(Symlink, "sub/c", "../../outside"), entry(Hardlink, "sub/c/hard", "link")], "leads out"),
        (vec![entry(Hardlink, "hard", "../outside/file")], "leads out"),
        (vec![entry(Hardlink, "hard", "link/file")], "leads out"),
        (vec![entry(Hardlink, "hard", ".")], "link(.)"),
        (vec![entry(Directory, "link", "")], "a file is there"),
        (vec![entry(Regular, "sub", "")], "a directory is there"),
        (vec![entry(CharDevice, "link/null", "")], "leads out"),
    ];
    for (entries, text) in hostile {
        let dir = world();
        let error = receive::receive(&stream(&entries)[..], inside(dir.path()), RULES).expect_err("refused");
        assert!(format!("{error:#}").contains(text), "{entries:?}: {error:#}");
        assert_eq!(names(&dir.path().join("outside")), ["file"]);
        assert_eq!(fs_err::read_to_string(dir.path().join("outside/file")).expect("there"), "mine");
        assert_eq!(fs_err::metadata(dir.path().join("outside/file")).expect("there").nlink(), 1);
        assert_eq!(names(dir.path()), ["here", "outside"]);
    }
}

#[test]
fn one_that_gets_a_name_makes_nothing_else() {
    let dir = world();
    let go = |entries: &[Entry]| receive::receive(&stream(entries)[..], named(dir.path(), "new"), RULES);
    for entries in [
        vec![entry(Kind::Regular, "other", "")],
        vec![entry(Kind::Regular, ".", ""), entry(Kind::Regular, "other", "")],
        vec![entry(Kind::Symlink, ".", "../outside"), entry(Kind::Regular, "file", "")],
        vec![entry(Kind::Regular, ".", ""), entry(Kind::Regular, ".", "")],
    ] {
        go(&entries).expect_err("refused");
        assert!(names(&dir.path().join("here")).iter().all(|name| ["link", "new", "sub"].contains(&name.as_str())));
        assert_eq!(fs_err::read_to_string(dir.path().join("outside/file")).expect("there"), "mine");
        let _ = fs_err::remove_file(dir.path().join("here/new"));
    }
    let Report { entries, bytes, devices, attributes, .. } =
        go(&[entry(Kind::Directory, ".", ""), entry(Kind::Regular, "x", ""), entry(Kind::BlockDevice, "y", "")])
            .expect("received");
    // Overlay's and rbox's attributes and capabilities are nobody's to set, of the two that can have any.
    assert_eq!((entries, bytes, devices, attributes), (3, 4, 1, 6));
    let x = dir.path().join("here/new/x");
    let meta = fs_err::metadata(&x).expect("there");
    // Nothing acts in the name of the caller.
    assert_eq!((meta.mode(), meta.mtime(), meta.mtime_nsec()), (0o100_644, 1000, 5));
    assert_eq!(fs_err::metadata(dir.path().join("here/new")).expect("there").mode() & 0o7777, 0o755);
    for (name, known) in [("user.mine", true), ("user.overlay.opaque", false), ("user.rootlesscontainers", false)] {
        assert_eq!(rustix::fs::getxattr(&x, name, &mut [0; 8]).is_ok(), known, "{name}");
    }
}

#[test]
fn with_overwrite_one_takes_the_place_of_the_other() {
    let dir = world();
    let rules = Rules { overwrite: true, ..RULES };
    let entries =
        [entry(Kind::Regular, "sub", ""), entry(Kind::Directory, "link", ""), entry(Kind::Regular, "link/file", "")];
    receive::receive(&stream(&entries)[..], inside(dir.path()), rules).expect("received");
    assert_eq!(fs_err::read_to_string(dir.path().join("here/sub")).expect("a file"), "evil");
    assert_eq!(fs_err::read_to_string(dir.path().join("here/link/file")).expect("a file"), "evil");
    assert_eq!(fs_err::read_to_string(dir.path().join("outside/file")).expect("there"), "mine");
}

#[test]
fn what_breaks_off_is_told_from_what_ends() {
    let dir = world();
    let whole = stream(&[entry(Kind::Regular, "x", "")]);
    for length in 1..whole.len() - 1024 {
        let result = receive::receive(&whole[..length], inside(dir.path()), RULES);
        // Between two entries it is the sender who knows.
        assert!(result.is_err() || length % 512 == 0, "{length}");
    }
}

#[test]
fn names_of_the_stream() {
    let dir = world();
    let sent = |path: &str, name: Option<&str>| -> Result<Vec<String>> {
        let source = find::source(&View::Own, &Typed::new(dir.path(), path), false)?;
        let form = Form { name: name.map(str::to_owned), nanoseconds: false, recorded: false };
        let mut bytes = Vec::new();
        send::send(&source, &form, &mut bytes)?;
        let mut reader = crate::storage::tar::Reader::new(&bytes[..]);
        let mut names = Vec::new();
        while let Some(entry) = reader.next_entry()? {
            names.push(String::from_utf8(entry.path)?);
        }
        Ok(names)
    };
    assert_eq!(sent("here", None).expect("sent"), ["./", "link", "sub/"]);
    assert_eq!(sent("here", Some("here")).expect("sent"), ["here/", "here/link", "here/sub/"]);
    assert_eq!(sent("outside/file", None).expect("sent"), ["."]);
    assert_eq!(sent("outside/file", Some("file")).expect("sent"), ["file"]);
    assert_eq!(sent("here/link", Some("link")).expect("sent"), ["link"]);
}
