//! Paths as they are typed in options: absolute at the end, nothing looked up.

use anyhow::{Result, bail};
use std::path::{Path, PathBuf};

/// A place in the container: absolute, without `.`, `..` and doubled slashes, as docker cleans it, and not the root.
pub fn target(text: &str) -> Result<String> {
    if text.is_empty() {
        bail!("no path in the container");
    }
    if !text.starts_with('/') {
        bail!("{text}: a path in the container must be absolute");
    }
    let mut parts = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        bail!("{text}: the container's root cannot be a mount point of its own");
    }
    Ok(format!("/{}", parts.join("/")))
}

/// True if docker takes this for a path of the host and not for the name of a volume.
pub fn is_path(text: &str) -> bool {
    text.starts_with('/') || text == "." || text == ".." || text.starts_with("./") || text.starts_with("../")
}

/// A path of the host, absolute. Links and `..` are left to the kernel.
pub fn source(text: &str, cwd: &Path) -> PathBuf {
    let relative = text.strip_prefix("./").unwrap_or(text);
    if relative == "." || relative.is_empty() { cwd.to_owned() } else { cwd.join(relative) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_cleaned() {
        for (text, clean) in [("/a", "/a"), ("//a/./b/", "/a/b"), ("/a/../../b", "/b"), ("/a b:c", "/a b:c")] {
            assert_eq!(target(text).expect(text), clean);
        }
        for text in ["", "a", "./a", "/", "/..", "/a/.."] {
            assert!(target(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn sources_become_absolute() {
        let cwd = Path::new("/home/ada");
        let table =
            [("/a/", "/a/"), (".", "/home/ada"), ("./", "/home/ada"), ("./x", "/home/ada/x"), ("x", "/home/ada/x")];
        for (text, path) in table {
            assert_eq!(source(text, cwd), Path::new(path), "{text:?}");
        }
        assert_eq!(source("../x", cwd), Path::new("/home/ada/../x"));
        assert!(is_path("..") && is_path("./x") && is_path("/") && !is_path("data") && !is_path(".data"));
    }
}
