//! From directories back to layers: what was unpacked is packed as it was, changes become layers, and no tree that a
//! container leaves behind can do more than be refused.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

use env::{Env, gid, uid};
use rbox::storage::changes::Lines;
use rbox::storage::digest::Digest;
use rbox::storage::frames;
use rbox::storage::pack::Packed;
use rbox::storage::tar::{Entry, Kind, Reader, Writer};
use rustix::fs::{FileType, Mode, XattrFlags};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

type Entries = Vec<(Entry, Vec<u8>)>;

/// Whose ids a tree has.
#[derive(Clone, Copy, PartialEq)]
enum Ids {
    Single,
    Range,
}

impl Ids {
    fn maps(self) -> Value {
        let map = |own: u32, file: &str| {
            let mut map = vec![json!({ "inside": 0, "outside": own, "count": 1 })];
            if self == Ids::Range {
                map.push(json!({ "inside": 1, "outside": env::first_subid(file), "count": 65536 }));
            }
            map
        };
        json!({ "uid": map(uid(), "/etc/subuid"), "gid": map(gid(), "/etc/subgid") })
    }

    fn owners(self) -> &'static str {
        if self == Ids::Single { "Record" } else { "Set" }
    }

    fn mode(self) -> &'static str {
        if self == Ids::Single { "single" } else { "range" }
    }
}

fn entry(kind: Kind, path: &[u8]) -> Entry {
    let mode = if kind == Kind::Directory { 0o755 } else { 0o644 };
    Entry {
        kind,
        path: path.to_vec(),
        link: vec![],
        mode: if kind == Kind::Symlink { 0o777 } else { mode },
        uid: 0,
        gid: 0,
        mtime: (1_000_000_000, 0),
        size: 0,
        pieces: None,
        device: (0, 0),
        xattrs: vec![],
    }
}

fn file(path: &str, data: &str) -> (Entry, Vec<u8>) {
    (Entry { size: data.len() as u64, ..entry(Kind::Regular, path.as_bytes()) }, data.as_bytes().to_vec())
}

fn dir(path: &str) -> (Entry, Vec<u8>) {
    (entry(Kind::Directory, path.as_bytes()), vec![])
}

fn archive(entries: &Entries) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (entry, data) in entries {
        writer.entry(entry).unwrap();
        writer.data(data).unwrap();
    }
    writer.finish().unwrap()
}

fn read(archive: &[u8]) -> Entries {
    let mut reader = Reader::new(archive);
    let mut found = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let mut data = vec![0; entry.size as usize];
        let mut filled = 0;
        while filled < data.len() {
            filled += reader.read_data(&mut data[filled..]).unwrap();
        }
        found.push((entry, data));
    }
    found
}

fn names(entries: &Entries) -> Vec<String> {
    entries.iter().map(|(entry, _)| String::from_utf8_lossy(&entry.path).into_owned()).collect()
}

fn worker(env: &Env, task: &Value) -> Child {
    let mut command = env.rbox();
    command.args(["storage-worker", &task.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().unwrap()
}

/// Unpacks into a new directory, which has `diff` and `owners`.
fn unpack(env: &Env, ids: Ids, archive: &[u8]) -> PathBuf {
    let dir = tempfile::Builder::new().prefix("layer-").tempdir_in(env.path("")).unwrap().keep();
    let task = json!({ "Unpack": { "dir": dir, "maps": ids.maps(), "owners": ids.owners() } });
    let mut worker = worker(env, &task);
    worker.stdin.take().unwrap().write_all(archive).unwrap();
    let output = worker.wait_with_output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    assert!(answer["Done"].is_object(), "{answer}");
    dir
}

/// Removes what belongs to other ids, or is a work directory of overlay.
fn clean(env: &Env, ids: Ids, dir: &str) {
    let task = json!({ "Remove": { "dir": env.path(dir), "maps": ids.maps() } });
    assert!(worker(env, &task).wait_with_output().unwrap().status.success());
}

fn tree(ids: Ids, upper: Option<&Path>, layers: &[PathBuf]) -> Value {
    let layer = |dir: &PathBuf| match dir.join("diff").is_dir() {
        true => json!({ "OfStore": dir }),
        false => json!({ "Other": dir }),
    };
    let layers: Vec<Value> = layers.iter().map(layer).collect();
    json!({ "upper": upper, "layers": layers, "maps": ids.maps(), "owners": ids.owners() })
}

fn try_pack(env: &Env, tree: &Value, form: &str) -> anyhow::Result<(Vec<u8>, Packed)> {
    let mut bytes = Vec::new();
    let task = json!({ "Pack": { "tree": tree, "form": form } });
    let packed: Packed = frames::receive(worker(env, &task), |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    })?;
    assert_eq!((Digest::of(&bytes), bytes.len() as u64), (packed.diff_id.clone(), packed.size));
    Ok((bytes, packed))
}

#[track_caller]
fn pack(env: &Env, tree: &Value, form: &str) -> (Entries, Packed) {
    let (bytes, packed) = try_pack(env, tree, form).unwrap();
    let entries = read(&bytes);
    assert_eq!(packed.report.entries, entries.len() as u64);
    assert_eq!(archive(&entries), bytes, "written otherwise than our writer would");
    (entries, packed)
}

#[track_caller]
fn refused(env: &Env, tree: &Value, form: &str, why: &str) {
    let error = format!("{:#}", try_pack(env, tree, form).expect_err(why));
    assert!(error.contains(why), "{why}: {error}");
}

fn changes(env: &Env, tree: &Value) -> Vec<String> {
    let mut lines = Lines::default();
    let mut all = Vec::new();
    let task = json!({ "Changes": { "tree": tree } });
    frames::receive::<()>(worker(env, &task), |piece| {
        lines.take(piece, &mut |change, path| {
            all.push(format!("{change} {}", path.display()));
            Ok(())
        })
    })
    .unwrap();
    all
}

#[track_caller]
fn same(found: &Entries, expected: &Entries) {
    for ((found, data), (wanted, wanted_data)) in found.iter().zip(expected) {
        assert_eq!(found, wanted);
        assert!(data == wanted_data, "{}", wanted.path.escape_ascii());
    }
    assert_eq!(names(found), names(expected));
}

/// A bit of everything that an image can have, in the order in which it is packed.
fn everything(ids: Ids) -> Entries {
    let owned = |uid, gid, (entry, data): (Entry, Vec<u8>)| (Entry { uid, gid, ..entry }, data);
    let link = |kind, path: &str, to: &str| (Entry { link: to.into(), ..entry(kind, path.as_bytes()) }, vec![]);
    let xattr = |name: &str, value: &[u8]| (name.as_bytes().to_vec(), value.to_vec());
    let long = format!("long/{}/{}", "d".repeat(200), "e".repeat(255));
    let mut entries = vec![
        (Entry { mode: 0o711, uid: 3, ..entry(Kind::Directory, b"./") }, vec![]),
        (Entry { mode: 0o700, uid: 1000, gid: 50, ..entry(Kind::Directory, b"a/") }, vec![]),
        owned(1000, 100, file("a/file", "hello")),
        // The link comes first and has the owner that was written down for another name.
        owned(7, 8, link(Kind::Symlink, "a/link", "../no\nwhere")),
        owned(7, 8, link(Kind::Hardlink, "a/link2", "a/link")),
        owned(0, 42, (Entry { mode: 0o4755, ..file("a/setuid", "").0 }, vec![])),
        dir("dev/"),
        (Entry { device: (5, 1), mode: 0o620, gid: 5, ..entry(Kind::CharDevice, b"dev/console") }, vec![]),
        (Entry { device: (259, 70_000), ..entry(Kind::BlockDevice, b"dev/disk") }, vec![]),
        owned(0, 0, link(Kind::Hardlink, "dev/disk2", "dev/disk")),
        file("empty", ""),
        (Entry { mode: 0o600, uid: 9, ..entry(Kind::Fifo, b"fifo") }, vec![]),
        owned(5, 0, file("hard1", "many names")),
        owned(5, 0, link(Kind::Hardlink, "hard2", "hard1")),
        owned(5, 0, link(Kind::Hardlink, "hard3", "hard1")),
        file("large", &"0123456789abcde\n".repeat(50_000)),
        dir("long/"),
        (entry(Kind::Directory, format!("{}/", &long[..205]).as_bytes()), vec![]),
        file(&long, "deep"),
        (Entry { mtime: (-86_400, 0), ..file("old", "x").0 }, b"x".to_vec()),
        (Entry { mode: 0o0, ..file("secret", "nobody reads this").0 }, b"nobody reads this".to_vec()),
        (Entry { mode: 0o1777, ..entry(Kind::Directory, b"tmp/") }, vec![]),
        (Entry { xattrs: vec![xattr("user.a", b"1\0\n2"), xattr("user.b", &[b'x'; 900])], ..dir("xattr/").0 }, vec![]),
        (Entry { xattrs: vec![xattr("user.c", b"")], uid: 12, ..file("xattr/file", "y").0 }, b"y".to_vec()),
        (Entry { path: b"\x01\n\xff\xfe".to_vec(), ..file("", "bytes").0 }, b"bytes".to_vec()),
    ];
    // Bytes decide, and a letter is more than a control character and less than 0xff.
    let last = entries.pop().unwrap();
    entries.insert(1, last);
    if ids == Ids::Range {
        let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        entries.push((Entry { xattrs: vec![xattr("security.capability", capability)], ..file("zcap", "").0 }, vec![]));
        entries.push(owned(65534, 65534, file("znobody", "of nobody, not of an id that is not mapped")));
        entries.push(owned(65535, 65536, file("zzlast", "")));
    }
    entries
}

fn round_trip(ids: Ids) {
    let env = Env::new();
    let mut entries = everything(ids);
    let layer = unpack(&env, ids, &archive(&entries));
    // A hard link has the mode and the time of its file.
    let links: Vec<(usize, Vec<u8>)> = entries
        .iter()
        .enumerate()
        .filter(|(_, (entry, _))| entry.kind == Kind::Hardlink)
        .map(|(at, (entry, _))| (at, entry.link.clone()))
        .collect();
    for (at, link) in links {
        let target = entries.iter().find(|(entry, _)| entry.path == link).unwrap().0.clone();
        entries[at].0.mode = target.mode;
    }
    let (found, packed) = pack(&env, &tree(ids, None, &[layer]), "Layer");
    same(&found, &entries);
    assert_eq!(packed.report.bytes, entries.iter().map(|(_, data)| data.len() as u64).sum::<u64>());
    // Once more: not a byte is another.
    let again = unpack(&env, ids, &archive(&found));
    let (_, second) = pack(&env, &tree(ids, None, &[again]), "Layer");
    assert_eq!(packed, second);
    // Without the root, for those who unpack it into a directory of theirs.
    let layer = unpack(&env, ids, &archive(&found));
    same(&pack(&env, &tree(ids, None, &[layer]), "Files").0, &entries[1..].to_vec());
    clean(&env, ids, "");
}

#[test]
fn what_was_unpacked_is_packed_as_it_was_with_one_id() {
    round_trip(Ids::Single);
}

#[test]
fn what_was_unpacked_is_packed_as_it_was_with_a_range() {
    requires!("what_was_unpacked_is_packed_as_it_was_with_a_range", range);
    round_trip(Ids::Range);
}

#[test]
fn what_an_archive_has_twice_is_what_it_was_last() {
    let env = Env::new();
    let twice =
        |path: &str| (Entry { uid: 5, gid: 6, device: (1, 3), ..entry(Kind::CharDevice, path.as_bytes()) }, vec![]);
    let last: Entries = vec![
        dir("d/"),
        file("device", ""),
        (Entry { uid: 9, ..file("owned", "x").0 }, b"x".to_vec()),
        file("root", "y"),
    ];
    let first: Entries = vec![
        (Entry { uid: 7, ..dir("d/").0 }, vec![]),
        twice("device"),
        (Entry { uid: 8, ..file("owned", "x").0 }, b"x".to_vec()),
        (Entry { uid: 8, ..file("root", "y").0 }, b"y".to_vec()),
    ];
    let layer = unpack(&env, Ids::Single, &archive(&[first, last.clone()].concat()));
    same(&pack(&env, &tree(Ids::Single, None, &[layer]), "Files").0, &last);
}

/// What a shell does in an overlay of layers, the topmost first, on an upper directory that comes back; `None` where
/// no overlay can be mounted.
fn in_overlay(env: &Env, ids: Ids, layers: &[PathBuf], script: &str) -> Option<PathBuf> {
    let upper = env.path("upper");
    for dir in [&upper, &env.path("work"), &env.path("merged")] {
        std::fs::create_dir(dir).unwrap();
    }
    let lower: Vec<String> = layers.iter().map(|dir| dir.join("diff").to_str().unwrap().to_owned()).collect();
    let script = format!(
        "set -e; mount -t overlay overlay -o userxattr,lowerdir={},upperdir=upper,workdir=work merged || exit 77\n\
         cd merged\n{script}",
        lower.join(":")
    );
    let output = env.rbox().args(["unshare", "--id-mode", ids.mode(), "sh", "-c", &script]).output().unwrap();
    if output.status.code() == Some(77) {
        return None;
    }
    assert!(output.status.success(), "{output:?}");
    Some(upper)
}

fn overlay_round_trip(test: &str, ids: Ids) {
    let env = Env::new();
    let bottom = unpack(
        &env,
        ids,
        &archive(&vec![
            dir("./"),
            dir("etc/"),
            (Entry { uid: 1000, ..file("etc/appended", "old").0 }, b"old".to_vec()),
            file("etc/old", "x"),
            (Entry { link: b"old".to_vec(), uid: 33, ..entry(Kind::Symlink, b"etc/link") }, vec![]),
            (Entry { link: b"old".to_vec(), uid: 33, ..entry(Kind::Symlink, b"etc/link2") }, vec![]),
            file("etc/touched", "same"),
            (Entry { device: (1, 3), uid: 0, gid: 4, ..entry(Kind::CharDevice, b"etc/zero") }, vec![]),
            dir("emptied/"),
            file("emptied/again", "1"),
            file("emptied/gone", "2"),
            dir("emptied/sub/"),
            file("emptied/sub/x", "3"),
            file("file-to-dir", "f"),
            dir("dir-to-file/"),
            file("dir-to-file/x", "g"),
            dir("opened/"),
            file("opened/only", "read and not written"),
            dir("gone/"),
            file("gone/x", "h"),
            dir("chmod/"),
            file("chmod/x", "i"),
        ]),
    );
    let top = unpack(&env, ids, &archive(&vec![file("etc/top", "top"), file("etc/.wh.old", "")]));
    let layers = [top, bottom];
    let Some(upper) = in_overlay(
        &env,
        ids,
        &layers,
        "echo new >> etc/appended; rm etc/top; touch -h -d @5 etc/link; ln -sfn old etc/link2; ln -sfn new etc/link2
         chmod 600 etc/zero
         rm -r emptied; mkdir emptied; echo z > emptied/again; mkdir emptied/sub; echo y > emptied/sub/y
         rm file-to-dir; mkdir file-to-dir; echo > file-to-dir/in
         rm -r dir-to-file; echo > dir-to-file
         : >> opened/only
         rm -r gone; chmod 750 chmod
         mkdir -p fresh/a/b; echo 1 > fresh/1; ln fresh/1 fresh/2; mkfifo fresh/pipe; rm -f fresh/nothing
         mkdir passing; rm -r passing",
    ) else {
        return env::skip(test, "no overlay in user namespaces");
    };
    let with_upper = tree(ids, Some(&upper), &layers);
    let (entries, packed) = pack(&env, &with_upper, "Changes");
    let expected = [
        ".wh.gone",
        "chmod/",
        "dir-to-file",
        "emptied/",
        "emptied/.wh..wh..opq",
        "emptied/again",
        "emptied/sub/",
        "emptied/sub/y",
        "etc/",
        "etc/.wh.top",
        "etc/appended",
        "etc/link",
        "etc/link2",
        "etc/zero",
        "file-to-dir/",
        "file-to-dir/in",
        "fresh/",
        "fresh/1",
        "fresh/2",
        "fresh/a/",
        "fresh/a/b/",
        "fresh/pipe",
        "opened/",
        "opened/only",
    ];
    // Kernels differ in which new directories they make opaque, which changes nothing.
    let plain: Vec<String> =
        names(&entries).into_iter().filter(|name| !name.ends_with(".opq") || name.starts_with("emptied/.")).collect();
    assert_eq!(plain, expected);
    assert_eq!(packed.report.whiteouts as usize, names(&entries).len() - expected.len() + 3);
    let of = |name: &str| &entries.iter().find(|(entry, _)| entry.path == name.as_bytes()).unwrap().0;
    assert!(entries.iter().all(|(entry, _)| entry.xattrs.is_empty()), "overlay's own attributes: {entries:?}");
    assert_eq!((of("fresh/2").kind, &of("fresh/2").link[..]), (Kind::Hardlink, &b"fresh/1"[..]));
    assert_eq!((of("etc/appended").uid, of("etc/appended").size), (1000, 7));
    assert_eq!((of("etc/link").uid, of("etc/link").mtime.0), (33, 5), "copied up, and still whose it was");
    assert_eq!(of("etc/link2").uid, 0, "another one");
    let zero = of("etc/zero");
    assert_eq!((zero.kind, zero.device, zero.gid, zero.mode), (Kind::CharDevice, (1, 3), 4, 0o600));
    assert_eq!(
        changes(&env, &with_upper),
        [
            "C /chmod",
            "C /dir-to-file",
            "C /emptied",
            "C /emptied/again",
            "D /emptied/gone",
            "D /emptied/sub/x",
            "A /emptied/sub/y",
            "C /etc",
            "C /etc/appended",
            "C /etc/link",
            "C /etc/link2",
            "D /etc/top",
            "C /etc/zero",
            "C /file-to-dir",
            "A /file-to-dir/in",
            "A /fresh",
            "A /fresh/1",
            "A /fresh/2",
            "A /fresh/a",
            "A /fresh/a/b",
            "A /fresh/pipe",
            "D /gone",
        ]
        .iter()
        .flat_map(|line| if *line == "D /emptied/sub/x" { vec!["C /emptied/sub", line] } else { vec![*line] })
        .collect::<Vec<_>>()
    );
    // As a layer on the same layers it is the same tree.
    let layer = unpack(&env, ids, &archive(&entries));
    let stacked = [&[layer][..], &layers].concat();
    let before = pack(&env, &with_upper, "Files").0;
    let after = pack(&env, &tree(ids, None, &stacked), "Files").0;
    let without_fractions = |entries: Entries| -> Entries { read(&archive(&entries)) };
    same(&without_fractions(after), &without_fractions(before.clone()));
    let seen = names(&before);
    assert!(seen.contains(&"emptied/again".to_owned()) && !seen.contains(&"emptied/gone".to_owned()), "{seen:?}");
    clean(&env, ids, "");
}

#[test]
fn changes_in_an_overlay_become_a_layer_with_one_id() {
    overlay_round_trip("changes_in_an_overlay_become_a_layer_with_one_id", Ids::Single);
}

#[test]
fn changes_in_an_overlay_become_a_layer_with_a_range() {
    requires!("changes_in_an_overlay_become_a_layer_with_a_range", range);
    overlay_round_trip("changes_in_an_overlay_become_a_layer_with_a_range", Ids::Range);
}

/// A directory by hand, as the caller.
fn by_hand(env: &Env, name: &str, paths: &[&str]) -> PathBuf {
    let root = env.path(name);
    std::fs::create_dir(&root).unwrap();
    for path in paths {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }
    root
}

#[test]
fn whiteouts_that_are_attributes() {
    let env = Env::new();
    let lower = by_hand(&env, "lower", &["d/gone", "d/stays", "d/hidden/x"]);
    let upper = by_hand(&env, "upper", &["d/new"]);
    std::fs::write(upper.join("d/gone"), "").unwrap();
    std::fs::create_dir(upper.join("d/hidden")).unwrap();
    let set = |path: &str, name: &str, value: &[u8]| {
        rustix::fs::setxattr(upper.join(path), name, value, XattrFlags::empty()).unwrap();
    };
    set("d", "user.overlay.opaque", b"x");
    set("d/gone", "user.overlay.whiteout", b"");
    set("d/hidden", "user.overlay.opaque", b"y");
    let tree = tree(Ids::Single, Some(&upper), &[lower]);
    let (entries, packed) = pack(&env, &tree, "Changes");
    assert_eq!(names(&entries), ["d/", "d/.wh.gone", "d/hidden/", "d/hidden/.wh..wh..opq", "d/new"]);
    assert_eq!(packed.report.whiteouts, 2);
    assert_eq!(changes(&env, &tree), ["C /d", "D /d/gone", "C /d/hidden", "D /d/hidden/x", "A /d/new"]);
    assert_eq!(names(&pack(&env, &tree, "Files").0), ["d/", "d/hidden/", "d/new", "d/stays"]);
}

#[test]
fn hostile_names() {
    let env = Env::new();
    for (number, path) in [".wh.etc", "d/.wh.", "d/.wh..wh..opq", ".wh..wh.aufs"].iter().enumerate() {
        let upper = by_hand(&env, &format!("file{number}"), &[path]);
        let changed = tree(Ids::Single, Some(&upper), &[]);
        refused(&env, &changed, "Changes", path);
        refused(&env, &changed, "Layer", "begins with .wh.");
        let last = names(&pack(&env, &changed, "Files").0).pop();
        assert_eq!(last.as_deref(), Some(*path), "no reader of plain archives minds");
        // A link is one as well.
        let upper = by_hand(&env, &format!("link{number}"), &["d/other"]);
        symlink("/etc/passwd", upper.join(path)).unwrap();
        refused(&env, &tree(Ids::Single, Some(&upper), &[]), "Changes", path);
    }
    let upper = by_hand(&env, "odd", &["a\nb/c\t", "-rf", "\\", "~"]);
    for name in [&b"\xff\xfe"[..], b"\xc3\xa4"] {
        std::fs::write(upper.join(OsStr::from_bytes(name)), "x").unwrap();
    }
    let changed = tree(Ids::Single, Some(&upper), &[]);
    let paths: Vec<Vec<u8>> = pack(&env, &changed, "Changes").0.into_iter().map(|(entry, _)| entry.path).collect();
    assert_eq!(paths, [&b"-rf"[..], b"\\", b"a\nb/", b"a\nb/c\t", b"~", b"\xc3\xa4", b"\xff\xfe"]);
    let listed = changes(&env, &changed);
    assert_eq!(listed[2..4], ["A /a\nb", "A /a\nb/c\t"]);
}

#[test]
fn links_lead_nowhere() {
    let env = Env::new();
    std::fs::write(env.path("precious"), "mine").unwrap();
    let upper = by_hand(&env, "upper", &["d/x"]);
    symlink(env.path(""), upper.join("out")).unwrap();
    symlink("../precious", upper.join("up")).unwrap();
    symlink("/proc/self/root", upper.join("magic")).unwrap();
    symlink(".", upper.join("d/loop")).unwrap();
    let (entries, packed) = pack(&env, &tree(Ids::Single, Some(&upper), &[]), "Changes");
    assert_eq!(names(&entries), ["d/", "d/loop", "d/x", "magic", "out", "up"]);
    assert_eq!(packed.report.bytes, 1);
}

#[test]
fn pipes_and_sockets_hold_nothing_up() {
    let env = Env::new();
    let upper = by_hand(&env, "upper", &["a"]);
    rustix::fs::mknodat(rustix::fs::CWD, upper.join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(upper.join("socket")).unwrap();
    let (entries, packed) = pack(&env, &tree(Ids::Single, Some(&upper), &[]), "Changes");
    assert_eq!(names(&entries), ["a", "pipe"]);
    assert_eq!((entries[1].0.kind, packed.report.sockets), (Kind::Fifo, 1));
}

#[test]
fn deep_and_wide_trees() {
    let env = Env::new();
    let upper = by_hand(&env, "upper", &[]);
    for number in 0..10_000 {
        std::fs::write(upper.join(format!("file-{number:05}")), "").unwrap();
    }
    let deep = "d/".repeat(1500);
    std::fs::create_dir_all(upper.join(&deep)).unwrap();
    std::fs::write(upper.join(&deep).join("end"), "").unwrap();
    let changed = tree(Ids::Single, Some(&upper), &[]);
    let (entries, _) = pack(&env, &changed, "Changes");
    assert_eq!(entries.len(), 10_000 + 1500 + 1);
    assert!(names(&entries).windows(2).all(|pair| pair[0] < pair[1]), "sorted");
    assert_eq!(changes(&env, &changed).len(), entries.len());
    // Deeper than any path.
    let mut here = rustix::fs::open(upper.join(&deep), rustix::fs::OFlags::RDONLY, Mode::empty()).unwrap();
    for _ in 0..1500 {
        rustix::fs::mkdirat(&here, "d", Mode::RWXU).unwrap();
        here = rustix::fs::openat(&here, "d", rustix::fs::OFlags::RDONLY, Mode::empty()).unwrap();
    }
    refused(&env, &changed, "Changes", "a path of 4097 bytes");
    // More than the temporary directory's own end can remove.
    drop(here);
    clean(&env, Ids::Single, "upper");
}

#[test]
fn trees_that_change_while_they_are_packed() {
    const LARGE: usize = 8 << 20;
    let env = Env::new();
    let upper = by_hand(&env, "upper", &["b", "c", "d/x", "e", "f"]);
    std::fs::write(upper.join("a"), vec![b'a'; LARGE]).unwrap();
    let task = json!({ "Pack": { "tree": tree(Ids::Single, Some(&upper), &[]), "form": "Changes" } });
    let mut bytes = Vec::new();
    let packed: Packed = frames::receive(worker(&env, &task), |piece| {
        if bytes.is_empty() {
            // It is in the middle of the first file: a pipe does not hold that much.
            let open = std::fs::File::options().write(true).open(upper.join("a")).unwrap();
            open.set_len(1 << 20).unwrap();
            std::fs::remove_file(upper.join("b")).unwrap();
            std::fs::remove_file(upper.join("c")).unwrap();
            symlink("/etc/passwd", upper.join("c")).unwrap();
            std::fs::remove_dir_all(upper.join("d")).unwrap();
            std::fs::remove_file(upper.join("e")).unwrap();
            let mode = Mode::from_raw_mode(0o600);
            rustix::fs::mknodat(rustix::fs::CWD, upper.join("e"), FileType::Fifo, mode, 0).unwrap();
            std::fs::write(upper.join("f"), "more than before").unwrap();
        }
        bytes.extend_from_slice(piece);
        Ok(())
    })
    .unwrap();
    let entries = read(&bytes);
    assert_eq!(names(&entries), ["a", "c", "e", "f"]);
    let kinds: Vec<Kind> = entries.iter().map(|(entry, _)| entry.kind).collect();
    assert_eq!(kinds, [Kind::Regular, Kind::Symlink, Kind::Fifo, Kind::Regular], "as they are found");
    assert_eq!(entries[0].1.len(), LARGE, "as long as announced");
    assert!(entries[0].1[..1 << 20].iter().all(|byte| *byte == b'a') && entries[0].1[LARGE - 1] == 0);
    assert_eq!((packed.report.changed, packed.report.gone), (1, 2));
}

#[test]
fn more_layers_than_an_overlay_mount_can_name() {
    let env = Env::new();
    let layers: Vec<PathBuf> = (0..300)
        .map(|number| {
            let name = format!("layer-with-a-long-name-as-digests-have-{number:03}");
            let layer = by_hand(&env, &name, &[&format!("d/{number:03}"), "every"]);
            std::fs::write(layer.join("every"), number.to_string()).unwrap();
            layer
        })
        .collect();
    let (entries, _) = pack(&env, &tree(Ids::Single, None, &layers), "Files");
    assert_eq!(entries.len(), 302);
    assert_eq!(entries.last().unwrap().1, b"0", "the topmost");
    let upper = by_hand(&env, "upper", &["d/000", "d/299", "d/300"]);
    // Modes are as the umask has them, times as it was.
    let listed = changes(&env, &tree(Ids::Single, Some(&upper), &layers));
    assert_eq!(listed, ["C /d", "C /d/000", "C /d/299", "A /d/300"]);
}

#[test]
fn files_of_nobody_in_the_container_are_refused() {
    requires!("files_of_nobody_in_the_container_are_refused", range);
    let env = Env::new();
    let upper = by_hand(&env, "upper", &["mine"]);
    for (number, (kind, make)) in [
        ("file", "echo x > upper/theirs; chown 5:5 upper/theirs; chmod 0 upper/theirs"),
        ("directory", "mkdir upper/theirs; chown 5:0 upper/theirs; chmod 700 upper/theirs"),
        ("link", "ln -s x upper/theirs; chown -h 0:5 upper/theirs"),
    ]
    .into_iter()
    .enumerate()
    {
        let script = format!("set -e; rm -rf upper/theirs; {make}");
        let status = env.rbox().args(["unshare", "--id-mode", "range", "sh", "-c", &script]).status().unwrap();
        assert!(status.success(), "{number}");
        refused(&env, &tree(Ids::Single, Some(&upper), &[]), "Changes", "theirs: belongs to a user or group");
        let (entries, _) = pack(&env, &tree(Ids::Range, Some(&upper), &[]), "Changes");
        assert!(entries.iter().any(|(entry, _)| entry.uid + entry.gid >= 5), "{kind}");
    }
    clean(&env, Ids::Range, "upper");
}

#[test]
fn a_packer_sees_its_directories_and_cannot_write() {
    let env = Env::new();
    let upper = by_hand(&env, "upper", &[]);
    std::fs::write(upper.join("large"), vec![0; 8 << 20]).unwrap();
    let lower = by_hand(&env, "lower", &["x"]);
    let task = json!({ "Pack": { "tree": tree(Ids::Single, Some(&upper), &[lower]), "form": "Files" } });
    let worker = worker(&env, &task);
    let pid = worker.id();
    let mut seen = None;
    let packed: Packed = frames::receive(worker, |_| {
        seen.get_or_insert_with(|| {
            let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            let status = std::fs::read_to_string(format!("/proc/{}/status", children.trim())).unwrap_or_default();
            (std::fs::read_to_string(format!("/proc/{}/mountinfo", children.trim())), status)
        });
        Ok(())
    })
    .unwrap();
    assert_eq!(packed.report.entries, 2);
    let (mounts, status) = seen.unwrap();
    let field =
        |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().trim().to_owned();
    assert_eq!(field("CapEff:"), format!("{:016x}", 1 << 2), "DAC_READ_SEARCH alone");
    assert_eq!((field("CapBnd:"), field("NoNewPrivs:")), (field("CapEff:"), "1".to_owned()));
    let mounts = match mounts {
        Ok(mounts) => mounts,
        Err(error) => return env::skip("a_packer_sees_its_directories_and_cannot_write", &error.to_string()),
    };
    let mut options: Vec<(&str, bool)> = mounts
        .lines()
        .map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            (fields[4], fields[5].split(',').any(|option| option == "ro"))
        })
        .collect();
    options.sort_unstable();
    assert_eq!(options, [("/", true), ("/0", true), ("/1", true)]);
}

#[test]
fn what_is_not_there_is_an_error() {
    let env = Env::new();
    refused(&env, &tree(Ids::Single, Some(&env.path("missing")), &[]), "Changes", "missing");
    let file = env.path("file");
    std::fs::write(&file, "").unwrap();
    refused(&env, &tree(Ids::Single, Some(&file), &[]), "Changes", "ot a directory");
    // Nobody reads on: the worker ends, and so does the call.
    let upper = by_hand(&env, "upper", &[]);
    std::fs::write(upper.join("large"), vec![0; 8 << 20]).unwrap();
    let task = json!({ "Pack": { "tree": tree(Ids::Single, Some(&upper), &[]), "form": "Files" } });
    let error = frames::receive::<Packed>(worker(&env, &task), |_| anyhow::bail!("full")).unwrap_err();
    assert_eq!(error.to_string(), "full");
    assert!(std::fs::metadata(&upper).unwrap().nlink() >= 2);
}
