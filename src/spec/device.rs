//! `--device HOST[:CONTAINER][:PERMISSIONS]`.

use super::options::Device;
use super::path;
use crate::error::Advise;
use anyhow::{Result, anyhow, bail};

/// Reads one `--device`.
///
/// The node of the host is bound into the container, since mknod(2) of a device needs root. Its file mode decides who
/// may read and write; nothing else can (a device cgroup needs root too), so permissions that take something away are
/// refused. `rw` is what there is: nobody in the container can use mknod.
pub fn parse(text: &str) -> Result<Device> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, permissions) = match parts[..] {
        [source] => (source, source, "rwm"),
        [source, second] if second.starts_with('/') => (source, second, "rwm"),
        [source, second] => (source, source, second),
        [source, target, permissions] => (source, target, permissions),
        _ => bail!("not of the form HOST[:CONTAINER][:PERMISSIONS]"),
    };
    if source.contains('=') && !source.starts_with('/') {
        return Err(anyhow!("{source}: CDI device names are not there yet"))
            .hint(|| "name the device nodes by their paths".to_owned());
    }
    if !source.starts_with('/') {
        bail!("{source}: a device's path must be absolute");
    }
    if permissions.is_empty() || !permissions.chars().all(|c| "rwm".contains(c)) {
        bail!("{permissions}: permissions are made of r, w and m");
    }
    if !permissions.contains('r') || !permissions.contains('w') {
        return Err(anyhow!("{permissions}: without root permissions cannot be taken away"))
            .hint(|| "leave them out: the file mode of the device decides".to_owned());
    }
    let target = if target.is_empty() { source } else { target };
    Ok(Device { source: source.into(), target: path::target(target)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (text, source, target) in [
            ("/dev/fuse", "/dev/fuse", "/dev/fuse"),
            ("/dev/fuse:rw", "/dev/fuse", "/dev/fuse"),
            ("/dev/fuse:/dev/x", "/dev/fuse", "/dev/x"),
            ("/dev/fuse:/dev/x:mwr", "/dev/fuse", "/dev/x"),
            ("/dev/fuse::rwm", "/dev/fuse", "/dev/fuse"),
            ("/dev/snd/", "/dev/snd/", "/dev/snd"),
        ] {
            assert_eq!(parse(text).expect(text), Device { source: source.into(), target: target.into() }, "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        for (text, message) in [
            ("", ": a device's path must be absolute"),
            ("fuse", "fuse: a device's path must be absolute"),
            ("nvidia.com/gpu=all", "nvidia.com/gpu=all: CDI device names are not there yet"),
            ("/dev/fuse:r", "r: without root permissions cannot be taken away"),
            ("/dev/fuse:x", "x: permissions are made of r, w and m"),
            ("/dev/fuse:/dev/x:", ": permissions are made of r, w and m"),
            ("/dev/fuse:/dev/x:rwm:y", "not of the form HOST[:CONTAINER][:PERMISSIONS]"),
        ] {
            assert_eq!(crate::error::Failure::from(&parse(text).expect_err(text)).message, message, "{text}");
        }
    }
}
