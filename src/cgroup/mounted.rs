//! Where the unified hierarchy is mounted.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// All places that can be seen from here (proc_pid_mountinfo(5)). Something else may be mounted on one of them.
pub fn everywhere() -> std::io::Result<Vec<PathBuf>> {
    Ok(fs_err::read("/proc/self/mountinfo")?.split(|byte| *byte == b'\n').filter_map(place).collect())
}

/// That of a line, if it is one of this kind.
fn place(line: &[u8]) -> Option<PathBuf> {
    let mut fields = line.split(|byte| *byte == b' ');
    let place = fields.nth(4)?;
    // There may be any number of fields before that.
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    (kind == b"cgroup2").then(|| PathBuf::from(OsString::from_vec(plain(place))))
}

/// Spaces and the like are there as `\040`.
fn plain(escaped: &[u8]) -> Vec<u8> {
    let mut parts = escaped.split(|byte| *byte == b'\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at(part.len().min(3));
        plain.extend(std::str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 8).ok()));
        plain.extend(rest);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_mountinfo() {
        for (line, expected) in [
            ("30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate", Some("/sys/fs/cgroup")),
            ("31 24 0:26 /a /m\\040n\\134 ro master:1 shared:2 - cgroup2 none rw", Some("/m n\\")),
            ("32 24 0:27 / /sys/fs/cgroup/x rw - cgroup cgroup rw,cpu", None),
            ("33 24 0:28 / /cgroup2 rw - tmpfs cgroup2 rw", None),
            ("30 24 0:26 /", None),
            ("", None),
        ] {
            assert_eq!(place(line.as_bytes()), expected.map(PathBuf::from), "{line}");
        }
    }
}
