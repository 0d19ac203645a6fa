//! Layers, honest and hostile, through the worker that unpacks them.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

use env::{Env, gid, uid};
use rbox::storage::owners;
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const BLOCK: usize = 512;

/// One entry by hand: an archive may hold what no tool writes.
struct Entry<'a> {
    path: &'a str,
    kind: u8,
    link: &'a str,
    data: &'a [u8],
    owner: (u32, u32),
    pax: Vec<(&'a str, &'a str)>,
}

fn entry<'a>(path: &'a str, kind: u8, link: &'a str, data: &'a [u8]) -> Entry<'a> {
    Entry { path, kind, link, data, owner: (0, 0), pax: vec![] }
}

fn file<'a>(path: &'a str, data: &'a str) -> Entry<'a> {
    entry(path, b'0', "", data.as_bytes())
}

fn directory(path: &str) -> Entry<'_> {
    entry(path, b'5', "", b"")
}

fn symlink<'a>(path: &'a str, to: &'a str) -> Entry<'a> {
    entry(path, b'2', to, b"")
}

fn block(path: &str, kind: u8, link: &str, size: usize, (uid, gid): (u32, u32)) -> Vec<u8> {
    let mut header = vec![0; BLOCK];
    header[..path.len()].copy_from_slice(path.as_bytes());
    header[100..107].copy_from_slice(if kind == b'5' { b"0000755" } else { b"0000644" });
    header[108..115].copy_from_slice(format!("{uid:07o}").as_bytes());
    header[116..123].copy_from_slice(format!("{gid:07o}").as_bytes());
    header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    header[136..147].copy_from_slice(b"00000001000");
    header[156] = kind;
    header[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    header
}

fn padded(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    data.resize(data.len().next_multiple_of(BLOCK), 0);
    data
}

fn archive(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        let records: String = entry
            .pax
            .iter()
            .map(|(key, value)| {
                let rest = format!(" {key}={value}\n");
                let length = (rest.len()..).find(|length| format!("{length}{rest}").len() == *length).unwrap();
                format!("{length}{rest}")
            })
            .collect();
        if !records.is_empty() {
            bytes.extend(block("pax", b'x', "", records.len(), (0, 0)));
            bytes.extend(padded(records.as_bytes()));
        }
        bytes.extend(block(entry.path, entry.kind, entry.link, entry.data.len(), entry.owner));
        bytes.extend(padded(entry.data));
    }
    bytes.extend([0; 2 * BLOCK]);
    bytes
}

/// Unpacks with one id. The directory of the layer, and what the worker says.
fn unpack(env: &Env, archive: &[u8]) -> (PathBuf, Value) {
    let dir = tempfile::Builder::new().prefix("layer-").tempdir_in(env.path("")).unwrap().keep();
    let map = |id: u32| json!([{ "inside": 0, "outside": id, "count": 1 }]);
    let task =
        json!({ "Unpack": { "dir": dir, "maps": { "uid": map(uid()), "gid": map(gid()) }, "owners": "Record" } });
    let mut worker: Command = env.rbox();
    let mut worker = worker
        .args(["storage-worker", &task.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // A worker that gives up stops reading.
    let _ = worker.stdin.take().unwrap().write_all(archive);
    let output = worker.wait_with_output().unwrap();
    (dir, serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}")))
}

#[track_caller]
fn done(env: &Env, entries: &[Entry<'_>]) -> (PathBuf, Value) {
    let (dir, answer) = unpack(env, &archive(entries));
    assert!(answer["Done"].is_object(), "{answer}");
    (dir.join("diff"), answer["Done"].clone())
}

#[track_caller]
fn refused(env: &Env, entries: &[Entry<'_>], why: &str) {
    let (_, answer) = unpack(env, &archive(entries));
    let message = answer["Failed"]["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains(why), "{why}: {answer}");
}

/// Everything outside of a layer that an archive could aim at.
fn outside(env: &Env) -> Vec<(String, u64)> {
    let mut seen: Vec<(String, u64)> = std::fs::read_dir(env.path(""))
        .unwrap()
        .flatten()
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with("layer-"))
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.metadata().unwrap().len()))
        .collect();
    seen.sort();
    seen
}

fn read(path: PathBuf) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn files_directories_and_links() {
    let env = Env::new();
    let mut owned = file("etc/owned", "x");
    owned.owner = (1000, 100);
    let mut link = symlink("etc/link", "owned");
    link.owner = (5, 0);
    let entries = [
        directory("./"),
        directory("etc/"),
        owned,
        link,
        entry("etc/hard", b'1', "etc/owned", b""),
        entry("fifo", b'6', "", b""),
        entry("dev/null", b'3', "", b""),
        file("without/parents/x", "deep"),
    ];
    let (diff, report) = done(&env, &entries);
    assert_eq!(read(diff.join("without/parents/x")), "deep");
    assert_eq!(std::fs::read_link(diff.join("etc/link")).unwrap(), PathBuf::from("owned"));
    let (a, b) =
        (std::fs::metadata(diff.join("etc/owned")).unwrap(), std::fs::metadata(diff.join("etc/hard")).unwrap());
    assert_eq!((a.ino(), a.mtime(), a.uid()), (b.ino(), 512, uid()));
    assert_eq!(std::fs::metadata(diff.join("etc")).unwrap().mtime(), 512, "set after what is in it was made");
    assert!(std::fs::metadata(diff.join("fifo")).unwrap().file_type().is_fifo());
    assert!(std::fs::metadata(diff.join("dev/null")).unwrap().is_file(), "no device can be made");
    assert_eq!(report["report"]["devices"], 1);
    let owners = read(diff.join("../owners"));
    assert_eq!(owners, "1000 100 /etc/owned\n5 0 /etc/link\n= /etc/hard\t/etc/owned\n0 0 c 0 0 /dev/null\n");
}

/// What the table of a layer says of a path at its end.
fn recorded(diff: &Path, path: &str) -> Option<(u32, u32)> {
    let table = std::fs::read(diff.join("../owners")).unwrap();
    owners::read(table.as_slice()).unwrap().get(path.as_bytes()).map(|recorded| (recorded.uid, recorded.gid))
}

#[test]
fn what_is_written_down_is_true_at_the_end() {
    let env = Env::new();
    let owned = |mut entry: Entry<'static>, id: u32| {
        entry.owner = (id, id);
        entry
    };
    // Below a link: where it is, not where it was said to be.
    let (diff, _) = done(
        &env,
        &[
            directory("real/"),
            symlink("link", "/missing/../real"),
            owned(entry("link/fifo", b'6', "", b""), 7),
            entry("link/hard", b'1', "link/fifo", b""),
            symlink("again", "link"),
            owned(symlink("again/new/x", "y"), 8),
        ],
    );
    for (path, ids) in [("real/fifo", Some((7, 7))), ("real/hard", Some((7, 7))), ("link/fifo", None)] {
        assert_eq!(recorded(&diff, path), ids, "{path}");
    }
    assert_eq!(recorded(&diff, "real/new/x"), Some((8, 8)));
    // Names that are taken by something else.
    let (diff, _) = done(
        &env,
        &[
            directory("d/"),
            owned(file("d/x", ""), 5),
            file("d", ""),
            directory("d/"),
            file("d/x", ""),
            owned(file("first", "1"), 6),
            entry("second", b'1', "first", b""),
            owned(file("first", "2"), 7),
            owned(file("third", "3"), 8),
            entry("third", b'1', "d/x", b""),
        ],
    );
    for (path, ids) in [("d/x", (0, 0)), ("first", (7, 7)), ("second", (6, 6)), ("third", (0, 0))] {
        assert_eq!(recorded(&diff, path), Some(ids), "{path}");
    }
}

#[test]
fn of_a_directory_the_last_entry_counts() {
    let env = Env::new();
    let with_time = |path: &'static str, time: &'static str| {
        let mut directory = directory(path);
        directory.pax = vec![("mtime", time)];
        directory
    };
    let (diff, _) = done(
        &env,
        &[
            with_time("d/", "1"),
            symlink("link", "d"),
            with_time("link/inner/", "2"),
            with_time("d/", "3"),
            file("d/inner/x", ""),
        ],
    );
    let time = |path: &str| std::fs::metadata(diff.join(path)).unwrap().mtime();
    assert_eq!((time("d"), time("d/inner")), (3, 2));
}

#[test]
fn whiteouts_are_overlays() {
    let env = Env::new();
    let entries = [
        file(".wh.gone", ""),
        directory("hidden/"),
        file("hidden/.wh..wh..opq", ""),
        file("hidden/new", "n"),
        file(".wh..wh.aufs", ""),
        // Deleted and made again, in either order: what this layer has stays.
        file(".wh.again", ""),
        directory("again/"),
        file("first", "f"),
        file(".wh.first", ""),
    ];
    let (diff, _) = done(&env, &entries);
    let whiteout = std::fs::symlink_metadata(diff.join("gone")).unwrap();
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
    let opaque = |name: &str| {
        let mut value = [0; 8];
        rustix::fs::getxattr(diff.join(name), "user.overlay.opaque", &mut value).map(|length| value[..length].to_vec())
    };
    assert_eq!(opaque("hidden").unwrap(), b"y");
    assert_eq!(opaque("again").unwrap(), b"y");
    assert_eq!(read(diff.join("first")), "f");
    assert!(!diff.join(".wh..wh.aufs").exists());
}

#[test]
fn no_path_leads_out() {
    let env = Env::new();
    let before = outside(&env);
    for path in ["../out", "a/../../out", "..", "../../../../../../tmp/rbox-escape"] {
        refused(&env, &[file(path, "x")], "leads out of the image");
    }
    for link in ["../owners", "../../home", "/../owners"] {
        refused(&env, &[entry("x", b'1', link, b"")], "leads out of the image");
    }
    // An absolute path begins at the layer's root, as does every symlink.
    let (diff, _) =
        done(&env, &[file("/abs", "a"), symlink("up", "../../.."), symlink("root", "/"), file("a/../b", "b")]);
    assert_eq!((read(diff.join("abs")), read(diff.join("b"))), ("a".to_owned(), "b".to_owned()));
    let through = |to| [symlink("link", to), file("link/out", "x")];
    for to in ["/", "../../..", "/../..", "."] {
        let (diff, _) = done(&env, &through(to));
        assert_eq!(read(diff.join("out")), "x", "{to}");
    }
    for to in ["/proc/self/root", "/etc", "missing/.."] {
        let (_, answer) = unpack(&env, &archive(&through(to)));
        let inside = answer["Done"].is_object() || answer["Failed"].is_object();
        assert!(inside, "{to}: {answer}");
    }
    // A link gives way to a file of its name and is not followed.
    let host = env.path("precious");
    std::fs::write(&host, "mine").unwrap();
    let to = host.to_str().unwrap();
    let (diff, _) = done(&env, &[symlink("f", to), file("f", "theirs")]);
    assert_eq!((read(diff.join("f")), read(host)), ("theirs".to_owned(), "mine".to_owned()));
    std::fs::remove_file(env.path("precious")).unwrap();
    assert_eq!(outside(&env), before);
    assert!(!PathBuf::from("/tmp/rbox-escape").exists());
}

#[test]
fn whiteouts_of_nothing_and_links_to_nothing_are_refused() {
    let env = Env::new();
    refused(&env, &[file(".wh.", "")], "whiteout of no file");
    refused(&env, &[file(".wh..", "")], "whiteout of no file");
    refused(&env, &[file(".wh...", "")], "whiteout of no file");
    refused(&env, &[entry("x", b'1', "missing", b"")], "No such file");
    refused(&env, &[entry("x", b'1', ".", b"")], "hard link to the root");
    refused(&env, &[file("f", ""), file("f/x", "")], "f/x");
    refused(&env, &[file("./", "x")], "the root is no directory");
}

#[test]
fn attributes_of_overlay_are_not_the_images_to_set() {
    let env = Env::new();
    let mut with = directory("d/");
    with.pax = vec![
        ("SCHILY.xattr.user.overlay.redirect", "/etc"),
        ("SCHILY.xattr.user.rootlesscontainers", "x"),
        ("SCHILY.xattr.trusted.x", "x"),
        ("SCHILY.xattr.user.kept", "y"),
    ];
    let (diff, report) = done(&env, &[with]);
    let mut list = vec![0; 1024];
    let length = rustix::fs::listxattr(diff.join("d"), &mut list).unwrap();
    assert_eq!(list[..length].to_vec(), b"user.kept\0");
    assert_eq!(report["report"]["attributes"], 3);
}

#[test]
fn what_has_no_end_or_no_form_is_refused() {
    let env = Env::new();
    let whole = archive(&[file("a", "hello")]);
    for (bytes, why) in [
        (whole[..700].to_vec(), "ends within an entry"),
        (b"BZh91AY&SY".to_vec(), "bzip2"),
        (vec![b'x'; 1024], "no header"),
        (vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0, 1], ""),
    ] {
        let (_, answer) = unpack(&env, &bytes);
        let message = answer["Failed"]["message"].as_str().unwrap_or_default();
        assert!(answer["Failed"].is_object() && message.contains(why), "{why}: {answer}");
    }
}

#[test]
fn gnu_tars_archives_unpack_as_gnu_tar_does() {
    let env = Env::new();
    let tree = env.path("tree");
    std::fs::create_dir_all(tree.join("d".repeat(90)).join("e".repeat(90))).unwrap();
    let deep = tree.join("d".repeat(90)).join("e".repeat(90)).join("f".repeat(90));
    std::fs::write(&deep, "deep").unwrap();
    let mut sparse = std::fs::File::create(tree.join("sparse")).unwrap();
    for number in 0..40u64 {
        use std::os::unix::fs::FileExt;
        sparse.write_at(b"piece", number * 1_000_000).unwrap();
    }
    sparse.set_len(50_000_000).unwrap();
    sparse.flush().unwrap();
    for format in ["gnu", "oldgnu", "pax", "posix"] {
        for extra in
            [&["--sparse"][..], &["--sparse", "--sparse-version=0.0"], &["--sparse", "--sparse-version=0.1"], &[]]
        {
            let mut tar = Command::new("tar");
            tar.args(["-c", "--format", format]).args(extra).args(["-C", tree.to_str().unwrap(), "."]);
            let Ok(output) = tar.output() else {
                return env::skip("gnu_tars_archives_unpack_as_gnu_tar_does", "no tar");
            };
            let (dir, answer) = unpack(&env, &output.stdout);
            assert!(answer["Done"].is_object(), "{format} {extra:?}: {answer}");
            let diff = Command::new("diff").arg("-r").arg(&tree).arg(dir.join("diff")).output().unwrap();
            assert!(diff.status.success(), "{format} {extra:?}: {diff:?}");
            std::fs::remove_dir_all(dir).unwrap();
        }
    }
}
