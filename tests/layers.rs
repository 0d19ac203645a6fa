//! Imports go downwards only: a file may use its own layer and those below it.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

use std::path::{Path, PathBuf};

/// Lowest first.
const LAYERS: [&[&str]; 11] = [
    // Who tests with random input may do so in every layer.
    &["error", "seccomp", "time", "fuzz"],
    &["sys"],
    &["paths", "userns"],
    &["cgroup", "net"],
    &["runtime", "storage"],
    &["image"],
    &["spec"],
    &["engine"],
    &["supervisor"],
    &["cli", "oci"],
    &["main", "bin", "lib"],
];

fn layer(module: &str) -> usize {
    LAYERS
        .iter()
        .position(|modules| modules.contains(&module))
        .unwrap_or_else(|| panic!("{module}: which layer is it in? Say so in tests/layers.rs"))
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn root() -> PathBuf {
    std::env::var_os("RBOX_SOURCE").map(PathBuf::from).unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into()).join("src")
}

#[test]
fn imports_go_downwards() {
    let root = root();
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 30, "{root:?}");
    let mut wrong = Vec::new();
    for file in files {
        let relative = file.strip_prefix(&root).unwrap();
        let own = relative.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        let text = std::fs::read_to_string(&file).unwrap();
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for used in code.split("crate::").skip(1) {
                let module: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if module.is_empty() {
                    // `use crate::{a, b}` hides what it uses from this test.
                    wrong.push(format!("{}:{}: name one module per use of crate::", relative.display(), number + 1));
                } else if layer(&module) > layer(own) {
                    wrong.push(format!("{}:{}: {own} uses {module}", relative.display(), number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_is_in_sys_only() {
    let root = root();
    let mut files = Vec::new();
    sources(&root, &mut files);
    for file in files.iter().filter(|file| !file.starts_with(root.join("sys"))) {
        let text = std::fs::read_to_string(file).unwrap();
        assert!(!text.contains("allow(unsafe_code)") && !text.contains("unsafe {"), "{}", file.display());
    }
}
